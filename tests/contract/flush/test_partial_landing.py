"""An INSERT of which a part lands, or too much, over both stores: such an attempt is never confirmed."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import attrs
import pytest

from shards.errors import StoreFailed
from shards.settings import ShardSettings
from shards.shardset import ShardSet
from shards.stores.base import Batch, Store
from tests.contract.shardsets import event, events, flushed, rows_and_keys, sums_up, until, up
from tests.logged import lines_of
from tests.statements import drop_database

ROWS = 10

Landing = Callable[[Sequence[bytes]], Sequence[Sequence[bytes]]]
"""Says which rows of an INSERT land, as one INSERT or several."""


class PartialStore(Store):
    """A store on which the INSERT numbered ``is_partial`` is answered as a success, and lands otherwise."""

    landing: Landing | None = None
    inserts = 0

    async def _insert(self, table: str, batch: Batch) -> None:
        landing, self.landing = self.landing, None
        for rows in landing(batch.rows) if landing and batch.rows else [batch.rows]:
            await super()._insert(table, attrs.evolve(batch, rows=rows))
        self.inserts += 1


@pytest.fixture
async def store(make_store: "partial[Store]") -> AsyncIterator[PartialStore]:
    kind = type("PartialStoreOfItsKind", (PartialStore, make_store.func), {})
    store: PartialStore = kind(*make_store.args, **make_store.keywords)
    await store.open()
    yield store
    await drop_database(store)
    await store.close()


@pytest.fixture
def settings(settings: ShardSettings) -> ShardSettings:
    return attrs.evolve(settings, shard_count=1)


LANDINGS = {
    "all but the first": lambda rows: [rows[1:]],
    "all but the last": lambda rows: [rows[:-1]],
    "one": lambda rows: [rows[:1]],
    "none": lambda rows: [],
    "one twice": lambda rows: [rows, rows[:1]],
    "all twice": lambda rows: [rows, rows],
}

landings = pytest.mark.parametrize("landing", LANDINGS.values(), ids=LANDINGS)


async def is_whole(shards: ShardSet, store: Store) -> bool:
    """Whether each row is stored, counts once, and is shown by an attempt that the ledger has whole."""
    await flushed(shards)
    await until(lambda: shards.snapshot().pending == 0)
    found = await shards.audit()
    now = shards.snapshot()
    assert (now.confirmed, now.dead_lettered, sums_up(shards)) == (ROWS, 0, True)
    return await rows_and_keys(store) == (ROWS, ROWS) and (found.verdict, found.differences) == ("whole", ())


@landings
async def test_a_batch_in_the_buffer_table_is_sent_again(
    settings: ShardSettings, store: PartialStore, landing: Landing, caplog: pytest.LogCaptureFixture
) -> None:
    async with up(settings, store) as shards:
        store.landing = landing
        await shards.append(events(shards, ROWS))
        assert await is_whole(shards, store)
        assert store.inserts == 2
        assert [one.retries for one in shards.snapshot().shards] == [1]
        [said] = lines_of(caplog, "rows sent again")
        assert (said["rows"], said["reason"]) == (ROWS, "the ledger does not show them")


@landings
async def test_a_full_batch_is_sent_again(settings: ShardSettings, store: PartialStore, landing: Landing) -> None:
    async with up(attrs.evolve(settings, flush_max_rows=ROWS), store) as shards:
        store.landing = landing
        await shards.append(events(shards, ROWS))
        assert await is_whole(shards, store)
        assert store.inserts == 2


@landings
async def test_a_replay_is_sent_again(settings: ShardSettings, store: PartialStore, landing: Landing) -> None:
    async with up(settings, store) as shards:
        shards.pause(0)
        await shards.append(events(shards, ROWS))
        assert store.inserts == 0
    store.landing = landing
    async with up(settings, store) as shards:
        assert await is_whole(shards, store)
        assert store.inserts == 2


@pytest.mark.parametrize(("landing", "landed"), [("all but the last", ROWS - 1), ("none", 0), ("all twice", 2 * ROWS)])
async def test_the_count_that_the_ledger_shows_is_told(
    settings: ShardSettings, store: PartialStore, landing: str, landed: int
) -> None:
    async with up(settings, store) as shards:
        shards.pause(0)
        await shards.append([event(shards) for _ in range(ROWS)])
        store.landing = LANDINGS[landing]
        [shard] = shards._shards
        with pytest.raises(StoreFailed, match=f"the ledger shows {landed} of {ROWS} rows"):
            await shard.flusher._steps.sender.deliver(list(range(1, ROWS + 1)))
        assert (shards.snapshot().confirmed, shards.snapshot().pending) == (0, ROWS)
