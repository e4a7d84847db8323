"""A service and its ClickHouse with everything between them that can break, and the account at the end."""

import asyncio
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import attrs

from shards.deadletters.lines import DeadLetter, decode_line
from shards.events import decode_row
from tests.bench.engines import DATABASE, Row, Server
from tests.bench.sender import Account
from tests.bench.service import COMMAND, Service
from tests.faults.clock import MovedClock
from tests.faults.disk import MountRefused, SmallDisk
from tests.faults.proxy import Proxy
from tests.faults.traffic import MATCHES, Record, Traffic, match_of

CLEAN = Account(lost=0, extra=0, twice=0)
DEADLINE_S = 60.0
SMALL_DISK_MB = 64

# Flushes and checkpoints come often, so that faults fall between their steps.
BUSY = {
    "FANFINITY_FLUSH_INTERVAL_MS": "20",
    "FANFINITY_CHECKPOINT_INTERVAL_MS": "100",
    "FANFINITY_SHUTDOWN_TIMEOUT_S": "3",
}


class ProxiedServer(Server):
    """A ClickHouse of our own behind a :class:`~tests.faults.proxy.Proxy`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, relayed=True)
        self.clickhouse = self._server
        self.proxy = Proxy(self.clickhouse.tcp_port)
        self._relay = self.proxy

    async def restart_with(self, *options: str) -> None:
        """Kill it and start it with other options of the server."""
        await self.kill()
        self.clickhouse.options = options
        await self.start()


class World:
    """``async with`` starts ClickHouse and the service; leaving it checks how both end.

    Attributes:
        chance: decides everything that is left to chance; the same seed does the same again.
        disk: the data directory's own file system; None unless ``small_disk``.
        clock: moves the service's clock; None unless ``moved_clock``.
        ledger_dropped: somebody did, so that audits cannot find there what was confirmed before.
    """

    def __init__(
        self,
        directory: Path,
        *,
        seed: int,
        environment: Mapping[str, str] | None = None,
        small_disk: bool = False,
        moved_clock: bool = False,
        command: Sequence[str] = COMMAND,
    ) -> None:
        print(f"seed {seed}")
        self.seed = seed
        self.chance = random.Random(seed)
        self.directory = directory
        self.server = ProxiedServer(directory)
        self.disk = SmallDisk(directory / "data", megabytes=SMALL_DISK_MB) if small_disk else None
        self.clock = MovedClock(directory) if moved_clock else None
        self.record = Record(directory / "acknowledged", seed=seed)
        self._environment = {**BUSY, **(environment or {})}
        if small_disk:
            self._environment["FANFINITY_WAL_MIN_FREE_BYTES"] = "0"
        if self.clock is not None:
            self._environment |= self.clock.environment
        self._command = command
        self.ledger_dropped = False
        self.service: Service

    async def __aenter__(self) -> Self:
        if self.disk is not None:
            try:
                await self.disk.mount()
            except MountRefused:
                self.record.close()
                raise
        try:
            await self.server.start()
            # The proxy has its port from here on.
            self.service = Service(self.directory, self.server, environment=self._environment, command=self._command)
            await self.service.__aenter__()
        except BaseException:
            await self._clear_away()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.service.__aexit__(kind, error, trace)
        finally:
            await self._clear_away()

    async def _clear_away(self) -> None:
        self.record.close()
        try:
            await self.server.stop()
        finally:
            if self.disk is not None:
                await self.disk.unmount()

    @property
    def proxy(self) -> Proxy:
        """Return what lies between the service and ClickHouse."""
        return self.server.proxy

    def load(self, *, rate: float, urls: Sequence[str] = ()) -> Traffic:
        """Return a load on the service (or on others), not started."""
        return Traffic(urls or [self.service.url], self.record, rate=rate, seed=self.chance.getrandbits(32))

    def set(self, **settings: str) -> None:
        """Change settings of the service from its next start on; names without their prefix."""
        self.service._environment |= {f"FANFINITY_{name}": value for name, value in settings.items()}

    def assert_service_lives(self) -> None:
        """AssertionError with its log if the service ended by itself."""
        process = self.service._process
        assert process is not None
        assert process.returncode is None, f"the service ended with {process.returncode}:\n{self.service.log}"

    async def sql(self, statement: str) -> list[Row]:
        """Ask ClickHouse from outside; ``{db}`` in the statement is the database."""
        self.ledger_dropped |= statement.startswith("DROP TABLE {db}.ingest_ledger")
        return await self.server.query(statement.replace("{db}", DATABASE))

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """Return status and body of ``GET /ready``; status 0 where there is no reply."""
        try:
            async with self.service.session.get("/ready") as reply:
                return reply.status, await reply.json()
        except aiohttp.ClientConnectionError:
            return 0, {}

    async def says(self, check: str, pattern: str, *, deadline_s: float = DEADLINE_S) -> str:
        """Wait until a check of ``/ready`` says so, and return what it says."""
        found = ""
        try:
            async with asyncio.timeout(deadline_s):
                while not re.search(pattern, found := (await self.ready())[1].get("checks", {}).get(check, "")):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"/ready does not say {pattern!r} but {found!r}:\n{self.service.log}") from None
        return found

    async def healthy(self, *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until every check of ``/ready`` is healthy, by itself."""
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(deadline_s):
                while (found := (await self.ready())[1]).get("status") != "ready":
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not healthy again: {found}\n{self.service.log}") from None
        assert set(found["checks"].values()) == {"healthy"}, found

    async def gauge(self, name: str) -> float:
        """Return one sample of ``GET /metrics``."""
        return (await self.service.gauges())[name]

    async def settled(
        self, *services: Service, deadline_s: float = DEADLINE_S, refused: Callable[[int], bool] = lambda _: False
    ) -> Account:
        """Wait until nothing is unconfirmed any more, then take the account and have each service audit itself.

        Dead letters may be there of those events only whose numbers ClickHouse has ``refused``.
        """
        letters: list[int] = []
        for service in services or (self.service,):
            await self._confirmed(service, deadline_s)
            await self._audited(service)
            letters += service_letters(service, self.record)
        account = await self._account(services or (self.service,), letters, refused)
        assert self.server.clickhouse.running
        return account

    async def _confirmed(self, service: Service, deadline_s: float) -> None:
        gauges: dict[str, float] = {}
        try:
            async with asyncio.timeout(deadline_s):
                while (gauges := await service.gauges())["fanfinity_wal_pending_records"]:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not all confirmed: {gauges}\n{service.log}") from None
        assert gauges["fanfinity_wal_damaged_records_total"] == 0
        done = gauges["fanfinity_wal_confirmed_records_total"] + gauges["fanfinity_dead_letters"]
        assert gauges["fanfinity_wal_appended_records_total"] == done

    async def _audited(self, service: Service) -> None:
        async with service.session.get("/api/audit", headers=service.admin, raise_for_status=True) as reply:
            found = await reply.json()
        differences = [one for one in found["differences"] if not (self.ledger_dropped and one["kind"] == "ledger")]
        assert not differences, f"{differences}\n{service.log}"
        assert found["verdict"] == ("different" if found["differencesTotal"] else "whole")

    async def _account(
        self, services: Sequence[Service], letters: Collection[int], refused: Callable[[int], bool]
    ) -> Account:
        stored = await stored_events(self.server, self.record)
        acknowledged = self.record.read_acknowledged()
        by_match: dict[str, int] = dict.fromkeys(MATCHES, 0)
        for number in stored.counts:
            by_match[match_of(number)] += 1
        over = 0
        for service in services:
            for match_id, expected in by_match.items():
                over += max(0, await shown(service, match_id, expected) - expected)
        return Account(
            lost=len((acknowledged - stored.counts.keys()).difference(letters)),
            extra=stored.foreign + sum(not refused(number) for number in letters),
            twice=sum(count > 1 for count in stored.counts.values()) + over + len(stored.counts.keys() & {*letters}),
        )


@attrs.frozen
class Stored:
    """What ``events`` holds: rows by number as FINAL counts them, and rows that were never sent so."""

    counts: Mapping[int, int]
    foreign: int


async def stored_events(server: Server, record: Record) -> Stored:
    """Read the destination table from outside the service."""
    rows = await server.query(
        f"SELECT toString(event_id) AS id, match_id, count() AS rows FROM {DATABASE}.events FINAL GROUP BY id, match_id"
    )
    counts: dict[int, int] = {}
    foreign = 0
    for row in rows:
        number = record.number(row["id"])
        if number is None or row["match_id"] != match_of(number):
            foreign += 1
        else:
            counts[number] = int(row["rows"])
    return Stored(counts, foreign)


def service_letters(service: Service, record: Record) -> set[int]:
    """Return the numbers of the events whose rows a service has put aside, -1 for one that was never sent."""
    directory = Path(service._environment["FANFINITY_DATA_DIR"]) / "deadletters"
    lines = (decode_line(line) for path in directory.glob("*.jsonl") for line in path.read_bytes().splitlines())
    rows = (decode_row(line.row.encode()) for line in lines if isinstance(line, DeadLetter))
    numbers = {record.number(row.event_id) for row in rows}
    return {-1 if number is None else number for number in numbers}


async def shown(service: Service, match_id: str, expected: int) -> int:
    """Return ``totalEvents`` of the metrics once it has reached ``expected``, or at the deadline."""
    total = 0
    try:
        async with asyncio.timeout(15):
            while (total := await service.total(match_id)) < expected:
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"the metrics of {match_id} show {total} of {expected} events") from None
    return total
