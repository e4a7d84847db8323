"""The way up, down and up again, on one data directory and one database.

1. The release before stores rows, and ends with others pending, because ClickHouse is away.
2. This release goes on: each match is read exact from its start on, ids that are sent again change nothing.
3. It leaves a dead letter behind its checkpoint, and ends with rows pending again: killed, ClickHouse away.
4. ``fanfinity downgrade``, and the statement that it prints.
5. The release before goes on, likewise exact; it ends with rows pending.
6. This release goes on.
"""

import asyncio
import json
import re
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from tests.bench.engines import DATABASE, Engine, Server
from tests.bench.service import Service
from tests.http.command import Command, Ended
from tests.upgrade.made import expected_rows, make_rows, wrong_matches
from tests.upgrade.reader import Reader
from tests.upgrade.sent import MATCHES, Sent, match_of

DEADLINE_S = 1_200.0
FRESH_S = 10.0
MEMORY_ROWS = 32_000
"""Pending rows that memory holds in each shard: answers know no others until these are stored."""

POISON_MATCH = "with a letter"
SETTINGS = {"FANFINITY_CHECKPOINT_INTERVAL_MS": "500", "FANFINITY_SHUTDOWN_TIMEOUT_S": "3"}
NOTHING_LEAVES = {"FLUSH_INTERVAL_MS": "60000", "FLUSH_MAX_ROWS": "1000000"}
NO_CHECKPOINT = {"CHECKPOINT_INTERVAL_MS": "600000", "FLUSH_MAX_ROWS": "2"}
"""Two rows are a full batch, which goes straight into the table, where ClickHouse can refuse it."""


@attrs.define(kw_only=True)
class Trial:
    """One trial.

    Attributes:
        before: root of the code of the release before.
        stored: rows that the release before has stored.
        pending: rows that are pending when this release comes.
        pending_back: rows that are pending when it goes, and when it comes again.
        made: rows that are made within ClickHouse beside those stored.
        waits: start the release before only when its clock is beyond the orders given out, as the command says, and
            send copies to it too.
        say: takes a name and what was measured.
    """

    directory: Path
    engine: Engine
    before: Path
    stored: int
    pending: int
    pending_back: int
    made: int = 0
    waits: bool = True
    deadline_s: float = DEADLINE_S
    say: Callable[[str, str], None] = lambda name, what: None
    sent: Sent = attrs.field(factory=Sent)
    letters: int = 0

    async def run(self, *, goes_on: bool = False) -> None:
        """Carry it out. AssertionError at the first count that differs.

        Args:
            goes_on: the directory is one in which the release before has ended, with rows pending.
        """
        try:
            if goes_on:
                self.sent.count = self.stored + self.pending
            else:
                await self.engine.start()
                await self._before()
            await self._up("up")
            await self._letter()
            await self._leave_pending(self.pending_back, code=None)
            await self._down()
            await self._back()
            await self._up("up again")
        finally:
            await self.engine.stop()

    @asynccontextmanager
    async def _service(self, *, code: Path | None = None, **settings: str) -> AsyncIterator[Service]:
        service = Service(
            self.directory,
            self.engine,
            environment=SETTINGS | {f"FANFINITY_{name}": value for name, value in settings.items()},
            code=code,
            start_timeout_s=self.deadline_s,
        )
        async with service:
            yield service

    async def _before(self) -> None:
        async with self._service(code=self.before) as service:
            await self.sent.send(service.url, self.stored)
            await self._settled(service)
            assert await self._schema() in (4, None)
            began = time.perf_counter()
            await make_rows(self.engine, self.made, now_ms=time.time_ns() // 1_000_000)
            if self.made:
                self.say("rows made within ClickHouse", f"{self.made:,} in {time.perf_counter() - began:,.0f} s")
        await self._leave_pending(self.pending, code=self.before)

    async def _leave_pending(self, rows: int, *, code: Path | None) -> None:
        """Have so many new rows pending, and copies of older ones, and end the service."""
        release = "this release" if code is None else "the release before"
        async with self._service(code=code, **NOTHING_LEAVES) as service:
            if isinstance(self.engine, Server):
                await self.engine.kill()
            began = time.perf_counter()
            await self.sent.send(service.url, rows)
            copies = self._copies if self.waits or code is None or not self.letters else 0
            await self.sent.send_again(service.url, copies)
            took = time.perf_counter() - began
            gauges = await service.gauges()
            waiting = int(gauges["fanfinity_wal_pending_records"])
            assert waiting >= rows + copies
            self.say(f"rows pending of {release}", f"{waiting:,}, sent in {took:,.0f} s, then killed")
            await service.kill()

    @property
    def _copies(self) -> int:
        return max(1, self.pending_back // 10)

    async def _up(self, name: str) -> None:
        """Start this release on what the one before has left."""
        if isinstance(self.engine, Server):
            await self.engine.start()
        began = time.perf_counter()
        async with self._service() as service:
            self.say(f"{name}: ready", f"{time.perf_counter() - began:,.1f} s after its start")
            async with self._reads(service, name) as reader:
                await self._migrated(service)
                self.say(f"{name}: migrated", f"{time.perf_counter() - began:,.1f} s after its start")
                await self._settled(service)
                self.say(f"{name}: all stored and checked", f"{time.perf_counter() - began:,.1f} s after its start")
                reader.stopping.set()
            await self.sent.send_again(service.url, self._copies)
            await self.sent.send(service.url, self._copies)
            await self._settled(service)
        await self._made_are_whole()

    @asynccontextmanager
    async def _reads(self, service: Service, name: str) -> AsyncIterator[Reader]:
        """Have three matches read all the time; every answer has to be exact, the first ones too."""
        waiting = (await service.gauges())["fanfinity_wal_pending_records"]
        self.say(f"{name}: pending at first", f"{waiting:,.0f}")
        fits = waiting <= MEMORY_ROWS
        if fits:
            await self._exact(service)
        expected = self.sent.expected()
        totals = {match_of(number): expected[match_of(number)].total() for number in (0, MATCHES - 1)}
        if self.made:
            totals["made-7"] = expected_rows(self.made)
        reader = Reader(service, totals, frozenset() if fits else frozenset(expected))
        reading = asyncio.create_task(reader.read())
        try:
            yield reader
        finally:
            reader.stopping.set()
            await reading
        self.say(f"{name}: reads meanwhile", reader.told())
        assert (reader.wrong, reader.refused) == ([], []), f"{reader.wrong[:5]} {reader.refused[:5]}"

    async def _migrated(self, service: Service) -> None:
        """Wait until the schema is this release's and ClickHouse has rewritten what it holds."""
        await self._until(service, lambda found: found["checks"].get("clickhouse") == "healthy")
        if not self.engine.asked_while_serving:
            return
        assert await self._schema() == 5
        async with asyncio.timeout(self.deadline_s):
            while await self._mutations():
                await asyncio.sleep(0.1)

    async def _until(self, service: Service, holds: Callable[[Any], bool]) -> None:
        async with asyncio.timeout(self.deadline_s):
            while True:
                async with service.session.get("/ready") as reply:
                    if holds(await reply.json()):
                        return
                await asyncio.sleep(0.1)

    async def _mutations(self) -> int:
        [row] = await self.engine.query(
            f"SELECT count() AS n FROM system.mutations WHERE database = '{DATABASE}' AND NOT is_done"
        )
        return int(row["n"])

    async def _schema(self) -> int | None:
        if not self.engine.asked_while_serving:
            return None
        [row] = await self.engine.query(f"SELECT max(version) AS version FROM {DATABASE}.schema_version")
        return int(row["version"])

    async def _letter(self) -> None:
        """Have a dead letter behind the checkpoint, because a row before it is not confirmed."""
        await self.engine.query(f"ALTER TABLE {DATABASE}.events ADD CONSTRAINT no_666 CHECK player_id != '666'")
        async with self._service(**NO_CHECKPOINT) as service:
            events = [{"matchId": POISON_MATCH, "eventType": "cheer", "playerId": player} for player in ("665", "666")]
            async with service.session.post("/api/events", json=events) as reply:
                assert reply.status == 202, await reply.text()
            self.letters = 1
            async with asyncio.timeout(self.deadline_s):
                while (await service.gauges())["fanfinity_dead_letters"] < 1:
                    await asyncio.sleep(0.05)
            await service.kill()

    async def _down(self) -> None:
        began = time.perf_counter()
        done = await self._command("downgrade")
        assert done.code == 0, done.err
        self.say("down: fanfinity downgrade", f"{time.perf_counter() - began:,.1f} s")
        if isinstance(self.engine, Server):
            await self.engine.start()
        [statement] = re.findall(r"^    (.*schema_version WHERE version = 5.*)$", done.out, re.MULTILINE)
        if statement.startswith("python "):
            program, *arguments = shlex.split(statement)
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
            assert await process.wait() == 0, program
        else:
            await self.engine.query(statement)
        if self.waits and (told := re.search(r"at (\S+Z) or later", done.out)):
            left_s = (datetime.fromisoformat(told[1]) - datetime.now(UTC)).total_seconds()
            self.say("down: time until the release before may be started", f"{left_s:,.0f} s")
            await asyncio.sleep(max(0.0, left_s))

    async def _command(self, *arguments: str) -> Ended:
        return await (
            await Command.start(
                *arguments,
                environment={
                    "FANFINITY_DATA_DIR": str(self.directory / "data"),
                    "FANFINITY_CLICKHOUSE_URL": self.engine.url,
                },
            )
        ).ended()

    async def _back(self) -> None:
        """Start the release before on what this one has left."""
        began = time.perf_counter()
        async with self._service(code=self.before) as service:
            self.say("down: the release before is ready", f"{time.perf_counter() - began:,.1f} s after its start")
            async with self._reads(service, "down"):
                await self._settled(service)
            self.say("down: all stored and checked", f"{time.perf_counter() - began:,.1f} s after its start")
            if self.waits:
                await self.sent.send_again(service.url, self._copies)
            await self.sent.send(service.url, self._copies)
            await self._settled(service)
            assert await self._schema() in (4, None)
        await self._made_are_whole()
        await self._leave_pending(self.pending_back, code=self.before)

    async def _made_are_whole(self) -> None:
        if self.made:
            assert await wrong_matches(self.engine, self.made) == 0

    async def _settled(self, service: Service) -> None:
        """Wait until nothing is pending; then every answer is exact, and the audit whole."""
        async with asyncio.timeout(self.deadline_s):
            while (found := await service.gauges())["fanfinity_wal_pending_records"]:
                await asyncio.sleep(0.1)
        assert found["fanfinity_dead_letters"] == self.letters
        assert found["fanfinity_wal_damaged_records_total"] == 0
        appended = found["fanfinity_wal_appended_records_total"]
        assert appended == found["fanfinity_wal_confirmed_records_total"] + self.letters
        await self._exact(service)
        async with service.session.get("/api/audit", headers=service.admin, raise_for_status=True) as reply:
            audit = await reply.json()
        assert (audit["verdict"], audit["differencesTotal"]) == ("whole", 0), audit["differences"]
        async with service.session.get("/api/deadletters", headers=service.admin, raise_for_status=True) as reply:
            assert len((await reply.json())["deadLetters"]) == self.letters

    async def _exact(self, service: Service) -> None:
        """Each match has its events, by type: all that were acknowledged, once, and of each the first copy."""
        expected = self.sent.expected()
        for match_id, types in expected.items():
            deadline = time.perf_counter() + FRESH_S
            while (found := await self._by_type(service, match_id)) != types and time.perf_counter() < deadline:
                await asyncio.sleep(0.1)  # an answer may be as old as the one before it
            assert found == types, f"{match_id}: {found}, not {types}"
        if self.letters:
            assert await self._by_type(service, POISON_MATCH) == {"cheer": 1}

    async def _by_type(self, service: Service, match_id: str) -> Mapping[str, int]:
        async with asyncio.timeout(self.deadline_s):
            while (answer := await service.metrics(match_id)) is None:
                await asyncio.sleep(0.1)
        found: Mapping[str, int] = answer["eventsByType"]
        assert answer["totalEvents"] == sum(found.values()), json.dumps(answer)
        return found
