"""Sending: what an attempt proves, and when a row itself is at fault."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shards.errors import InvariantBroken, RowsRefused, StoreBusy, StoreError, StoreFailed, StoreUnavailable
from shards.flush.sender import Sender
from shards.flush.suspicion import LONE_FAILURES_MAX, UNKNOWN_FAILURES, Bisection, Failure, Suspicions
from shards.flush.tally import Attempt, Tally
from shards.observer import Observer
from shards.stores.base import Batch
from tests.logged import lines_of
from tests.syscalls import Recorder
from tests.unit.shards.flush.memory_store import OneShard


class Seen(Observer):
    """Notes what was flushed and put aside."""

    def __init__(self) -> None:
        self.flushes: list[tuple[int, bool]] = []
        self.letters = 0

    def flushed(self, *, shard: int, rows: int, seconds: float, replayed: bool) -> None:
        assert shard == 0
        assert 0 <= seconds < 60
        self.flushes.append((rows, replayed))

    def dead_lettered(self, *, shard: int) -> None:
        self.letters += 1


@pytest.fixture
def one(tmp_path: Path) -> Iterator[OneShard]:
    one = OneShard(tmp_path, observer=Seen())
    yield one
    one.shard.close()


def sender(one: OneShard) -> Sender:
    return one.steps.sender


def seen(one: OneShard) -> Seen:
    assert isinstance(one.observer, Seen)
    return one.observer


def refusing(*rows: bytes, error: StoreError) -> Callable[[Batch], StoreError | None]:
    return lambda batch: error if set(rows) & set(batch.rows) else None


async def test_every_attempt_has_a_number_of_its_own(one: OneShard) -> None:
    one.accept(4)
    await sender(one).send_buffered([1])
    await sender(one).deliver([2])
    await sender(one).deliver([3], replayed=True)
    await one.flusher.start_anew()
    await sender(one).deliver([4])
    assert [batch.number for batch in (*one.store.buffered, *one.store.direct)] == [1, 2, 3, 4]


async def test_what_was_sent_is_told_as_sent_once_or_again(one: OneShard) -> None:
    one.accept(6)
    await sender(one).send_buffered([1])
    await sender(one).deliver([2, 3])
    await sender(one).deliver([4, 5, 6], replayed=True)
    assert seen(one).flushes == [(1, False), (2, False), (3, True)]


@pytest.mark.parametrize(("shown", "text"), [(0, "0 of 3"), (2, "2 of 3"), (4, "4 of 3")])
async def test_a_batch_that_landed_otherwise_is_not_confirmed_and_its_count_told(
    one: OneShard, shown: int, text: str
) -> None:
    one.accept(3)
    one.store.lands = lambda batch: shown
    with pytest.raises(StoreFailed, match=f"the ledger shows {text} rows"):
        await sender(one).deliver([1, 2, 3])
    assert one.store.calls == ["insert_direct", "landed", "check"], "a changed schema would be the reason"
    assert one.tally.confirmed == 0
    assert seen(one).flushes == []


async def test_a_batch_of_which_the_ledger_has_nothing_is_told_as_none(one: OneShard) -> None:
    one.accept(1)
    one.store.refused = lambda batch: None
    one.store.ledger.clear()
    one.store.landed = nothing  # type: ignore[method-assign]
    with pytest.raises(StoreFailed, match="the ledger shows 0 of 1 rows"):
        await sender(one).deliver([1])


async def nothing(*_: Any) -> dict[int, int]:
    return {}


async def test_rows_that_landed_despite_an_error_are_confirmed_and_the_error_told(
    one: OneShard, caplog: pytest.LogCaptureFixture
) -> None:
    """A view of somebody else failed behind ours."""
    one.accept(2)
    one.store.ledger[1] = 2
    one.store.refused = lambda batch: StoreFailed("their view", code=395)
    assert await sender(one).deliver([1, 2]) is None
    assert one.tally.confirmed == 2
    [line] = lines_of(caplog, "rows stored despite error")
    assert (line["rows"], line["code"], line["error"]) == (2, 395, "their view")


async def test_no_attempt_is_confirmed_one_of_whose_rows_is_done_with(one: OneShard) -> None:
    rows = one.accept(3)
    one.pending.remove([2])
    with pytest.raises(InvariantBroken, match="attempt 7 of shard 0"):
        sender(one).confirm(Attempt(7, [1, 2, 3], rows[0]))
    assert (one.tally.confirmed, one.pending.seqs()) == (0, [1, 3])
    assert one.log.journal.is_written


async def test_a_refused_row_is_put_aside_once_others_got_in_and_it_failed_once_more(one: OneShard) -> None:
    rows = one.accept(4)
    one.store.refused = refusing(rows[2], error=RowsRefused("bad", code=53))
    assert await sender(one).deliver([1, 2, 3, 4]) is None
    alone = [batch for batch in one.store.direct if len(batch.rows) == 1]
    assert (one.tally.confirmed, one.tally.dead, one.pending.seqs()) == (3, {3}, [])
    assert seen(one).letters == 1
    assert len(alone) == 1, "row 4"
    assert one.store.calls.count("check") == 1
    letter = one.shard.dead_letters.read("0-3").letter
    assert (letter.row.encode(), letter.code) == (rows[2], 53)


async def test_a_row_whose_cause_was_mended_is_stored_and_makes_no_letter(one: OneShard) -> None:
    one.accept(2)
    one.store.errors["insert_direct"] += [RowsRefused("bad"), RowsRefused("bad")]
    assert await sender(one).deliver([1, 2]) is None
    assert (one.tally.confirmed, one.tally.dead) == (2, set())


async def test_a_row_that_fails_otherwise_the_second_time_stays_with_that_error(one: OneShard) -> None:
    rows = one.accept(2)
    errors = [RowsRefused("bad"), RowsRefused("bad"), StoreBusy("read-only")]
    one.store.refused = lambda batch: errors.pop(0) if rows[0] in batch.rows else None
    stuck = await sender(one).deliver([1, 2])
    assert stuck is not None
    assert (list(stuck.seqs), str(stuck.error)) == ([1], "read-only")
    assert (one.tally.dead, one.pending.seqs()) == (set(), [1])


async def test_rows_none_of_which_gets_in_stay_with_the_last_ones_error(one: OneShard) -> None:
    rows = one.accept(2)
    one.store.refused = lambda batch: RowsRefused(f"bad {rows.index(batch.rows[-1])}")
    stuck = await sender(one).deliver([1, 2])
    assert stuck is not None
    assert (list(stuck.seqs), str(stuck.error)) == ([1, 2], "bad 1")
    assert one.store.calls.count("insert_direct") == 3, "none is tried once more"
    assert one.tally.dead == set()


async def test_a_changed_column_makes_no_dead_letter(one: OneShard) -> None:
    rows = one.accept(2)
    one.store.refused = refusing(rows[0], error=RowsRefused("a type"))
    one.store.errors["check"].append(StoreUnavailable("or a schema that differs"))
    with pytest.raises(StoreUnavailable):
        await sender(one).deliver([1, 2])
    assert one.tally.dead == set()
    assert one.store.calls.count("insert_direct") == 3


async def test_a_letter_that_cannot_be_written_leaves_its_row_pending(one: OneShard, tmp_path: Path) -> None:
    rows = one.accept(2)
    (tmp_path / "deadletters").touch()
    one.store.refused = refusing(rows[0], error=RowsRefused("bad"))
    stuck = await sender(one).deliver([1, 2])
    assert stuck is not None
    assert isinstance(stuck.error, OSError)
    assert (one.tally.dead, one.pending.seqs(), seen(one).letters) == (set(), [1], 0)


async def test_a_letter_is_durable_before_its_row_is_done_with(one: OneShard, tmp_path: Path) -> None:
    rows = one.accept(2)
    one.store.refused = refusing(rows[0], error=RowsRefused("bad"))
    pending: list[bool] = []
    with Recorder(tmp_path, inject=lambda _: pending.append(one.pending.holds(1))) as calls:
        await sender(one).deliver([1, 2])
    letters = "deadletters/shard-000.jsonl"
    assert calls.short(but=["open", "close"])[-4:] == [
        f"create {letters}",
        f"write {letters}",
        f"fsync {letters}",
        "fsync deadletters",
    ]
    assert all(pending)
    assert not one.pending.holds(1)


async def test_a_letter_that_an_ended_flusher_left_is_taken_only_for_its_own_row(
    one: OneShard, caplog: pytest.LogCaptureFixture
) -> None:
    rows = one.accept(2)
    await one.shard.dead_letters.put_aside(seq=1, row=rows[0], code=1, error="bad")
    await one.shard.dead_letters.put_aside(seq=2, row=rows[0], code=1, error="of a row that was lost")
    await one.flusher.start_anew()
    assert (one.tally.dead, one.pending.seqs(), one.to_replay) == ({1}, [2], [2])
    assert [line["seq"] for line in lines_of(caplog, "row put aside")] == [1]


@pytest.mark.parametrize("split_unknown", [False, True])
async def test_a_failure_that_blames_no_row_is_halved_only_if_told_to(one: OneShard, split_unknown: bool) -> None:
    rows = one.accept(2)
    one.store.refused = refusing(rows[0], error=StoreFailed("odd"))
    if not split_unknown:
        with pytest.raises(StoreFailed):
            await sender(one).deliver([1, 2])
        assert one.store.calls == ["insert_direct", "landed"]
        return
    stuck = await sender(one).deliver([1, 2], split_unknown=True)
    assert stuck is not None
    assert (list(stuck.seqs), one.tally.confirmed) == ([1], 1)


async def test_a_busy_store_is_not_sent_row_after_row(one: OneShard) -> None:
    one.accept(4)
    one.store.refused = lambda batch: StoreBusy("too many parts")
    with pytest.raises(StoreBusy):
        await sender(one).deliver([1, 2, 3, 4], split_unknown=True)
    assert one.store.calls.count("insert_direct") == 3


async def test_a_search_that_finds_no_row_that_gets_in_is_given_up(one: OneShard) -> None:
    one.accept(64)
    one.store.refused = lambda batch: RowsRefused("all of them")
    stuck = await sender(one).deliver(range(1, 65))
    assert stuck is not None
    assert len(stuck.seqs) == LONE_FAILURES_MAX == 8, "as ADR-010 says"


def suspicions() -> tuple[Suspicions, Tally]:
    tally = Tally()
    return Suspicions(tally), tally


def test_a_row_is_at_fault_only_after_others_got_in_at_each_of_its_failures() -> None:
    """Ten failures if its error does not blame it."""
    known, tally = suspicions()
    failure = Failure(1, StoreFailed("odd"))
    known.suspect(failure, others_confirmed=False)
    for number in range(1, UNKNOWN_FAILURES + 1):
        assert not known.is_at_fault(failure)
        tally.note_confirmed(((number + 1, number + 1),), rows=1)
        known.suspect(failure, others_confirmed=False)
        known.suspect(failure, others_confirmed=False)  # nobody got in between
    assert known.is_at_fault(failure)
    assert UNKNOWN_FAILURES == 10, "as ADR-010 says"


def test_a_busy_store_makes_no_dead_letter_however_often_a_row_has_failed() -> None:
    known, _ = suspicions()
    failed, busy = Failure(1, StoreFailed("odd")), Failure(1, StoreBusy("too many parts"))
    for _ in range(UNKNOWN_FAILURES):
        known.suspect(failed, others_confirmed=True)
    assert known.is_at_fault(failed)
    assert not known.is_at_fault(busy)


def test_failures_of_one_kind_prove_nothing_for_another_and_are_forgotten_with_the_row() -> None:
    known, _ = suspicions()
    failed, refused = Failure(1, StoreFailed("odd")), Failure(1, RowsRefused("bad"))
    for _ in range(UNKNOWN_FAILURES):
        known.suspect(failed, others_confirmed=True)
    assert not known.is_at_fault(refused)
    known.suspect(refused, others_confirmed=True)
    assert known.is_at_fault(refused)
    known.forget([1])
    known.suspect(failed, others_confirmed=True)
    assert not known.is_at_fault(failed)


def test_refusals_are_in_vain_until_others_got_in_and_other_failures_always() -> None:
    outcome = Bisection(replayed=False, split_unknown=True)
    for _ in range(LONE_FAILURES_MAX - 1):
        outcome.note_lone_failure(Failure(1, RowsRefused("bad")))
    assert not outcome.hopeless
    outcome.note_success(2)
    assert (outcome.confirmed, outcome.in_vain) == (2, 0)
    for _ in range(2 * LONE_FAILURES_MAX):
        outcome.note_lone_failure(Failure(1, RowsRefused("bad")))
    assert not outcome.hopeless
    for _ in range(LONE_FAILURES_MAX):
        outcome.note_lone_failure(Failure(1, StoreFailed("odd")))
    assert outcome.hopeless


async def test_a_row_that_was_put_aside_is_suspected_no_more(one: OneShard) -> None:
    rows = one.accept(3)
    one.store.refused = lambda batch: RowsRefused("bad", code=53) if rows[0] in batch.rows else None
    assert await sender(one).deliver([1, 2, 3]) is None
    assert (one.tally.dead, one.tally.confirmed) == ({1}, 2)
    assert sender(one)._suspicions._by_seq == {}
