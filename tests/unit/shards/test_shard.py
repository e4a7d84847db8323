"""A shard as a restart finds it, and in an outage of ClickHouse."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from shards import shardset
from shards.deadletters.file import DeadLetterFile, letters_path
from shards.errors import InvariantBroken, NotAccepting, StoreUnavailable, WalFailed
from shards.events import Event, encode_row
from shards.flush.tally import Attempt
from shards.receipts import Receipt
from shards.settings import ShardSettings
from shards.shard import Shard, wal_directory
from shards.shardset import ShardSet
from shards.wal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from shards.wal.journal import Confirmed, Journal
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from shards.wal.record import Record
from tests.logged import lines_of
from tests.unit.shards.flush.memory_store import OneShard
from tests.unit.shards.outage import events, in_an_outage
from tests.unit.shards.wal.logs import row

HOUR_S = 3600
DEADLINE_S = 60


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardSettings:
    monkeypatch.setattr(shardset, "STORE_HEAD_START_S", 0.0)
    return ShardSettings(data_dir=tmp_path, shard_count=1, wal_min_free_bytes=0)


async def accepted(shards: ShardSet, events: list[Event]) -> Receipt:
    """Append as soon as the disk is tried again."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await shards.append(events)
            except WalFailed:
                await asyncio.sleep(0.05)


def open_log(data_dir: Path) -> ShardLog:
    return ShardLog(wal_directory(data_dir, 0), shard=0, segment_max_bytes=1 << 20)


@pytest.mark.parametrize(("clock_moved_s", "least_s"), [(HOUR_S, HOUR_S), (-HOUR_S, 0)], ids=["later", "set back"])
def test_the_age_of_the_oldest_row_outlives_a_restart_and_is_never_negative(
    tmp_path: Path, clock_moved_s: int, least_s: int
) -> None:
    received_ns = time.time_ns() - clock_moved_s * 1_000_000_000
    log = open_log(tmp_path)
    log.recover()
    log.append([encode_row(Event("m", "id", "pass", 1, "1", "", "{}", received_ns, received_ns))])
    log.sync()
    log.close()

    again = open_log(tmp_path)
    shard = Shard(0, ShardSettings(data_dir=tmp_path), log=again)

    first = shard.pending.oldest_age_s
    assert least_s <= first < least_s + HOUR_S
    assert shard.pending.oldest_age_s > first, "it grows from there"


async def test_who_stops_waiting_for_the_store_in_an_outage_leaves_nothing_behind(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        for _ in range(5):
            receipt = await shards.append(events(shards, 1))
            assert not await shards.wait_stored(receipt, timeout_s=0.01)
        assert not shards._shards[0].flusher._flush_waiters


async def test_a_restart_has_as_many_rows_in_memory_as_there_were(settings: ShardSettings) -> None:
    """Rows on disk only are in no answer: one from before the restart had counted these."""
    settings = attrs.evolve(settings, memory_max_rows=100, flush_max_rows=40)
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 120))
        held = shards.pending(["m"])
        assert (len(held.rows), held.unread) == (100, {"m": 20})
    async with in_an_outage(settings) as shards:
        assert shards.pending(["m"]) == held


async def test_a_row_that_holds_the_checkpoint_back_does_not_keep_the_journal_in_memory(
    settings: ShardSettings,
) -> None:
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 1))
        log, flushing = shards._shards[0].log, shards._shards[0].flusher
        for batch in range(1, 5):
            log.journal.note(
                Confirmed(
                    writer="w",
                    first_batch=batch,
                    last_batch=batch,
                    rows=1,
                    runs=((batch + 1, batch + 1),),
                    at_s=int(time.time()),
                    event_id="",
                    received_s=0,
                )
            )
            await flushing._save()
            assert log.checkpoint.upto == 0
            assert log.journal.is_written
        written = Journal(log.directory, shard=0).entries()
        assert sum(entry.rows for entry in written if isinstance(entry, Confirmed)) == 4


async def test_a_step_that_fails_saves_what_it_had_confirmed(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = attrs.evolve(settings, memory_max_rows=4)
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 4))
        [shard] = shards._shards

        async def fail_late() -> None:
            shard.flusher._steps.sender.confirm(Attempt(1, [1, 3], shard.pending.rows([1])[0]))
            raise StoreUnavailable("away again")

        monkeypatch.setattr(shard.flusher, "_work", fail_late)
        with pytest.raises(StoreUnavailable):
            await shard.flusher._work_and_save()
        saved = read_checkpoint(wal_directory(settings.data_dir, 0))
        assert (saved.upto, saved.beyond) == (1, ((3, 3),))
        assert shard.pending.room[0] == 2


async def test_a_checkpoint_that_could_not_be_written_is_written_later(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 3))
        [shard] = shards._shards
        shard.flusher._steps.sender.confirm(Attempt(1, [2], shard.pending.rows([2])[0]))
        in_the_way = wal_directory(settings.data_dir, 0) / "checkpoint.json.new"
        in_the_way.mkdir()  # cannot be opened for writing, not even by root
        await shard.flusher._save()
        assert read_checkpoint(wal_directory(settings.data_dir, 0)).beyond == ()
        in_the_way.rmdir()
        await shard.flusher._save()
        assert read_checkpoint(wal_directory(settings.data_dir, 0)).beyond == ((2, 2),)


async def test_a_log_of_which_all_is_done_with_has_lost_nothing(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 3))
    write_checkpoint(wal_directory(settings.data_dir, 0), Checkpoint(beyond=((1, 3),)))
    async with in_an_outage(settings) as shards:
        now = shards.snapshot()
        assert (now.appended, now.confirmed, now.pending, now.damaged) == (3, 3, 0, 0)
        await shards._shards[0].flusher._save()
        assert attrs.evolve(shards._shards[0].log.checkpoint, order_upto=0) == Checkpoint(
            upto=3, confirmed=3, durable=3
        )


async def test_a_recovery_that_fails_late_says_so(settings: ShardSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(settings.data_dir)
    log.recover()
    log.append([b'{"match":"of no release of ours","received_ns":1,"order_ns":1}'])
    log.sync()
    log.close()
    monkeypatch.setattr(shardset, "RECOVERY_HEAD_START_S", 0.0)
    async with in_an_outage(settings) as shards, asyncio.timeout(DEADLINE_S):
        while True:
            with pytest.raises(NotAccepting) as refusal:
                shards.check_room()
            if "cannot be read" in refusal.value.reason:
                break
            await asyncio.sleep(0.01)


async def test_a_shutdown_in_the_middle_of_the_recovery_ends_it(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_an_outage(settings) as shards:
        for _ in range(5):
            await shards.append(events(shards, 4_000))
    read, reading, reads = LogReader.read, threading.Event(), 0

    def slowly(self: LogReader, **limits: Any) -> list[Record]:
        nonlocal reads
        reads += 1
        reading.set()
        time.sleep(0.5)
        return read(self, **limits)

    monkeypatch.setattr(shardset, "RECOVERY_HEAD_START_S", 0.0)
    monkeypatch.setattr(LogReader, "read", slowly)
    async with in_an_outage(settings) as shards:
        await asyncio.to_thread(reading.wait)
        assert not await shards.drain(timeout_s=DEADLINE_S)
    before = reads
    await asyncio.sleep(1)
    assert reads == before, "nobody reads on when the directory is free for others"
    with pytest.raises(NotAccepting, match="shutting down"):
        await shards.append(events(shards, 1))
    monkeypatch.undo()
    async with in_an_outage(settings) as shards:
        async with asyncio.timeout(DEADLINE_S):
            while not shards.snapshot().recovered:
                await asyncio.sleep(0.01)
        assert (shards.snapshot().appended, shards.snapshot().pending) == (20_000, 20_000)


async def test_a_row_that_is_counted_twice_or_forgotten_shows_in_the_sum(
    settings: ShardSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 5))
        [shard] = shards._shards
        assert shards.snapshot().unaccounted == 0
        shard.tally.note_confirmed(((1, 1),), rows=1)
        assert [one.unaccounted for one in shards.snapshot().shards] == [-1], "confirmed, and pending still"
        shard.pending.remove([1])
        assert shards.snapshot().unaccounted == 0
        shard.pending.remove([2, 3])
        assert [one.unaccounted for one in shards.snapshot().shards] == [2], "pending no more, and nothing else"
        said = [(line["level"], line["shard"], line["rows"]) for line in lines_of(caplog, "accounting differs")]
        assert said == [("error", 0, -1), ("error", 0, 2)]
        assert [line["level"] for line in lines_of(caplog, "accounting whole again")] == ["info"]
        await shard.flusher._save()
    async with in_an_outage(settings) as shards:
        now = shards.snapshot()
        assert (now.appended, now.confirmed, now.pending, now.unaccounted) == (5, 1, 2, 2), "a restart mends no sum"


async def test_a_checkpoint_of_an_older_release_is_believed(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 5))
    directory = wal_directory(settings.data_dir, 0)
    (directory / "checkpoint.json").write_text('{"upto":3,"dead_lettered":0,"damaged":1,"beyond":[]}')
    async with in_an_outage(settings) as shards:
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.damaged, now.unaccounted) == (2, 2, 1, 0)


async def test_no_row_is_confirmed_that_is_not_pending(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 3))
        [shard] = shards._shards
        attempt = Attempt(1, [1, 2], shard.pending.rows([1])[0])
        shard.flusher._steps.sender.confirm(attempt)
        with pytest.raises(InvariantBroken, match="not pending"):
            shard.flusher._steps.sender.confirm(attempt)
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.unaccounted) == (2, 1, 0)


async def test_an_attempt_whose_confirmation_failed_in_its_middle_is_not_confirmed_under_its_number_again(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: object) -> int:
        raise MemoryError

    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 3))
        [shard] = shards._shards
        steps = shard.flusher._steps
        with monkeypatch.context() as patch:
            patch.setattr(shard.pending, "remove", failing)
            assert not steps._confirm(Attempt(1, [1, 2], shard.pending.rows([1])[0])), "its rows are sent again"
        assert steps._confirm(Attempt(2, [1, 2], shard.pending.rows([1])[0]))
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.unaccounted) == (2, 1, 0)


async def test_durable_rows_that_could_not_be_taken_in_are_read_from_the_log(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    async with in_an_outage(settings) as shards:
        [shard] = shards._shards
        with monkeypatch.context() as patch:
            patch.setattr(shard.pending, "add_durable", failing)
            with pytest.raises(WalFailed):
                await shards.append(events(shards, 2))
        await accepted(shards, events(shards, 1))
        now = shards.snapshot()
        assert (now.appended, now.pending, now.unaccounted, now.wal_error) == (3, 3, 0, "")
        await shard.flusher._steps.load()
        assert (shard.pending.seqs(), shard.pending.unread) == ([1, 2, 3], 0)


async def test_rows_that_do_not_follow_the_last_one_are_refused(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 2))
        shards._logs[0]._next_seq = 7
        with pytest.raises(WalFailed):
            await shards.append(events(shards, 1))
        now = shards.snapshot()
        assert (now.appended, now.pending, now.unaccounted) == (2, 2, 0)
        assert "would follow 2" in now.wal_error
        receipt = await accepted(shards, events(shards, 1))
        assert str(receipt).split(".")[1] == "0-3-3-1"


@pytest.mark.parametrize("same_row", [True, False], ids=["its row", "another row under its number"])
async def test_a_number_behind_the_checkpoint_is_a_dead_letters_only_with_its_row(
    settings: ShardSettings, same_row: bool
) -> None:
    """A log that is not synced can lose its end: then another row has the number of a letter, and has to be stored."""
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 3))
        [shard] = shards._shards
        [row] = shard.pending.rows([2])
        other = encode_row(attrs.evolve(events(shards, 1)[0], match_id="another"))
        await shard.dead_letters.put_aside(seq=2, row=row if same_row else other, code=1, error="")
    async with in_an_outage(settings) as shards:
        now = shards.snapshot()
        assert (now.appended, now.pending, now.dead_lettered, now.unaccounted) == (3, 2 + (not same_row), same_row, 0)
        [shard] = shards._shards
        assert [seq for seq in (1, 2, 3) if shard.pending.holds(seq)] == ([1, 3] if same_row else [1, 2, 3])
        assert (row in shards.pending(["m"]).rows) is not same_row


@pytest.mark.parametrize("log_is_another", [False, True], ids=["the log lost its end", "another log"])
async def test_letters_whose_rows_the_log_does_not_hold_count_in_no_sum(tmp_path: Path, log_is_another: bool) -> None:
    """Their numbers are given out again."""
    letters = DeadLetterFile(letters_path(tmp_path, 0), shard=0)
    for seq in (2, 3, 4):
        await letters.put_aside(seq=seq, row=row(seq), code=1, error="")
    before = open_log(tmp_path)
    before.recover()
    before.append([row(number) for number in (1, 2, 3)])
    before.sync()
    before.close()
    log = open_log(tmp_path)
    shard = Shard(0, ShardSettings(data_dir=tmp_path), log=log, log_is_another=log_is_another)
    theirs = set() if log_is_another else {2, 3}
    assert shard.dead_letters.seqs() == shard.tally.dead == theirs
    assert len(shard.pending) == 3 - len(theirs)
    again = DeadLetterFile(letters_path(tmp_path, 0), shard=0)
    again.recover()
    assert again.seqs() == theirs, "for every later start too"
    log.close()


async def test_an_orderly_end_tells_how_far_the_log_is_durable(settings: ShardSettings) -> None:
    """Then a damaged end is known from a torn one."""
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 3))
        assert read_checkpoint(wal_directory(settings.data_dir, 0)).durable == 0
    assert read_checkpoint(wal_directory(settings.data_dir, 0)).durable == 3


async def test_a_snapshot_tells_open_dead_letters_from_settled_ones_and_sent_rows_from_those_that_wait(
    tmp_path: Path,
) -> None:
    one = OneShard(tmp_path)
    one.accept(10)
    for seq in (1, 2, 3, 4, 5):
        [row_] = one.pending.rows([seq])
        await one.shard.dead_letters.put_aside(seq=seq, row=row_, code=1, error="refused")
    one.steps.sender.take_filed(after=0)
    await one.shard.dead_letters.settle("0-1", "requeued", again=(0, 6))
    for letter in ("0-2", "0-3"):
        await one.shard.dead_letters.settle(letter, "discarded")
    one.steps._add_attempt(Attempt(1, [6, 7, 8, 9], b""))
    now = one.shard.snapshot()
    assert (now.dead_lettered, now.requeued, now.discarded) == (2, 1, 2)
    assert (now.pending, now.in_flight, now.depth) == (5, 4, 1)
    assert (now.appended, now.confirmed, now.unaccounted) == (10, 0, 0)
    one.shard.close()
