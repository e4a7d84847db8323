"""The shard set over both stores: what was acknowledged arrives, once, whatever comes in between."""

import asyncio
import time
import uuid
from collections.abc import Collection

import attrs
import pytest

from shards.deadletters.file import DeadLetterFile
from shards.errors import DataDirectoryLocked, NotAccepting, StoreError, WalFull
from shards.events import Event, encode_row
from shards.reads.matches import MatchReads
from shards.receipts import Outcome
from shards.settings import ShardSettings
from shards.shard import wal_directory
from shards.shardset import ShardSet
from shards.stores.base import Store
from shards.wal.checkpoint import Checkpoint
from shards.wal.log import ShardLog
from tests.contract.shardsets import (
    BAD,
    DEADLINE_S,
    events,
    refuse_bad,
    rows_and_keys,
    running,
    sums_up,
    until,
    up,
)
from tests.logged import lines_of
from tests.statements import alter, drop, execute


async def test_what_is_acknowledged_is_confirmed_and_counts_once(settings: ShardSettings, store: Store) -> None:
    async with running(settings, store) as shards:
        sent = [event for number in range(20) for event in events(shards, 25, match_id=f"m{number}")]
        await shards.append(sent)
        await shards.append(sent[:100])

        assert shards.snapshot().appended == 600
        await shards.flush()

        assert await rows_and_keys(store) == (500, 500)
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.dead_lettered) == (600, 0, 0)


async def test_drain_leaves_nothing_and_then_refuses(settings: ShardSettings, store: Store) -> None:
    async with running(settings, store) as shards:
        await shards.append(events(shards, 50))
        assert await shards.drain(timeout_s=DEADLINE_S)
        assert await rows_and_keys(store) == (50, 50)
        with pytest.raises(NotAccepting):
            await shards.append(events(shards, 1))


async def test_a_drain_leaves_paused_shards_out_and_says_so(
    settings: ShardSettings, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    settings = attrs.evolve(settings, shard_count=2)
    async with up(settings, store) as shards:
        shards.pause(0, by="somebody")
        for number in range(20):
            await shards.append(events(shards, 1, match_id=f"m{number}"))
        held = shards.snapshot().shards[0].pending
        assert 0 < held < 20
        began = time.monotonic()
        assert not await shards.drain(timeout_s=DEADLINE_S)
        assert time.monotonic() - began < DEADLINE_S / 2
        assert [shard.pending for shard in shards.snapshot().shards] == [held, 0]
        [said] = lines_of(caplog, "paused shards not drained")
        assert (said["shards"], said["pending"]) == ([0], held)
    async with up(settings, store) as shards:
        assert [shard.paused for shard in shards.snapshot().shards] == [None, None]
        assert await shards.drain(timeout_s=DEADLINE_S)
        assert await rows_and_keys(store) == (20, 20)


async def test_after_a_crash_everything_is_sent_again_and_counts_once(settings: ShardSettings, store: Store) -> None:
    async with running(settings, store) as shards:
        await shards.append(events(shards, 300))
        await until(lambda: shards.snapshot().shards[0].in_flight + shards.snapshot().shards[1].in_flight > 0)
    async with running(settings, store) as shards:
        assert shards.snapshot().appended == 300
        await shards.append(events(shards, 10))
        await shards.flush()
        assert await rows_and_keys(store) == (310, 310)
        assert sums_up(shards)


@pytest.mark.parametrize(("before", "after", "store_shards"), [(1, 5, 5), (5, 1, 5)])
async def test_the_number_of_shards_may_change_with_rows_pending(
    settings: ShardSettings, store: Store, before: int, after: int
) -> None:
    async with running(attrs.evolve(settings, shard_count=before), store) as shards:
        for shard in range(before):
            shards.pause(shard)
        await shards.append([event for number in range(40) for event in events(shards, 5, match_id=f"m{number}")])
    async with running(attrs.evolve(settings, shard_count=after), store) as shards:
        assert sum(len(shards.pending([f"m{number}"]).rows) for number in range(40)) <= 200
        await shards.append(events(shards, 5, match_id="m1"))
        await shards.flush()
        assert await rows_and_keys(store) == (205, 205)
        assert shards.snapshot().pending == 0


async def test_a_row_that_only_clickhouse_refuses_becomes_the_one_dead_letter(
    settings: ShardSettings, store: Store
) -> None:
    await store.open()
    await refuse_bad(store)
    async with running(attrs.evolve(settings, shard_count=1), store) as shards:
        good = events(shards, 200)
        (bad,) = events(shards, 1, metadata=BAD)
        await shards.append([*good[:77], bad, *good[77:]])
        await shards.flush()

        assert await rows_and_keys(store) == (200, 200)
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.dead_lettered) == (200, 0, 1)
        [filed] = await shards.dead_letters(limit=2)
        letter = filed.letter
        assert letter.code == 469
        assert bad.event_id in letter.row
        await shards.append(events(shards, 5))
        await shards.flush()
        assert await rows_and_keys(store) == (205, 205)
    async with running(attrs.evolve(settings, shard_count=1), store) as shards:
        assert (shards.snapshot().pending, shards.snapshot().dead_lettered) == (0, 1)
        assert sums_up(shards)


async def test_a_constraint_that_nothing_meets_makes_no_dead_letter(settings: ShardSettings, store: Store) -> None:
    await store.open()
    await alter(store, "ADD CONSTRAINT c CHECK match_id = ''")
    async with running(attrs.evolve(settings, shard_count=1), store) as shards:
        await shards.append(events(shards, 30))
        await until(lambda: shards.snapshot().shards[0].retries >= 3)
        assert shards.snapshot().dead_lettered == 0
        assert shards.snapshot().shards[0].last_error

        await alter(store, "DROP CONSTRAINT c")

        await shards.flush()
        assert await rows_and_keys(store) == (30, 30)
        assert shards.snapshot().dead_lettered == 0


async def test_memory_is_capped_and_the_rest_comes_back_from_the_log(settings: ShardSettings, store: Store) -> None:
    settings = attrs.evolve(settings, shard_count=1, memory_max_rows=50, flush_max_rows=20, segment_max_bytes=4000)
    async with running(settings, store) as shards:
        shards.pause(0)
        for _ in range(50):
            await shards.append(events(shards, 10))

        pending = shards.pending(["m"])
        assert len(pending.rows) == 50
        assert pending.unread == {"m": 450}
        shards.resume(0)
        await shards.flush()

        assert await rows_and_keys(store) == (500, 500)
        assert shards.snapshot().wal_bytes < 8000
    async with running(settings, store) as shards:
        assert (shards.snapshot().appended, shards.snapshot().pending) == (500, 0)


async def test_a_full_log_refuses_before_anything_is_appended_and_takes_up_again(
    settings: ShardSettings, store: Store
) -> None:
    settings = attrs.evolve(settings, shard_count=1, wal_max_bytes=40_000)
    async with running(settings, store) as shards:
        shards.pause(0)
        refusal = ""
        for _ in range(10_000):
            before = shards.snapshot().appended
            try:
                await shards.append(events(shards, 5))
            except WalFull as error:
                refusal = error.reason
                break
        appended = shards.snapshot().appended
        assert "FANFINITY_WAL_MAX_BYTES" in refusal
        assert appended == before > 0

        shards.resume(0)
        await shards.flush()
        async with asyncio.timeout(DEADLINE_S):
            while shards.snapshot().appended == appended:
                try:
                    await shards.append(events(shards, 1))
                except WalFull:
                    await asyncio.sleep(0.05)
        await shards.flush()

        assert await rows_and_keys(store) == (appended + 1, appended + 1)


async def test_too_little_room_on_the_disk_refuses(settings: ShardSettings, store: Store) -> None:
    async with running(attrs.evolve(settings, wal_min_free_bytes=1 << 60), store) as shards:
        with pytest.raises(WalFull, match="MIN_FREE"):
            await shards.append(events(shards, 1))
        assert shards.snapshot().wal_error
        assert shards.snapshot().appended == 0


async def test_a_second_process_on_the_directory_is_refused(settings: ShardSettings, store: Store) -> None:
    async with running(settings, store):
        with pytest.raises(DataDirectoryLocked, match="another fanfinity process"):
            await ShardSet(settings, store).start()


async def test_a_cancelled_handler_takes_nothing_back(settings: ShardSettings, store: Store) -> None:
    async with running(settings, store) as shards:
        handler = asyncio.create_task(shards.append(events(shards, 3)))
        await asyncio.sleep(0)
        handler.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handler
        await until(lambda: shards.snapshot().appended == 3)
        await shards.flush()
        assert await rows_and_keys(store) == (3, 3)


async def test_a_dropped_destination_loses_nothing_that_was_not_confirmed(
    settings: ShardSettings, store: Store
) -> None:
    """OPTIMIZE of a Buffer table reports success after discarding rows whose destination is gone."""
    settings = attrs.evolve(settings, shard_count=1, checkpoint_interval_ms=600_000)
    async with running(settings, store) as shards:
        await shards.append(events(shards, 40))
        await until(lambda: shards.snapshot().shards[0].in_flight == 40)
        await drop(store, "ledger_view", "events")

        await shards.flush()

        assert await rows_and_keys(store) == (40, 40)
        assert sums_up(shards)


async def test_a_foreign_column_type_is_named_and_nothing_is_flushed_until_it_is_mended(
    settings: ShardSettings, store: Store
) -> None:
    await store.open()
    await drop(store, "ledger_view")
    await execute(store, "ALTER TABLE {db}.ingest_ledger MODIFY COLUMN rows UInt32")
    async with running(settings, store) as shards:
        await shards.append(events(shards, 20))
        await until(lambda: "ingest_ledger" in shards.snapshot().store.error)
        error = shards.snapshot().store.error
        assert "UInt32" in error
        assert "UInt64" in error
        assert not shards.snapshot().store.up
        assert await rows_and_keys(store) == (0, 0)
        await shards.append(events(shards, 5))

        await execute(store, "ALTER TABLE {db}.ingest_ledger MODIFY COLUMN rows UInt64")

        await shards.flush()
        assert await rows_and_keys(store) == (25, 25)


async def test_a_failing_view_confirms_nothing_and_heals(settings: ShardSettings, store: Store) -> None:
    """With a failing view each flush writes the main part again; the ledger shows none of it."""
    settings = attrs.evolve(settings, shard_count=1)
    async with up(settings, store) as shards:
        await execute(store, "ALTER TABLE {db}.ingest_ledger ADD CONSTRAINT c CHECK rows > 1000000")
        await shards.append(events(shards, 20))
        await until(lambda: shards.snapshot().shards[0].retries >= 2)
        assert shards.snapshot().confirmed == 0
        assert shards.snapshot().dead_lettered == 0

        await execute(store, "ALTER TABLE {db}.ingest_ledger DROP CONSTRAINT c")

        await shards.flush()
        assert await rows_and_keys(store) == (20, 20)
        assert shards.snapshot().dead_lettered == 0


async def test_after_a_crash_no_figure_is_lower_with_a_row_stuck_before_many_that_were_stored(
    settings: ShardSettings, store: Store
) -> None:
    """A row that is not done with holds the checkpoint back; what was stored behind it takes no room in memory."""
    settings = attrs.evolve(settings, shard_count=1, memory_max_rows=100, flush_max_rows=40)
    letters = settings.data_dir / "deadletters" / "shard-000.jsonl"
    async with up(settings, store) as shards:
        await alter(store, "ADD CONSTRAINT stuck CHECK metadata = '{}'")
        letters.mkdir(parents=True)  # no letter can be written: the row that ClickHouse refuses stays where it is
        await shards.append([*events(shards, 1, metadata='{"a":1}'), *events(shards, 1_999)])
        await until(lambda: shards.snapshot().confirmed >= 150)
        shards.pause(0)
        shown = await counted(store, shards)
        assert shards.snapshot().confirmed < shown < 2_000
        assert shards.pending(["m"]).unread["m"] + shown == 2_000
    letters.rmdir()
    await alter(store, "ADD CONSTRAINT nothing CHECK event_type = ''")
    for _ in range(2):
        async with running(settings, store) as shards:
            again = await counted(store, shards)
            assert again >= shown
            assert shards.pending(["m"]).unread["m"] + again == 2_000
            await until(lambda: shards.snapshot().shards[0].retries > 0)
    async with running(settings, store) as shards:
        assert await counted(store, shards) == again
        await alter(store, "DROP CONSTRAINT nothing")
        await shards.flush()
        now = shards.snapshot()
        assert (now.confirmed, now.dead_lettered, now.damaged, now.pending) == (1_999, 1, 0, 0)
        assert await rows_and_keys(store) == (1_999, 1_999)
        audit = await shards.audit()
        assert (audit.verdict, audit.shards[0].upto, audit.shards[0].confirmed) == ("whole", 2_000, 1_999)
        assert audit.ledger_rows == 1_999, "what the checkpoint knew of was not sent again"


async def test_a_checkpoint_that_fails_for_whatever_reason_costs_nothing(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room in memory nothing can be read from the log, which is not the end of it."""
    settings = attrs.evolve(settings, shard_count=1, memory_max_rows=100, flush_max_rows=100)
    truncate, failures = ShardLog.truncate, 0

    def fail_once(log: ShardLog, checkpoint: Checkpoint) -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise RuntimeError("can't start new thread")
        truncate(log, checkpoint)

    async with running(settings, store) as shards:
        monkeypatch.setattr(ShardLog, "truncate", fail_once)
        await shards.append(events(shards, 250))
        await shards.flush()
        now = shards.snapshot()
        assert failures > 1
        assert (now.confirmed, now.damaged, now.pending) == (250, 0, 0)
        assert await rows_and_keys(store) == (250, 250)


async def counted(store: Store, shards: ShardSet) -> int:
    """Return the figure of the match, with nothing loaded or confirmed meanwhile."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            before = shards.snapshot()
            total = (await MatchReads(store, shards).aggregates(["m"]))["m"].total
            after = shards.snapshot()
            if (after.confirmed, after.shards[0].unread) == (before.confirmed, before.shards[0].unread):
                return total


async def test_reads_of_the_store_fail_with_a_store_error(settings: ShardSettings, store: Store) -> None:
    await store.open()
    with pytest.raises(StoreError):
        await store.fetch("SELECT nothing FROM nowhere")


def write_log(settings: ShardSettings, *, damaged: Collection[int]) -> None:
    """Have a log of 100 rows, of which some cannot be read back."""
    log = ShardLog(wal_directory(settings.data_dir, 0), shard=0, segment_max_bytes=1 << 20)
    log.recover()
    ids = {seq: str(uuid.UUID(int=seq)) for seq in range(1, 101)}
    log.append([encode_row(Event("m", id_, "pass", 1, "1", "", "{}", seq, seq)) for seq, id_ in ids.items()])
    log.sync()
    log.acknowledge()
    log.seal()
    log.close()
    [segment] = log.directory.glob("*.wal")
    content = bytearray(segment.read_bytes())
    for seq in damaged:
        content[content.index(ids[seq].encode())] ^= 1
    segment.write_bytes(content)


@pytest.mark.parametrize("damaged", [(3,), (3, 4, 50), (97, 98, 99)], ids=str)
async def test_what_the_disk_lost_stays_counted_over_restarts(
    settings: ShardSettings, store: Store, damaged: tuple[int, ...]
) -> None:
    settings = attrs.evolve(settings, shard_count=1, memory_max_rows=20, flush_max_rows=10)
    write_log(settings, damaged=damaged)
    async with running(settings, store) as shards:
        await until(lambda: shards.snapshot().confirmed >= 10)
        shards.pause(0)  # and there it ends, with some of them behind the checkpoint and others not
    found = []
    for sent in (5, 0):
        async with running(settings, store) as shards:
            if sent:
                await shards.append(events(shards, sent))
            await shards.flush()
            await until(lambda: shards.snapshot().pending == 0)
            now = shards.snapshot()
            found.append((now.appended, now.confirmed, now.damaged))
            audit = await shards.audit()
            assert (audit.verdict, audit.shards[0].unprovable["damaged"]) == ("whole", len(damaged))
    assert found == [(105, 105 - len(damaged), len(damaged))] * 2
    assert (await rows_and_keys(store))[0] == 105 - len(damaged)


async def test_a_dead_letter_is_counted_once_also_where_its_record_is_damaged(
    settings: ShardSettings, store: Store
) -> None:
    settings = attrs.evolve(settings, shard_count=1)
    write_log(settings, damaged=(3, 50))
    letters = DeadLetterFile(settings.data_dir / "deadletters" / "shard-000.jsonl", shard=0)
    for seq in (3, 7):
        event = Event("m", str(uuid.UUID(int=seq)), "pass", 1, "1", "", "{}", seq, seq)
        await letters.put_aside(seq=seq, row=encode_row(event), code=1, error="refused")
    for _ in range(2):
        async with running(settings, store) as shards:
            await shards.flush()
            now = shards.snapshot()
            assert (now.appended, now.confirmed, now.dead_lettered, now.damaged) == (100, 97, 2, 1)


async def test_dead_letters_that_no_checkpoint_knows_of_are_counted_once(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = attrs.evolve(settings, shard_count=1)
    await store.open()
    await refuse_bad(store)

    def full(log: ShardLog, checkpoint: Checkpoint) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ShardLog, "truncate", full)
    async with running(settings, store) as shards:
        bad = events(shards, 10, metadata=BAD)
        receipt = await shards.append([*events(shards, 30), *bad])
        await until(lambda: shards.snapshot().dead_lettered == 10)
    monkeypatch.undo()
    async with running(attrs.evolve(settings, memory_max_rows=5), store) as shards:
        now = shards.snapshot()
        assert (now.appended, now.dead_lettered, now.damaged) == (40, 10, 0)
        assert sums_up(shards)
        await shards.flush()
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.dead_lettered, now.damaged) == (30, 0, 10, 0)
        assert shards.outcome(receipt) == Outcome(durable=0, stored=30, dead_lettered=10)


async def test_an_attempt_that_contradicts_the_books_is_sent_again_and_harms_nobody(
    settings: ShardSettings, store: Store
) -> None:
    """The ledger shows it whole, but one of its rows was counted before: the others are sent once more."""
    await store.open()
    settings = attrs.evolve(settings, shard_count=1, checkpoint_interval_ms=600_000)
    async with running(settings, store) as shards:
        [shard] = shards._shards
        await shards.append(events(shards, 4))
        await until(lambda: shards.snapshot().shards[0].in_flight == 4)
        shard.pending.remove([1])
        shard.tally.note_confirmed(((1, 1),), rows=1)
        await shards.flush()
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.unaccounted) == (4, 0, 0)
        assert (await rows_and_keys(store))[1] == 4
