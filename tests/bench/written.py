"""A match that is read, uncached, while it is written: the service's own parts from append to read, in this process."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from shards.events import Event
from shards.settings import ShardSettings
from shards.shardset import ShardSet
from shards.stores.base import Store
from tests.bench.load import SPIKE_TYPES

BATCH = 20
EVENTS_PER_S = 1_000
RESENT_ONE_IN = 50


@attrs.define
class Writer:
    """Appends events of one match until ``stopping``. ``begun`` and ``acknowledged`` count distinct ones."""

    shards: ShardSet
    match_id: str
    seed: int
    begun: int = 0
    acknowledged: int = 0
    stopping: bool = False
    _again: list[Event] = attrs.field(factory=list)

    async def write(self) -> None:
        """Send in time; now and then a client sends an event a second time."""
        chance = random.Random(self.seed)
        started = time.perf_counter()
        while not self.stopping:
            events = [self._event(chance) for _ in range(BATCH)]
            self.begun += len(events)
            again, self._again = self._again[:1], self._again[1:]
            order_ns = self.shards.clock.order_ns()
            await self.shards.append(events + [attrs.evolve(event, order_ns=order_ns) for event in again])
            self.acknowledged += len(events)
            if not self.acknowledged % (RESENT_ONE_IN * 2):
                self._again += events[:2]
            await asyncio.sleep(max(0.0, started + self.begun / EVENTS_PER_S - time.perf_counter()))

    def _event(self, chance: random.Random) -> Event:
        return Event(
            match_id=self.match_id,
            event_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            event_type=chance.choice(SPIKE_TYPES),
            timestamp=time.time_ns() // 1_000_000,
            team_id="",
            player_id="",
            metadata=f'{{"fan":"fan-{chance.randrange(50_000)}"}}',
            received_ns=self.shards.clock.now_ns(),
            order_ns=self.shards.clock.order_ns(),
        )


@asynccontextmanager
async def written(store: Store, directory: Path, match_id: str, *, seed: int) -> AsyncIterator[Writer]:
    """Write a match all the while; before it ends everything is in ``events``."""
    shards = ShardSet(ShardSettings(data_dir=directory), store)
    await shards.start()
    writer = Writer(shards, match_id, seed)
    writing = asyncio.create_task(writer.write())
    try:
        yield writer
    finally:
        writer.stopping = True
        await asyncio.wait({writing})
        drained = await shards.drain(timeout_s=30)
        await shards.close()
    writing.result()
    assert drained, "rows were left in the log"
