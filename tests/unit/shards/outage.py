"""Shard sets in an outage of ClickHouse: what they are given stays pending."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shards import shardset
from shards.events import Event
from shards.settings import ShardSettings
from shards.shardset import ShardSet
from shards.stores.server import ServerStore
from tests.clickhouse import free_port


@asynccontextmanager
async def in_an_outage(settings: ShardSettings) -> AsyncIterator[ShardSet]:
    """A shard set whose ClickHouse nobody can reach."""
    store = ServerStore(f"clickhouse://default@127.0.0.1:{free_port()}/away", shard_count=settings.shard_count)
    shards = ShardSet(settings, store)
    await shards.start()
    # It goes on behind a start where the machine is slow; some tests have it stand still.
    with suppress(TimeoutError):
        async with asyncio.timeout(10 * shardset.RECOVERY_HEAD_START_S):
            while not shards.snapshot().recovered:
                await asyncio.sleep(0.01)
    try:
        yield shards
    finally:
        await shards.close()
        await store.close()


def events(shards: ShardSet, count: int, *, match_id: str = "m") -> list[Event]:
    """Events with ids of their own, received now."""
    stamps = [shards.clock.order_ns() for _ in range(count)]
    return [Event(match_id, str(uuid.uuid4()), "pass", 1, "1", "", "{}", stamp, stamp) for stamp in stamps]
