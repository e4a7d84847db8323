"""``python -m tests.torture.erasure``: a large match is erased while it is written, watched and read, with kills.

A step is known by the line that the service logs as it enters it; a moment later the service, ClickHouse or both are
killed, and started again. Afterwards nothing of the match is left from before the cut-off, byte for byte; what was
acknowledged after it is there once; other matches are whole to the event; identity and audit are whole.
"""

import argparse
import asyncio
import json
import os
import random
import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs

from tests.bench.engines import DATABASE, ENGINES, Engine, Server, engine_for_kills
from tests.bench.service import Service

GONE: Final = "gone-7f3a"
MARKER: Final = "secret of gone-7f3a"
OTHERS: Final = 5
STEPS: Final = ("settle", "delete", "truncate", "wipe")
DEADLINE_S: Final = 240.0
BULK: Final = 50_000
QUIET_S: Final = 6.0
OLD_PARTS_S: Final = 90.0
_READABLE: Final = (
    *(f"MODIFY COLUMN {name} String CODEC(NONE)" for name in ("match_id", "metadata", "player_id")),
    "MODIFY SETTING old_parts_lifetime = 1",
)


@attrs.define
class Load:
    """What goes on beside an erasure: posts to other matches and to the erased one, reads, and streams.

    Attributes:
        others: acknowledged events of each other match.
        before: ids of events of the erased match that were acknowledged before its cut-off.
        after: ids of events of the erased match that were acknowledged after its cut-off.
        seen: statuses of reads of the erased match while it was being erased.
        took_ms: times of the posts to other matches, with the moment of each.
    """

    service: Service
    others: dict[str, int] = attrs.field(factory=dict)
    before: set[str] = attrs.field(factory=set)
    after: set[str] = attrs.field(factory=set)
    seen: dict[int, int] = attrs.field(factory=dict)
    took_ms: list[tuple[float, float]] = attrs.field(factory=list)
    phase: str = "before"
    updates: int = 0

    async def fill(self, events: int) -> None:
        """Send the matches as they are before the erasure, some of it just now."""
        self.before |= await self.send([_event(GONE, MARKER) for _ in range(events)])
        for number in range(OTHERS):
            match_id = f"other-{number}"
            self.others[match_id] = len(await self.send([_event(match_id) for _ in range(max(200, events // 50))]))

    async def send(self, events: Sequence[dict[str, Any]]) -> set[str]:
        """Send many events; return their ids."""
        headers = {"Content-Type": "application/x-ndjson"}
        for start in range(0, len(events), BULK):
            some = events[start : start + BULK]
            body = "\n".join(map(json.dumps, some)).encode()
            async with self.service.session.post("/api/events/bulk", data=body, headers=headers) as reply:
                told = await reply.json()
                assert reply.status == 202, told
                assert told["accepted"] == len(some), told
        return {event["eventId"] for event in events}

    async def post_others(self) -> None:
        """Post one event after the other to other matches; each until it is acknowledged."""
        number = 0
        while self.phase != "over":
            match_id = f"other-{number % OTHERS}"
            number += 1
            self.took_ms.append((time.monotonic(), await self._post(_event(match_id))))
            self.others[match_id] += 1
            await asyncio.sleep(0.01)

    async def post_gone(self) -> None:
        """Post events of the erased match, but for the moment of the request, whose side nobody can know."""
        while self.phase != "over":
            if self.phase == "asking":
                await asyncio.sleep(0.01)
                continue
            after = self.phase == "after"
            event = _event(GONE, "" if after else MARKER)
            await self._post(event)
            (self.after if after else self.before).add(event["eventId"])
            await asyncio.sleep(0.005)

    async def _post(self, event: dict[str, Any]) -> float:
        """Send an event until it is acknowledged; return how long the last try took, in ms."""
        while True:
            began = time.monotonic()
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self.service.session.post("/api/events", json=event) as reply:
                    await reply.read()
                    if reply.status == 202:
                        return (time.monotonic() - began) * 1000
                    assert reply.status == 503, await reply.text()
            await asyncio.sleep(0.05)

    async def read_gone(self) -> None:
        """Read the erased match while it is being erased."""
        while self.phase != "over":
            if self.phase == "after":
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with self.service.session.get(f"/api/matches/{GONE}/metrics") as reply:
                        await reply.read()
                        self.seen[reply.status] = self.seen.get(reply.status, 0) + 1
            await asyncio.sleep(0.02)

    async def watch(self) -> None:
        """Watch the erased match and another one, again and again."""
        for number in range(10**9):
            match_id = GONE if number % 2 else "other-0"
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self.service.session.get(f"/api/matches/{match_id}/stream") as stream:
                    async for line in stream.content:
                        self.updates += line.startswith(b"event: metrics")
                        if self.phase == "over" or self.updates % 3 == 2:
                            break
            if self.phase == "over":
                return
            await asyncio.sleep(0.05)

    async def settled(self) -> None:
        """Return once nothing is in a request: who waits for it may then say that the request lies behind."""
        await asyncio.sleep(0.5)


def _event(match_id: str, note: str = "") -> dict[str, Any]:
    return {"eventId": str(uuid.uuid4()), "matchId": match_id, "eventType": "cheer", "metadata": {"note": note}}


@attrs.frozen(kw_only=True)
class Told:
    """Figures of a run; ``left`` are the files that still hold something of the match."""

    engine: str
    events: int
    kills: int
    erased_before: int
    after: int
    others: int
    erasing_s: float
    p99_before_ms: float
    p99_during_ms: float
    reads: dict[int, int]
    left: list[str]

    def __str__(self) -> str:
        return (
            f"{self.engine}: {self.erased_before:,} events erased in {self.erasing_s:.1f} s, {self.kills} kills; "
            f"{self.after:,} acknowledged after the cut-off, each there once; {self.others:,} of others, all there; "
            f"reads of the match meanwhile: {self.reads}; POST p99 {self.p99_before_ms:.1f} ms before, "
            f"{self.p99_during_ms:.1f} ms during; files that hold anything of it: {len(self.left)}"
        )


class Trial:
    """One run on one engine, in a directory of its own."""

    def __init__(self, directory: Path, engine: Engine, *, seed: int) -> None:
        self._directory = directory
        self._engine = engine
        self._chance = random.Random(seed)
        self._offset = 0

    async def run(self, *, events: int, kills: bool) -> Told:
        """Run it, and check everything."""
        await self._engine.start()
        try:
            await self._make_readable()
            self._service = Service(
                self._directory, self._engine, environment={"FANFINITY_CHECKPOINT_INTERVAL_MS": "500"}
            )
            async with self._service as service:
                load = Load(service)
                await load.fill(events)
                async with _beside(load):
                    began, done, count = await self._erase(load, kills=kills)
                told = await self._account(load)
                left = await self._left(load)
            await self._check_events(load)
        finally:
            with suppress(AssertionError):
                await self._engine.stop()
        return Told(
            engine=self._engine.name,
            events=events,
            kills=count,
            erased_before=len(load.before),
            after=len(load.after),
            others=told,
            erasing_s=done - began,
            p99_before_ms=_p99(took for at, took in load.took_ms if at < began),
            p99_during_ms=_p99(took for at, took in load.took_ms if began <= at < done),
            reads=load.seen,
            left=left,
        )

    async def _make_readable(self) -> None:
        async with Service(self._directory, self._engine) as first:
            await first.session.get("/ready")
            async with asyncio.timeout(DEADLINE_S):
                while not (await (await first.session.get("/api/status")).json())["store"]["up"]:
                    await asyncio.sleep(0.1)
        for change in _READABLE:
            await self._engine.query(f"ALTER TABLE {DATABASE}.events {change}")

    async def _erase(self, load: Load, *, kills: bool) -> tuple[float, float, int]:
        await asyncio.sleep(QUIET_S)
        load.phase = "asking"
        await load.settled()
        began = time.monotonic()
        async with load.service.session.delete(f"/api/matches/{GONE}", headers=load.service.admin) as reply:
            assert reply.status == 202, await reply.text()
        load.phase = "after"
        count = 0
        if kills:
            for step in STEPS:
                if not await self._entered(step):
                    break
                await asyncio.sleep(self._chance.uniform(0, 0.05))
                await self._kill(with_clickhouse=self._chance.random() < 0.5)
                count += 1
        async with asyncio.timeout(DEADLINE_S):
            while await self._is_open():
                await asyncio.sleep(0.05)
        done = time.monotonic()
        await asyncio.sleep(QUIET_S)
        load.phase = "over"
        return began, done, count

    async def _entered(self, step: str) -> bool:
        """Wait until the service that runs now enters a step; False: a former one came to the end."""
        log, offset = self._directory / "service.log", self._offset
        async with asyncio.timeout(DEADLINE_S):
            while True:
                lines = _lines_from(log, offset)
                if any(_enters(line, step) for line in lines):
                    return True
                if any(b'"matches erased"' in line for line in lines) or not await self._is_open():
                    return False
                await asyncio.sleep(0.01)

    async def _kill(self, *, with_clickhouse: bool) -> None:
        self._offset = (self._directory / "service.log").stat().st_size
        await self._service.kill()
        if with_clickhouse and isinstance(self._engine, Server):
            await self._engine.kill()
            await self._engine.start()
        await self._service.start()

    async def _is_open(self) -> bool:
        with suppress(aiohttp.ClientError, OSError):
            async with self._service.session.get("/api/erasures", headers=self._service.admin) as reply:
                return reply.status != 200 or bool((await reply.json())["erasures"])
        return True

    async def _account(self, load: Load) -> int:
        """Check every total by the service's own answers; return the events of other matches."""
        async with asyncio.timeout(DEADLINE_S):
            for match_id, count in (*load.others.items(), (GONE, len(load.after))):
                while await self._service.total(match_id) != count:
                    await asyncio.sleep(0.1)
                metrics = await self._service.metrics(match_id)
                assert metrics is not None
                assert metrics["totalEvents"] == count, (match_id, metrics["totalEvents"], count)
            async with self._service.session.post(
                "/api/shards/0/flush?timeout=60", headers=self._service.admin
            ) as reply:
                assert reply.status == 200
        status = await (await self._service.session.get("/api/status")).json()
        assert status["accounting"]["unaccounted"] == 0, status["accounting"]
        async with self._service.session.get("/api/audit", headers=self._service.admin) as reply:
            audit = await reply.json()
            assert audit["verdict"] == "whole", audit
        return sum(load.others.values())

    async def _left(self, load: Load) -> list[str]:
        """Return the files that hold anything of the match from before, once old parts had time to go."""
        ends = time.monotonic() + OLD_PARTS_S
        while found := [str(path) for path in _files_with(self._directory, MARKER.encode())]:
            if time.monotonic() > ends:
                break
            await asyncio.sleep(1)
        for journal in self._directory.rglob("confirmed"):
            named = set(re.findall(r'"event_id":"([^"]+)"', journal.read_text(errors="replace")))
            found += [str(journal)] * bool(named & load.before)
        return found

    async def _check_events(self, load: Load) -> None:
        rows = await self._engine.query(
            f"SELECT toString(event_id) AS id, count() AS copies FROM {DATABASE}.events FINAL"
            f" WHERE match_id = '{GONE}' GROUP BY id"
        )
        assert {row["id"] for row in rows} == load.after
        assert all(int(row["copies"]) == 1 for row in rows)


def _enters(line: bytes, step: str) -> bool:
    return b'"erasure under way"' in line and f'"step": "{step}"'.encode() in line.replace(b'":"', b'": "')


def _lines_from(path: Path, offset: int) -> list[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().splitlines()


@asynccontextmanager
async def _beside(load: Load) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        for work in (load.post_others, load.post_gone, load.read_gone, load.watch):
            group.create_task(work())
        yield


def _files_with(directory: Path, text: bytes) -> Iterator[Path]:
    for parent, _, names in os.walk(directory):  # which passes over what goes meanwhile
        for path in (Path(parent) / name for name in names if name != "service.log"):
            with suppress(OSError):
                if path.is_file() and text in path.read_bytes():
                    yield path


def _p99(times: Iterator[float]) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else 0.0


@attrs.frozen(kw_only=True)
class ToldOfMany:
    """Figures of many small matches that are erased in a row."""

    engine: str
    matches: int
    asking_s: float
    erasing_s: float
    mutations: int
    p99_before_ms: float
    p99_during_ms: float

    def __str__(self) -> str:
        gone = (
            f"recorded in {self.asking_s:.1f} s, all gone after {self.erasing_s:.1f} s, by {self.mutations} mutations"
        )
        times = f"POST p99 of others {self.p99_before_ms:.1f} ms before, {self.p99_during_ms:.1f} ms during"
        return f"{self.engine}: {self.matches:,} matches erased in a row: {gone}; {times}"


async def many(name: str, directory: Path, *, matches: int) -> ToldOfMany:
    """Erase many small matches one after the other; AssertionError if anything of them is left."""
    engine = engine_for_kills(name, directory)
    await engine.start()
    try:
        async with Service(directory, engine) as service:
            load = Load(service)
            await load.send([_event(f"small-{number % matches}") for number in range(3 * matches)])
            load.others = {f"other-{number}": 0 for number in range(OTHERS)}
            async with asyncio.TaskGroup() as group:
                group.create_task(load.post_others())
                await asyncio.sleep(QUIET_S)
                began, asked, done = await _erase_in_a_row(service, matches)
                load.phase = "over"
            await asyncio.sleep(1)
            for match_id, count in load.others.items():
                assert await service.total(match_id) == count
        [left] = await engine.query(f"SELECT count() AS n FROM {DATABASE}.events WHERE startsWith(match_id, 'small-')")
        assert int(left["n"]) == 0
        ours = f"database = '{DATABASE}'"
        [mutations] = await engine.query(f"SELECT uniqExact(mutation_id) AS n FROM system.mutations WHERE {ours}")
    finally:
        with suppress(AssertionError):
            await engine.stop()
    return ToldOfMany(
        engine=name,
        matches=matches,
        asking_s=asked - began,
        erasing_s=done - began,
        mutations=int(mutations["n"]),
        p99_before_ms=_p99(took for at, took in load.took_ms if at < began),
        p99_during_ms=_p99(took for at, took in load.took_ms if began <= at < done),
    )


async def _erase_in_a_row(service: Service, matches: int) -> tuple[float, float, float]:
    """Return when it began, when all was recorded, and when all was done, on the monotonic clock."""
    began = time.monotonic()
    for number in range(matches):
        async with service.session.delete(f"/api/matches/small-{number}", headers=service.admin) as reply:
            assert reply.status == 202, await reply.text()
    asked = time.monotonic()
    async with asyncio.timeout(DEADLINE_S):
        while (await (await service.session.get("/api/status")).json())["erasures"]["open"]:
            await asyncio.sleep(0.05)
    return began, asked, time.monotonic()


async def trial(engine: str, directory: Path, *, events: int, seed: int, kills: bool = True) -> Told:
    """Run one trial in an empty directory; AssertionError names what is not as it must be."""
    print(f"seed {seed}")
    return await Trial(directory, engine_for_kills(engine, directory), seed=seed).run(events=events, kills=kills)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.erasure", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the match (1,000,000)")
    parser.add_argument("--engine", choices=[*ENGINES, "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--undisturbed", action="store_true", help="no kills: for the times of other matches")
    parser.add_argument("--many", type=int, default=0, help="so many small matches in a row instead")
    given = parser.parse_args()
    for engine in ENGINES if given.engine == "both" else (given.engine,):
        with tempfile.TemporaryDirectory() as directory:
            if given.many:
                print(asyncio.run(many(engine, Path(directory), matches=given.many)), flush=True)
                continue
            run = trial(engine, Path(directory), events=given.events, seed=given.seed, kills=not given.undisturbed)
            print(asyncio.run(run), flush=True)


if __name__ == "__main__":
    main()
