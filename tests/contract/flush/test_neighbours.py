"""One bad row never takes a neighbour with it, over both stores: whatever refuses it, and wherever that shows."""

import asyncio

import attrs
import pytest

from shards.deadletters.file import DeadLetterFile
from shards.errors import RowsRefused, StoreBusy, StoreFailed
from shards.events import encode_row
from shards.flush import suspicion
from shards.settings import ShardSettings
from shards.stores.base import Batch, Store
from shards.tasks import backoff
from tests.contract.rows import count
from tests.contract.shardsets import (
    BAD,
    DEADLINE_S,
    events,
    flushed,
    refuse_bad,
    rows_and_keys,
    running,
    sums_up,
    until,
    up,
)
from tests.statements import alter, drop, execute


@pytest.fixture
def settings(settings: ShardSettings) -> ShardSettings:
    return attrs.evolve(settings, shard_count=1)


async def fail_in_a_view_of_others(store: Store) -> None:
    """What an analyst may add to a public table; it fails behind ours, which have their rows by then."""
    await execute(store, "CREATE TABLE {db}.analysis (team UInt32) ENGINE = MergeTree ORDER BY team")
    await execute(
        store,
        "CREATE MATERIALIZED VIEW {db}.zz_analysis TO {db}.analysis AS "
        f"SELECT toUInt32(if(metadata = '{BAD}', 'none', '1')) AS team FROM {store.database}.events",
    )


@pytest.mark.parametrize("bad", [1, 20])
async def test_refused_rows_at_the_head_hold_up_nobody(settings: ShardSettings, store: Store, bad: int) -> None:
    async with up(settings, store) as shards:
        await refuse_bad(store)
        await shards.append([*events(shards, bad, metadata=BAD), *events(shards, 50)])
        await flushed(shards)
        assert await rows_and_keys(store) == (50, 50)
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.dead_lettered) == (50, 0, bad)


async def test_a_row_that_fails_for_an_unknown_reason_holds_up_nobody(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Division by zero may be anybody's fault: only after it failed alone again and again it must be the row's."""
    monkeypatch.setattr(backoff, "BACKOFF_MAX_S", 0.1)
    async with up(settings, store) as shards:
        await alter(store, f"ADD CONSTRAINT c CHECK intDiv(1, metadata != '{BAD}') = 1")
        (bad,) = events(shards, 1, metadata=BAD)
        await shards.append([bad, *events(shards, 50)])
        await until(lambda: shards.snapshot().confirmed == 50)
        assert shards.snapshot().dead_lettered == 0, "others got in once"
        async with asyncio.timeout(DEADLINE_S):
            while not shards.snapshot().dead_lettered:
                await shards.append(events(shards, 1))
                await asyncio.sleep(0.05)
            await shards.flush()
        [filed] = await shards.dead_letters(limit=2)
        letter = filed.letter
        assert (letter.code, bad.event_id in letter.row) == (153, True)
        assert sums_up(shards)


async def test_an_unknown_reason_that_is_mended_in_time_makes_no_dead_letter(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_MAX_S", 0.1)
    async with up(settings, store) as shards:
        await alter(store, f"ADD CONSTRAINT c CHECK intDiv(1, metadata != '{BAD}') = 1")
        await shards.append([*events(shards, 3, metadata=BAD), *events(shards, 5)])
        await until(lambda: shards.snapshot().confirmed == 5)
        await alter(store, "DROP CONSTRAINT c")
        await flushed(shards)
        assert await rows_and_keys(store) == (8, 8)
        assert shards.snapshot().dead_lettered == 0


@pytest.mark.parametrize("flush_max_rows", [1000, 5], ids=["by the Buffer table", "straight into events"])
async def test_a_failing_view_of_somebody_else_costs_no_row_and_is_not_repeated(
    settings: ShardSettings, store: Store, flush_max_rows: int
) -> None:
    """ClickHouse writes a failed flush again, whole, as long as the Buffer table holds it."""
    async with up(attrs.evolve(settings, flush_max_rows=flush_max_rows), store) as shards:
        await fail_in_a_view_of_others(store)
        await shards.append([*events(shards, 1, metadata=BAD), *events(shards, 9)])
        for _ in range(5):
            await shards.append(events(shards, 2))
            await flushed(shards)
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.dead_lettered) == (20, 0, 0)
        assert await rows_and_keys(store) == (20, 20)
        assert await count(store) <= 3 * 20
        assert (await shards.audit()).verdict == "whole"


async def test_a_dead_letter_that_cannot_be_written_holds_up_nobody(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_MAX_S", 0.1)
    put_aside, full = DeadLetterFile.put_aside, True

    async def on_a_full_disk(self: DeadLetterFile, *, seq: int, row: bytes, code: int, error: str) -> None:
        if full:
            raise OSError(28, "No space left on device")
        await put_aside(self, seq=seq, row=row, code=code, error=error)

    monkeypatch.setattr(DeadLetterFile, "put_aside", on_a_full_disk)
    async with up(settings, store) as shards:
        await refuse_bad(store)
        await shards.append([*events(shards, 9, metadata=BAD), *events(shards, 5)])
        await until(lambda: shards.snapshot().confirmed == 5)
        await shards.append(events(shards, 5))
        await until(lambda: shards.snapshot().confirmed == 10)
        assert "No space left" in shards.snapshot().shards[0].last_error
        full = False
        await flushed(shards)
        assert (shards.snapshot().dead_lettered, shards.snapshot().shards[0].last_error) == (9, "")


async def test_an_old_buffer_table_with_a_refused_row_keeps_nobody_out(settings: ShardSettings, store: Store) -> None:
    """It is left over from a start with more shards, whose log has the row."""
    await execute(store, "CREATE TABLE {db}.events_buffer_7 AS {db}.events_buffer_0")
    async with running(settings, store) as shards:
        row = encode_row(events(shards, 1, metadata=BAD)[0])
    await store.insert_buffered(Batch(writer="old", shard=7, number=1, rows=[row]))
    await refuse_bad(store)
    async with up(settings, store) as shards:
        await shards.append(events(shards, 5))
        await shards.flush()
        assert await rows_and_keys(store) == (5, 5)


async def test_what_opens_and_takes_nothing_is_not_tried_without_pause(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target of an analyst's view is gone: no row gets in, and the schema that we need is all there."""
    opened, open_ = 0, store.open

    async def counted() -> None:
        nonlocal opened
        opened += 1
        await open_()

    monkeypatch.setattr(store, "open", counted)
    async with up(settings, store) as shards:
        await fail_in_a_view_of_others(store)
        await drop(store, "analysis")
        await shards.append(events(shards, 5))
        await until(lambda: "UNKNOWN_" in shards.snapshot().store.error)
        before = opened
        await asyncio.sleep(1.5)
        assert opened - before <= 6, "each pause is twice as long as the one before"
        await drop(store, "zz_analysis")
        await flushed(shards)
        assert await rows_and_keys(store) == (5, 5)


async def test_a_surprise_in_watching_the_store_does_not_end_it(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, open_ = 0, store.open

    async def surprising() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyError("events")
        await open_()

    monkeypatch.setattr(store, "open", surprising)
    async with running(settings, store) as shards:
        await shards.append(events(shards, 5))
        await flushed(shards)
        assert await rows_and_keys(store) == (5, 5)


def test_many_failures_alone_end_the_search_until_one_gets_in() -> None:
    outcome = suspicion.Bisection(replayed=True, split_unknown=True)
    for refused in (True, False):
        for seq in range(suspicion.LONE_FAILURES_MAX):
            assert not outcome.hopeless
            outcome.note_lone_failure(suspicion.Failure(seq, RowsRefused("x") if refused else StoreFailed("x")))
        assert outcome.hopeless
        outcome.note_success(1)
    for seq in range(100):
        outcome.note_lone_failure(suspicion.Failure(seq, RowsRefused("x")))
    assert not outcome.hopeless, "others got in, so that these are at fault themselves"


async def test_a_clickhouse_that_is_busy_again_is_not_sent_row_after_row(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a batch got in before it had too many parts again: then it must not get as many as there are rows."""
    monkeypatch.setattr(backoff, "BACKOFF_MAX_S", 0.05)
    insert, sent, free, busy = store.insert_direct, 0, 1, True

    async def often_busy(batch: Batch) -> None:
        nonlocal sent, free
        sent += 1
        free -= len(batch.rows) == 250
        if busy and (len(batch.rows) != 250 or free < 0):
            raise StoreBusy("Too many parts", code=252)
        await insert(batch)

    monkeypatch.setattr(store, "insert_direct", often_busy)
    async with up(attrs.evolve(settings, flush_max_rows=1000), store) as shards:
        await shards.append(events(shards, 1000))
        await until(lambda: shards.snapshot().confirmed == 250)
        await until(lambda: shards.snapshot().shards[0].retries > 12)
        assert sent < 200
        assert shards.snapshot().dead_lettered == 0
        busy = False
        await flushed(shards)
        assert await rows_and_keys(store) == (1000, 1000)


async def test_an_error_that_follows_a_refusal_needs_proof_of_its_own(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row was refused among others; tried once more it fails for another reason, and that may be anybody's."""
    monkeypatch.setattr(backoff, "BACKOFF_MAX_S", 0.05)
    insert, alone = store.insert_direct, 0

    async def failing_differently(batch: Batch) -> None:
        nonlocal alone
        if any(BAD.encode()[1:-1].replace(b'"', b'\\"') in row for row in batch.rows):
            alone += len(batch.rows) == 1
            if len(batch.rows) > 1 or alone == 1:
                raise RowsRefused("refused", code=469)
            if alone < 8:
                raise StoreFailed("the ledger shows 0 of 1 rows")
        await insert(batch)

    monkeypatch.setattr(store, "insert_direct", failing_differently)
    async with up(attrs.evolve(settings, flush_max_rows=10), store) as shards:
        await shards.append([*events(shards, 1, metadata=BAD), *events(shards, 9)])
        await flushed(shards)
        assert alone >= 8
        assert (shards.snapshot().confirmed, shards.snapshot().dead_lettered) == (10, 0)
