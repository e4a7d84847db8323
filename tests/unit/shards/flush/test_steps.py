"""The steps of a flusher: when each is due, and that no row is forgotten or confirmed whatever the store answers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shards.errors import RowsRefused, SchemaMismatch, StoreError, StoreFailed, StoreUnavailable
from shards.flush import steps
from shards.flush.steps import UNKNOWN_ERROR_TRIES, Step
from shards.wal.journal import Confirmed
from tests.logged import lines_of
from tests.unit.shards.flush.memory_store import OneShard

Made = Callable[..., OneShard]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Makes a shard that is closed in the end."""
    shards: list[OneShard] = []

    def make(**settings: int) -> OneShard:
        shards.append(OneShard(tmp_path / str(len(shards)), **settings))
        return shards[-1]

    yield make
    for one in shards:
        one.shard.close()


async def test_rows_in_the_buffer_table_are_confirmed_once_the_ledger_shows_them(made: Made) -> None:
    one = made()
    one.accept(3)
    await one.steps.take(Step.SEND)
    assert one.store.calls == ["insert_buffered"]
    assert (one.steps.in_flight, one.steps.unsent, one.tally.confirmed) == (3, 0, 0)
    await one.steps.take(Step.CHECKPOINT)
    assert one.store.calls == ["insert_buffered", "flush_buffer", "landed"]
    assert (one.steps.in_flight, one.tally.confirmed, len(one.pending), one.to_replay) == (0, 3, 0, [])
    [entry] = one.log.journal.entries()
    assert isinstance(entry, Confirmed)
    assert (entry.first_batch, entry.rows, entry.runs) == (1, 3, ((1, 3),))


@pytest.mark.parametrize("buffered", [True, False])
async def test_rows_of_a_refused_insert_are_sent_again(made: Made, buffered: bool) -> None:
    one = made(flush_max_rows=1000 if buffered else 3)
    rows = one.accept(3)
    one.store.errors["insert_buffered" if buffered else "insert_direct"] += [RowsRefused("refused")] * 9
    await one.steps.take(Step.SEND)
    assert (one.to_replay, one.steps.unsent, one.steps.in_flight) == ([1, 2, 3], 0, 0)
    one.store.errors.clear()
    await one.steps.take(Step.REPLAY)
    assert [list(batch.rows) for batch in one.store.direct] == [rows]
    assert (one.tally.confirmed, len(one.pending), one.to_replay) == (3, 0, [])


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreFailed("odd"), ValueError("ours")])
@pytest.mark.parametrize("buffered", [True, False])
async def test_rows_of_an_insert_that_failed_are_sent_again_and_the_failure_told(
    made: Made, error: StoreError, buffered: bool
) -> None:
    one = made(flush_max_rows=1000 if buffered else 3)
    one.accept(3)
    one.store.errors["insert_buffered" if buffered else "insert_direct"].append(error)
    with pytest.raises(type(error)):
        await one.steps.take(Step.SEND)
    assert (one.to_replay, one.steps.unsent) == ([1, 2, 3], 0)


async def test_after_a_failed_flush_nothing_is_confirmed_even_if_the_ledger_shows_it(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    """A view of somebody else failed behind ours: ClickHouse writes the same rows again."""
    one = made()
    one.accept(3)
    await one.steps.take(Step.SEND)
    one.store.ledger[1] = 3
    one.store.errors["flush_buffer"].append(StoreFailed("a view failed"))
    await one.steps.take(Step.CHECKPOINT)
    assert one.store.calls[1:] == ["flush_buffer", "check", "reset_buffer"]
    assert (one.tally.confirmed, one.to_replay, one.steps.in_flight) == (0, [1, 2, 3], 0)
    assert one.store.buffered == [], "or they would be stuck there"
    [line] = lines_of(caplog, "rows sent again")
    assert (line["shard"], line["rows"], line["reason"]) == (0, 3, "a view failed")
    assert one.flusher.retries == 1
    await one.steps.take(Step.REPLAY)
    assert (one.tally.confirmed, one.store.direct[0].number) == (3, 2)


@pytest.mark.parametrize("shown", [None, 0, 2, 4])
async def test_a_batch_that_the_ledger_does_not_show_whole_is_sent_again(
    made: Made, shown: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    one = made()
    one.accept(3)
    await one.steps.take(Step.SEND)
    one.accept(1)
    await one.steps.take(Step.SEND)
    one.store.lands = lambda batch: len(batch.rows) if batch.number == 2 else shown or 0
    if shown is None:
        one.store.buffered.pop(0)
    await one.steps.take(Step.CHECKPOINT)
    assert one.store.calls[2:] == ["flush_buffer", "landed", "check"], "there is nothing stuck in the Buffer table"
    assert (one.tally.confirmed, one.to_replay) == (1, [1, 2, 3])
    [line] = lines_of(caplog, "rows sent again")
    assert (line["rows"], line["reason"]) == (3, "the ledger does not show them")


async def test_a_schema_that_has_changed_is_told_before_rows_are_sent_again(made: Made) -> None:
    one = made()
    one.accept(2)
    await one.steps.take(Step.SEND)
    one.store.errors["flush_buffer"].append(StoreFailed("odd"))
    one.store.errors["check"].append(SchemaMismatch(["table events is not there"]))
    with pytest.raises(SchemaMismatch):
        await one.steps.take(Step.CHECKPOINT)
    assert "reset_buffer" not in one.store.calls
    assert (one.to_replay, one.steps.in_flight, one.flusher.retries) == ([1, 2], 0, 1)


async def test_while_the_store_is_away_attempts_stay_as_they_are(made: Made) -> None:
    one = made()
    one.accept(2)
    await one.steps.take(Step.SEND)
    one.store.errors["flush_buffer"].append(StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        await one.steps.take(Step.CHECKPOINT)
    assert (one.steps.in_flight, one.to_replay) == (2, [])
    await one.steps.take(Step.CHECKPOINT)
    assert one.tally.confirmed == 2


async def test_an_attempt_that_contradicts_the_books_is_told_and_the_others_are_confirmed(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    one = made()
    for count in (2, 3):
        one.accept(count)
        await one.steps.take(Step.SEND)
    one.pending.remove([2])
    await one.steps.take(Step.CHECKPOINT)
    assert (one.tally.confirmed, one.to_replay) == (3, [1, 2])
    assert lines_of(caplog, "flusher failed")
    assert "not pending" in one.flusher.last_error


async def test_new_rows_are_due_when_they_wait_long_enough_or_are_many_or_somebody_waits(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(steps, "monotonic", lambda: now)
    one = made(flush_max_rows=10, flush_interval_ms=200)
    now += 7
    assert one.steps.delays_s(hurry=False) == one.steps.delays_s(hurry=True) == {}
    one.accept(9)
    assert one.steps.delays_s(hurry=False) == {Step.SEND: pytest.approx(0.2)}
    assert one.steps.delays_s(hurry=True) == {Step.SEND: 0}
    now += 0.15
    assert one.steps.delays_s(hurry=False) == {Step.SEND: pytest.approx(0.05)}
    one.accept(1)
    assert one.steps.delays_s(hurry=False) == {Step.SEND: 0}, "as many as a batch holds"
    one.accept(2)
    await one.steps.take(Step.SEND)
    assert one.steps.delays_s(hurry=False) == {Step.SEND: pytest.approx(0.2)}, "the two that are left"


async def test_a_checkpoint_is_due_after_its_interval_or_if_memory_is_crowded_or_somebody_waits(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(steps, "monotonic", lambda: now)
    one = made(checkpoint_interval_ms=5000, memory_max_rows=100)
    one.accept(3)
    await one.steps.take(Step.SEND)
    assert one.steps.delays_s(hurry=False) == {Step.CHECKPOINT: pytest.approx(5)}
    now += 4
    one.accept(1)
    assert one.steps.delays_s(hurry=True)[Step.CHECKPOINT] == pytest.approx(1), "it is to hold the new row too"
    await one.steps.take(Step.SEND)
    assert one.steps.delays_s(hurry=False) == {Step.CHECKPOINT: pytest.approx(1)}
    assert one.steps.delays_s(hurry=True) == {Step.CHECKPOINT: 0}
    one.accept(47)
    assert one.steps.delays_s(hurry=False)[Step.CHECKPOINT] == 0
    await one.steps.take(Step.CHECKPOINT)
    await one.steps.take(Step.SEND)
    assert one.steps.delays_s(hurry=False) == {Step.CHECKPOINT: pytest.approx(5)}


async def test_the_interval_of_checkpoints_begins_anew_with_each(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(steps, "monotonic", lambda: now)
    one = made(checkpoint_interval_ms=5000)
    one.accept(1)
    await one.steps.take(Step.SEND)
    now += 5
    await one.steps.take(Step.CHECKPOINT)
    assert one.steps._checkpoint_at == now + 5


async def test_new_rows_wake_the_flusher_if_they_are_the_first_or_fill_a_batch(made: Made) -> None:
    one = made(flush_max_rows=10)
    one.accept(2)
    assert one.steps.note_added(2)
    one.accept(3)
    assert not one.steps.note_added(3)
    one.accept(5)
    assert one.steps.note_added(5)


async def test_rows_of_one_batch_are_as_many_as_its_bytes_let_in_and_the_rest_follows_at_once(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made()
    rows = one.accept(5)
    monkeypatch.setattr(steps, "BATCH_MAX_BYTES", len(rows[0]) + len(rows[1]))
    for size in (2, 2, 1):
        await one.steps.take(Step.SEND)
        assert len([*one.store.direct, *one.store.buffered][-1].rows) == size
    assert (len(one.store.direct), len(one.store.buffered)) == (2, 1), "a batch that left some out is a full one"
    monkeypatch.setattr(steps, "BATCH_MAX_BYTES", 1)
    one.accept(1)
    await one.steps.take(Step.SEND)
    assert one.steps.unsent == 0, "a row larger than a batch is one of its own"


async def test_a_shard_that_takes_no_more_rows_has_no_buffer_table(tmp_path: Path) -> None:
    before = OneShard(tmp_path, index=1)
    before.accept(2)
    before.shard.close()
    one = OneShard(tmp_path, index=1)
    await one.flusher.preload()
    await one.steps.take(Step.REPLAY)
    assert (one.store.calls, one.tally.confirmed) == (["insert_direct", "landed"], 2)
    one.shard.close()


async def test_a_replay_that_fails_pauses_and_is_halved_only_after_several_failures(made: Made) -> None:
    one = made()
    one.accept(3)
    one.store.errors["insert_buffered"].append(RowsRefused("refused"))
    await one.steps.take(Step.SEND)
    one.store.refused = lambda batch: StoreFailed("odd", code=7)
    for tries in range(1, UNKNOWN_ERROR_TRIES + 1):
        one.store.calls.clear()
        await one.steps.take(Step.REPLAY)
        assert one.store.calls == ["insert_direct", "landed"]
        assert one.steps.is_replay_failing
        assert one.steps._replay.failures == tries
        assert one.steps.delays_s(hurry=False)[Step.REPLAY] > 0
        assert (one.flusher.last_error, one.flusher.retries) == ("odd", tries)
    one.store.calls.clear()
    await one.steps.take(Step.REPLAY)
    assert one.store.calls.count("insert_direct") == 5, "three, then one, then two, and each of these alone"
    assert UNKNOWN_ERROR_TRIES == 5, "as ADR-010 says"
    assert one.to_replay == [1, 2, 3]
    one.store.refused = lambda batch: None
    await one.steps.take(Step.REPLAY)
    assert (one.tally.confirmed, one.to_replay, one.steps.is_replay_failing) == (3, [], False)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), SchemaMismatch(["changed"])])
async def test_a_replay_for_which_the_store_is_not_fit_waits_for_the_gate_and_not_for_a_pause(
    made: Made, error: StoreError
) -> None:
    one = made()
    one.accept(1)
    one.store.errors["insert_buffered"].append(RowsRefused("refused"))
    await one.steps.take(Step.SEND)
    one.store.errors["insert_direct"].append(error)
    with pytest.raises(type(error)):
        await one.steps.take(Step.REPLAY)
    assert not one.steps.is_replay_failing
    assert one.to_replay == [1]


async def test_rows_that_failed_alone_come_after_all_others_the_next_time(made: Made) -> None:
    one = made(flush_max_rows=2)
    rows = one.accept(4)
    one.store.errors["insert_direct"] += [StoreUnavailable("away")] * 2
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await one.steps.take(Step.SEND)
    assert one.to_replay == [1, 2, 3, 4]
    one.store.refused = lambda batch: StoreFailed("odd") if rows[0] in batch.rows else None
    for _ in range(UNKNOWN_ERROR_TRIES + 1):
        await one.steps.take(Step.REPLAY)
    assert one.to_replay == [3, 4, 1]
    assert one.steps.is_replay_failing


async def test_rows_of_a_new_batch_that_failed_alone_are_sent_again_behind_the_others(made: Made) -> None:
    one = made(flush_max_rows=3)
    rows = one.accept(3)
    one.store.refused = lambda batch: RowsRefused("bad", code=53) if rows[0] in batch.rows else None
    one.log.directory.parent.parent.joinpath("deadletters").touch()  # so that no letter can be written
    await one.steps.take(Step.SEND)
    assert (one.tally.confirmed, one.pending.seqs(), one.to_replay) == (2, [1], [2, 3, 1])


async def test_rows_read_back_from_before_the_start_are_sent_as_a_replay_and_later_ones_as_new(
    tmp_path: Path,
) -> None:
    before = OneShard(tmp_path, memory_max_rows=4)
    before.accept(6)
    before.shard.close()
    one = OneShard(tmp_path, memory_max_rows=4)
    await one.flusher.preload()
    assert (one.to_replay, one.steps.unsent, one.pending.unread) == ([1, 2, 3, 4], 0, 2)
    one.accept(3)
    await one.steps.take(Step.REPLAY)
    one.pending.note_saved()
    await one.steps.take(Step.LOAD)
    assert (one.to_replay, one.steps.unsent) == ([5, 6], 2)
    await one.steps.take(Step.SEND)
    assert [len(batch.rows) for batch in one.store.buffered] == [2]
    one.shard.close()


def test_steps_come_in_the_order_in_which_one_makes_room_for_the_next() -> None:
    assert list(Step) == [Step.ERASE, Step.LOAD, Step.REPLAY, Step.SEND, Step.CHECKPOINT]


async def test_loading_is_due_at_once_where_rows_are_on_disk_only_and_memory_has_room(tmp_path: Path) -> None:
    before = OneShard(tmp_path, memory_max_rows=4)
    before.accept(6)
    before.shard.close()
    one = OneShard(tmp_path, memory_max_rows=4)
    assert one.steps.delays_s(hurry=False)[Step.LOAD] == 0
    await one.flusher.preload()
    assert Step.LOAD not in one.steps.delays_s(hurry=False), "memory is crowded"
    await one.steps.take(Step.LOAD)
    assert (one.to_replay, one.pending.unread) == ([1, 2, 3, 4], 2), "there was no room"
    one.shard.close()


async def test_new_rows_that_were_on_disk_only_begin_to_wait_when_they_are_loaded(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(steps, "monotonic", lambda: now)
    one = made(memory_max_rows=2, flush_interval_ms=200)
    one.accept(4)
    await one.steps.take(Step.SEND)
    await one.steps.take(Step.CHECKPOINT)
    one.pending.note_saved()
    now += 100
    await one.steps.take(Step.LOAD)
    assert one.steps.unsent == 2
    assert one.steps.delays_s(hurry=False)[Step.SEND] == pytest.approx(0.2)
    now += 0.1
    await one.steps.take(Step.LOAD)
    assert one.steps.delays_s(hurry=False)[Step.SEND] == pytest.approx(0.1), "a load that finds none changes nothing"


async def test_rows_that_are_done_with_before_they_are_sent_are_passed_over(made: Made) -> None:
    one = made()
    one.accept(2)
    one.pending.remove([1, 2])
    await one.steps.take(Step.SEND)
    assert (one.store.calls, one.steps.unsent, one.steps.in_flight) == ([], 0, 0)
