"""Shard sets for the contract tests: how they run, what they are sent, and when they are done with it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from shards.events import Event
from shards.settings import ShardSettings
from shards.shardset import ShardSet
from shards.stores.base import Store
from tests.statements import alter

DEADLINE_S = 60
"""How long to wait for what must become true."""

DAY_NS = 86_400 * 1_000_000_000

BAD = '{"bad":1}'
"""Metadata that ClickHouse refuses after :func:`refuse_bad`."""


@asynccontextmanager
async def running(settings: ShardSettings, store: Store) -> AsyncIterator[ShardSet]:
    """A shard set that ends as after a crash: nothing is drained."""
    shards = ShardSet(settings, store)
    await shards.start()
    try:
        yield shards
    finally:
        await shards.close()


@asynccontextmanager
async def up(settings: ShardSettings, store: Store) -> AsyncIterator[ShardSet]:
    """The same, once it has opened the store."""
    async with running(settings, store) as shards:
        await until(lambda: shards.snapshot().store.up)
        yield shards


def events(
    shards: ShardSet, count: int, *, match_id: str = "m", metadata: str = "{}", days_ago: int = 0
) -> list[Event]:
    """Events with ids of their own, received now, or so many days ago."""
    orders = [shards.clock.order_ns() - days_ago * DAY_NS for _ in range(count)]
    return [
        Event(match_id, str(uuid.uuid4()), "pass", 1_700_000_000_000, "1", "", metadata, order_ns, order_ns)
        for order_ns in orders
    ]


def event(shards: ShardSet, *, match_id: str = "m", metadata: str = "{}") -> Event:
    """One of these."""
    [made] = events(shards, 1, match_id=match_id, metadata=metadata)
    return made


async def refuse_bad(store: Store) -> None:
    """Have ClickHouse refuse events whose metadata is `BAD`, by the constraint ``c`` of an open store."""
    await alter(store, f"ADD CONSTRAINT c CHECK metadata != '{BAD}'")


async def rows_and_keys(store: Store) -> tuple[int, int]:
    """Rows of ``events``, and distinct keys among them, with FINAL: of each key one."""
    [(rows, keys)] = await store.fetch("SELECT count(), uniqExact((match_id, event_id)) FROM events FINAL")
    return rows, keys


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; TimeoutError if it does not within `DEADLINE_S`."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.02)


async def flushed(shards: ShardSet) -> None:
    """Wait until nothing is pending any more; TimeoutError if that takes longer than `DEADLINE_S`."""
    async with asyncio.timeout(DEADLINE_S):
        await shards.flush()


def sums_up(shards: ShardSet) -> bool:
    """Whether everything appended is confirmed, pending, a dead letter or erased; nothing may be unaccounted for."""
    now = shards.snapshot()
    whole = now.appended == now.confirmed + now.pending + now.dead_lettered + now.erased
    assert now.unaccounted == 0
    return whole
