"""The service, ClickHouse, or both are killed while a match is sent: nothing lost, nothing extra, nothing twice.

The sender keeps its own record of what was acknowledged; the account is taken in ClickHouse's ``events``.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs

from tests.bench.engines import Engine, Server
from tests.bench.events import figures, make_events
from tests.bench.sender import Account, Journal, send_all, settled_account
from tests.bench.service import Service

MATCH = "al-hilal-al-nassr"
EVENTS = 3_000
BATCH = 10
PAUSE_S = 0.02
DEADLINE_S = 60.0
Fault = Callable[[], Awaitable[None]]

# Flushes and checkpoints come often, so that the kills fall between their steps.
BUSY = {"FANFINITY_FLUSH_INTERVAL_MS": "20", "FANFINITY_CHECKPOINT_INTERVAL_MS": "100"}
CLEAN = Account(lost=0, extra=0, twice=0)


@attrs.define
class Sending:
    """One match on its way to a service, with faults at random moments."""

    service: Service
    seed: int
    journal: Journal = attrs.field(factory=Journal)

    async def run(self, *faults: Fault) -> None:
        """Send all events; each fault comes when its share of them, a little more or less, is acknowledged."""
        print(f"seed {self.seed}")
        events = make_events(seed=self.seed, count=EVENTS, match_id=MATCH)
        async with asyncio.TaskGroup() as group:
            group.create_task(send_all(self.service.url, events, self.journal, batch=BATCH, pause_s=PAUSE_S))
            group.create_task(self._cause(faults))
        await shown(self.service, EVENTS)
        metrics = await self.service.metrics(MATCH)
        assert metrics is not None
        expected = figures(events)
        assert {name: metrics[name] for name in expected} == expected

    async def _cause(self, faults: tuple[Fault, ...]) -> None:
        chance = random.Random(self.seed)
        part = EVENTS // (len(faults) + 1)
        for turn, fault in enumerate(faults, start=1):
            moment = part * turn + chance.randrange(-part // 3, part // 3)
            while len(self.journal.acknowledged) < moment:
                await asyncio.sleep(0.001)
            assert len(self.journal.acknowledged) < EVENTS, "the sending was over before the fault"
            await fault()


async def shown(service: Service, expected: int) -> None:
    """Wait until the metrics show every event, with nothing left to be read."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            metrics = await service.metrics(MATCH)
            if metrics and metrics["totalEvents"] == expected and not metrics["pendingEvents"]:
                return
            await asyncio.sleep(0.05)


async def test_service_killed_in_the_middle(engine: Engine, tmp_path: Path) -> None:
    async with Service(tmp_path, engine, environment=BUSY) as service:

        async def kill_service() -> None:
            await service.kill()
            await service.start()

        sending = Sending(service, seed=1)
        await sending.run(kill_service, kill_service)
        assert sending.journal.resent
    assert await settled_account(engine, MATCH, sending.journal) == CLEAN


async def test_clickhouse_killed_in_the_middle(server: Server, tmp_path: Path) -> None:
    async with Service(tmp_path, server, environment=BUSY) as service:

        async def kill_clickhouse() -> None:
            await server.kill()
            await server.start()

        sending = Sending(service, seed=2)
        await sending.run(kill_clickhouse, kill_clickhouse)
        assert not sending.journal.resent, "an outage of ClickHouse must not be seen by who sends"
    assert await settled_account(server, MATCH, sending.journal) == CLEAN


async def test_both_killed_in_the_middle(server: Server, tmp_path: Path) -> None:
    async with Service(tmp_path, server, environment=BUSY) as service:

        async def kill_both() -> None:
            await server.kill()
            await service.kill()
            await service.start()
            await server.start()

        sending = Sending(service, seed=3)
        await sending.run(kill_both)
    assert await settled_account(server, MATCH, sending.journal) == CLEAN
