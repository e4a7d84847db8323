"""The faults: each has a name, begins with ``inject`` and is over after ``heal``.

``check`` and ``says`` are what ``/ready`` must then tell. A fault has to last ``lasts_s`` to be one.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar

import attrs

from tests.faults.disk import little_room
from tests.faults.password import WRONG, refusal
from tests.faults.proxy import CHECKPOINT, Trap, cut_in_answer, cut_in_insert
from tests.faults.world import World

TRAP_S = 30.0


@attrs.define
class Fault(ABC):
    """One fault. ``touches`` says what of the world: two faults may overlap where they touch different things."""

    name: ClassVar[str]
    touches: ClassVar[frozenset[str]]
    check: ClassVar[str] = ""
    says: ClassVar[str] = ""
    lasts_s: float = attrs.field(default=0.0, kw_only=True)

    @abstractmethod
    async def inject(self, world: World) -> None:
        """Let it begin; returns when it has."""

    async def heal(self, world: World) -> None:  # noqa: B027 - many are over as soon as they have begun
        """End it; returns when the cause is gone, whatever the service knows of it by then."""


@attrs.define
class ServiceKilled(Fault):
    """SIGKILL; started again at once."""

    name = "service killed"
    touches = frozenset({"service"})

    async def inject(self, world: World) -> None:
        await world.service.kill()
        await world.service.start()


@attrs.define
class ServiceTerminated(Fault):
    """SIGTERM: it must end with exit code 0; started again."""

    name = "service terminated"
    touches = frozenset({"service"})

    async def inject(self, world: World) -> None:
        await world.service.stop()
        await world.service.start()


@attrs.define
class ClickHouseKilled(Fault):
    """SIGKILL; back when healed."""

    name = "ClickHouse killed"
    touches = frozenset({"clickhouse", "network"})
    check = "clickhouse"
    says = r"^away since 20.*127\.0\.0\.1"

    async def inject(self, world: World) -> None:
        await world.server.kill()

    async def heal(self, world: World) -> None:
        await world.server.start()


@attrs.define
class BothKilled(Fault):
    """SIGKILL of both at once; the service comes back first, and finds no ClickHouse."""

    name = "service and ClickHouse killed"
    touches = frozenset({"service", "clickhouse", "network"})
    check = "clickhouse"
    says = "^away since 20"

    async def inject(self, world: World) -> None:
        await asyncio.gather(world.server.kill(), world.service.kill())
        await world.service.start()

    async def heal(self, world: World) -> None:
        await world.server.start()


@attrs.define
class KilledBeforeCheckpoint(ClickHouseKilled):
    """Rows lie in a Buffer table, in memory; the statement that would flush it never reaches ClickHouse."""

    name = "ClickHouse killed between INSERT and checkpoint"

    async def inject(self, world: World) -> None:
        trap = world.proxy.set_trap(Trap(CHECKPOINT, hold=True))
        await asyncio.wait_for(trap.sprung.wait(), TRAP_S)
        await world.server.kill()
        world.proxy.clear()


@attrs.define
class KilledInCheckpoint(ClickHouseKilled):
    """Between a flush's parts: the kill comes some moments after the statement that flushes."""

    name = "ClickHouse killed between a flush's parts"

    async def inject(self, world: World) -> None:
        trap = world.proxy.set_trap(Trap(CHECKPOINT))
        await asyncio.wait_for(trap.sprung.wait(), TRAP_S)
        await asyncio.sleep(world.chance.uniform(0, 0.02))
        await world.server.kill()


@attrs.define
class ClickHouseHangs(Fault):
    """SIGSTOP: connections stay open, nothing answers."""

    lasts_s: float = attrs.field(default=3.0, kw_only=True)
    name = "ClickHouse hangs"
    touches = frozenset({"clickhouse", "network"})

    async def inject(self, world: World) -> None:
        world.server.clickhouse.pause()

    async def heal(self, world: World) -> None:
        world.server.clickhouse.resume()


@attrs.define
class Cut(Fault):
    """The next INSERT's connection is cut in its middle."""

    name = "connection cut in an INSERT"
    touches = frozenset({"network"})

    async def inject(self, world: World) -> None:
        trap = world.proxy.set_trap(self._trap(world))
        await asyncio.wait_for(trap.sprung.wait(), TRAP_S)

    def _trap(self, world: World) -> Trap:
        return cut_in_insert(world.chance)

    async def heal(self, world: World) -> None:
        world.proxy.clear()


@attrs.define
class CutInAnswer(Cut):
    """The INSERT takes effect, and the service does not learn of it."""

    name = "connection cut in the answer to an INSERT"

    def _trap(self, world: World) -> Trap:
        return cut_in_answer(world.chance)


@attrs.define
class Delayed(Fault):
    """Everything takes long on its way."""

    seconds: float = 5.0
    name = "network delayed by 5 s"
    touches = frozenset({"network"})

    async def inject(self, world: World) -> None:
        world.proxy.delay_s = self.seconds

    async def heal(self, world: World) -> None:
        world.proxy.clear()


@attrs.define
class Throttled(Fault):
    """A thin line."""

    bytes_per_s: int = 10_000
    name = "network throttled to 10 KB/s"
    touches = frozenset({"network"})

    async def inject(self, world: World) -> None:
        world.proxy.bytes_per_s = self.bytes_per_s

    async def heal(self, world: World) -> None:
        world.proxy.clear()


@attrs.define
class Statements(Fault):
    """ClickHouse's schema is changed by somebody, and mended again."""

    name: str
    says: str
    damage: tuple[str, ...]
    mend: tuple[str, ...] = ()
    check: str = "clickhouse"
    touches: frozenset[str] = frozenset({"schema"})

    async def inject(self, world: World) -> None:
        for statement in self.damage:
            await world.sql(statement)

    async def heal(self, world: World) -> None:
        for statement in self.mend:
            await world.sql(statement)


@attrs.define
class MemoryLimit(Fault):
    """ClickHouse has no memory left for any statement, nor for what it does by itself.

    The latter can end this form of the server by SIGABRT: then it is away until the fault is mended.
    """

    name = "ClickHouse at its memory limit"
    touches = frozenset({"clickhouse", "network"})
    check = "clickhouse"
    says = "(?i)MEMORY_LIMIT_EXCEEDED|not reachable|connection lost"

    async def inject(self, world: World) -> None:
        world.server.clickhouse.may_abort = True
        await world.server.restart_with("--max_server_memory_usage=1000000")

    async def heal(self, world: World) -> None:
        await world.server.restart_with()
        world.server.clickhouse.may_abort = False


@attrs.define
class WrongPassword(Fault):
    """The service is started with a password that ClickHouse does not take."""

    name = "wrong password"
    touches = frozenset({"service"})
    check = "clickhouse"
    says = "(?i)AUTHENTICATION_FAILED"

    async def inject(self, world: World) -> None:
        if WRONG not in world.proxy.refusals:
            world.proxy.refusals[WRONG] = await refusal(world.directory / "for-a-refusal")
        await self._restart(world, world.server.url.replace("default@", f"default:{WRONG}@"))

    async def heal(self, world: World) -> None:
        await self._restart(world, world.server.url)

    @staticmethod
    async def _restart(world: World, url: str) -> None:
        await world.service.kill()
        world.set(CLICKHOUSE_URL=url)
        await world.service.start()


@attrs.define
class DiskFull(Fault):
    """ENOSPC for real, at another byte of the log each time."""

    name = "disk full"
    touches = frozenset({"disk", "service"})
    check = "wal"
    says = "No space left"

    async def inject(self, world: World) -> None:
        assert world.disk is not None
        await world.disk.fill(leave_bytes=little_room(world.chance))

    async def heal(self, world: World) -> None:
        assert world.disk is not None
        await world.disk.empty()


@attrs.define
class KilledOnFullDisk(DiskFull):
    """The service dies on a full disk, with records torn off, and is started once there is room."""

    name = "service killed on a full disk"
    says = ""

    async def heal(self, world: World) -> None:
        await world.service.kill()
        await super().heal(world)
        await world.service.start()


@attrs.define
class ClockMoved(Fault):
    """The service's clock is set wrong, while it runs; a restart meanwhile knows no other time."""

    seconds: int
    name = "clock moved"
    touches = frozenset({"clock"})

    async def inject(self, world: World) -> None:
        assert world.clock is not None
        world.clock.move(self.seconds)

    async def heal(self, world: World) -> None:
        assert world.clock is not None
        world.clock.move(0)


READ_ONLY = Statements(
    name="destination read-only",
    check="flush",
    says="(?i)READ_?ONLY",
    damage=("ALTER TABLE {db}.events MODIFY SETTING table_readonly = 1",),
    mend=("ALTER TABLE {db}.events RESET SETTING table_readonly",),
)
TOO_MANY_PARTS = Statements(
    name="too many parts",
    check="flush",
    says="(?i)TOO_MANY_PARTS",
    damage=("ALTER TABLE {db}.events MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1",),
    mend=("ALTER TABLE {db}.events RESET SETTING parts_to_throw_insert, parts_to_delay_insert",),
)
VIEW_FAILS = Statements(
    name="view fails",
    check="flush",
    says="(?i)VIOLATED_CONSTRAINT",
    damage=("ALTER TABLE {db}.ingest_ledger ADD CONSTRAINT nothing CHECK rows > 1000000",),
    mend=("ALTER TABLE {db}.ingest_ledger DROP CONSTRAINT nothing",),
)
VIEW_DROPPED = Statements(
    name="view dropped", says="ledger_view", damage=("DROP TABLE IF EXISTS {db}.ledger_view SYNC",)
)
LEDGER_DROPPED = Statements(name="ledger dropped", says="ingest_ledger", damage=("DROP TABLE {db}.ingest_ledger SYNC",))
BUFFER_DROPPED = Statements(
    name="Buffer table dropped", says="events_buffer_0", damage=("DROP TABLE {db}.events_buffer_0 SYNC",)
)
VIEW_CHANGED = Statements(
    name="view replaced by another",
    says="view ledger_view is .*, needed ",
    damage=(
        "DROP TABLE IF EXISTS {db}.ledger_view SYNC",
        "CREATE MATERIALIZED VIEW {db}.ledger_view TO {db}.ingest_ledger AS "
        "SELECT writer, shard, batch, count() AS rows, now('UTC') AS inserted_at FROM {db}.events "
        "GROUP BY writer, shard, batch",
    ),
    mend=("DROP TABLE IF EXISTS {db}.ledger_view SYNC",),
)
LEDGER_COLUMN = Statements(
    name="column of the ledger renamed",
    says=r"column ingest_ledger\.rows is missing, needed UInt64",
    damage=("ALTER TABLE {db}.ingest_ledger RENAME COLUMN rows TO rows_before",),
    mend=("ALTER TABLE {db}.ingest_ledger RENAME COLUMN rows_before TO rows",),
)
DESTINATION_COLUMN = Statements(
    name="column of the destination of another type",
    says=r"column events\.player_id is LowCardinality\(String\), needed String",
    damage=(
        "DROP TABLE IF EXISTS {db}.ledger_view SYNC",
        "ALTER TABLE {db}.events MODIFY COLUMN player_id LowCardinality(String)",
    ),
    mend=("ALTER TABLE {db}.events MODIFY COLUMN player_id String",),
)
DESTINATION_RENAMED = Statements(
    name="destination renamed, something else in its place",
    says="events has engine ",
    damage=("RENAME TABLE {db}.events TO {db}.events_away", "CREATE TABLE {db}.events (a UInt8) ENGINE = Memory"),
    mend=("DROP TABLE {db}.events SYNC", "RENAME TABLE {db}.events_away TO {db}.events"),
)
SYNC_TURNED_OFF = Statements(
    name="fsync of the destination turned off",
    says="table events lacks the setting fsync_after_insert = 1",
    damage=("ALTER TABLE {db}.events MODIFY SETTING fsync_after_insert = 0",),
    mend=("ALTER TABLE {db}.events MODIFY SETTING fsync_after_insert = 1",),
)
