"""The deletion in ClickHouse: nothing counts as gone that was not shown to be, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from time import monotonic

import pytest
import pytest_asyncio

from shards.erasure.stored import StoredMatches
from shards.errors import StoreError, StoreFailed
from shards.events import Event, encode_row
from shards.stores.base import Batch, Store
from shards.stores.server import ServerStore
from tests.clickhouse import ClickHouseServer
from tests.statements import execute

DIRECTORY = "0a1b2c3d"


async def fill(store: Store, match_id: str, count: int, *, first: int = 1) -> None:
    """Store rows whose orders are ``first`` and those that follow."""
    rows = [
        encode_row(Event(match_id, f"{order:032x}", "pass", 1, "1", "", "{}", order, order))
        for order in range(first, first + count)
    ]
    await store.insert_direct(Batch(writer="w", shard=0, number=first, rows=rows))


async def count(store: Store, match_id: str) -> int:
    [(rows,)] = await store.fetch(f"SELECT toUInt64(count()) FROM events WHERE match_id = '{match_id}'")
    return int(rows)


async def helpers(store: Store) -> int:
    [(tables,)] = await execute(
        store, "SELECT count() FROM system.tables WHERE database = '{db}' AND startsWith(name, 'erasing_')"
    )
    return int(tables)


async def standing_still(store: Store, stored: StoredMatches) -> "asyncio.Future[int]":
    """Begin a deletion that ClickHouse takes up, and does not carry out before its merges are started again."""
    await execute(store, "SYSTEM STOP MERGES {db}.events")
    deleting = asyncio.ensure_future(stored.delete())
    async with asyncio.timeout(30):
        while not await execute(store, "SELECT 1 FROM system.mutations WHERE NOT is_done"):
            await asyncio.sleep(0.05)
    return deleting


@pytest_asyncio.fixture
async def lone(own_clickhouse: ClickHouseServer) -> AsyncIterator[Store]:
    """A store on a server of this test alone."""
    store = ServerStore(f"{own_clickhouse.url}/db", shard_count=1)
    await store.open()
    yield store
    await store.close()


async def test_each_match_goes_up_to_its_own_cut_off(store: Store) -> None:
    await fill(store, "a", 10)
    await fill(store, "b", 10, first=101)
    await fill(store, "c", 10, first=201)
    stored = StoredMatches(store, directory=DIRECTORY)
    await stored.prepare({"a": 4, "b": 1_000})
    assert await stored.left() == 14
    assert await stored.delete() == 14
    assert await stored.left() == 0
    assert [await count(store, match_id) for match_id in ("a", "b", "c")] == [6, 0, 10]
    assert await stored.delete() == 0
    assert await helpers(store) == 1
    await stored.clear()
    assert await helpers(store) == 0


async def test_ids_of_events_that_go_are_found_among_others(store: Store) -> None:
    await fill(store, "a", 3)
    await fill(store, "b", 3, first=101)
    stored = StoredMatches(store, directory=DIRECTORY)
    await stored.prepare({"a": 2})
    asked = [f"00000000-0000-0000-0000-{order:012x}" for order in (1, 2, 3, 101, 999)]
    assert await stored.among(asked) == set(asked[:2])
    assert await stored.among([]) == set()
    await stored.clear()


async def test_a_restart_of_clickhouse_never_looks_like_the_end(lone: Store, own_clickhouse: ClickHouseServer) -> None:
    await fill(lone, "a", 10)
    stored = StoredMatches(lone, directory=DIRECTORY)
    await stored.prepare({"a": 1_000})
    own_clickhouse.restart()
    with pytest.raises(StoreError):
        await _once_up(stored.left)
    assert await count(lone, "a") == 10
    await stored.prepare({"a": 1_000})
    assert await stored.delete() == 10
    await stored.clear()
    assert await helpers(lone) == 0


async def _once_up(ask: Callable[[], object]) -> object:
    """Ask once the connections of before are known to be lost."""
    for _ in range(20):
        try:
            return await ask()  # type: ignore[misc]
        except StoreFailed:
            raise
        except StoreError:
            await asyncio.sleep(0.1)
    raise AssertionError("ClickHouse does not come back")


async def test_a_deletion_that_fails_is_taken_back_and_told(lone: Store) -> None:
    await fill(lone, "a", 10)
    stored = StoredMatches(lone, directory=DIRECTORY)
    await stored.prepare({"a": 1_000})
    deleting = await standing_still(lone, stored)
    [(name,)] = await execute(lone, "SELECT name FROM system.tables WHERE startsWith(name, 'erasing_')")
    await execute(lone, f"DROP TABLE {{db}}.{name} SYNC")
    await execute(lone, "SYSTEM START MERGES {db}.events")
    with pytest.raises(StoreError):
        await deleting
    assert await execute(lone, "SELECT command FROM system.mutations WHERE NOT is_done AND NOT is_killed") == []
    assert await count(lone, "a") == 10
    await stored.prepare({"a": 1_000})
    assert await stored.delete() == 10


async def test_a_table_that_a_deletion_still_needs_is_left(lone: Store) -> None:
    await fill(lone, "a", 10)
    stored = StoredMatches(lone, directory=DIRECTORY)
    await stored.prepare({"a": 1_000})
    deleting = await standing_still(lone, stored)
    await StoredMatches(lone, directory=DIRECTORY).clear()
    assert await helpers(lone) == 1
    await StoredMatches(lone, directory="another0").clear()
    await execute(lone, "SYSTEM START MERGES {db}.events")
    assert await deleting == 10


async def test_an_insert_that_is_still_at_work_is_waited_for(lone: Store) -> None:
    stored = StoredMatches(lone, directory=DIRECTORY)
    slow = asyncio.ensure_future(
        execute(
            lone,
            "INSERT INTO {db}.events (match_id, event_id) SELECT 'late', generateUUIDv4() FROM numbers(3)"
            " WHERE sleepEachRow(1) = 0 SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0",
        )
    )
    async with asyncio.timeout(30):
        while not await lone.fetch("SELECT 1 FROM system.processes WHERE query LIKE 'INSERT INTO%late%'"):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    await stored.wait_for_inserts(since=monotonic() - 100)  # it began after that
    assert not slow.done()
    await stored.wait_for_inserts(since=monotonic())
    async with asyncio.timeout(5):
        await slow
