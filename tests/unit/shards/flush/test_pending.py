"""Pending rows: memory is capped, nothing is forgotten, and the unread ones come back from the log."""

import time
from collections import Counter

import pytest

from shards.errors import InvariantBroken
from shards.events import Event, encode_row
from shards.flush import pending as pending_module
from shards.flush.pending import PendingRows
from shards.wal.record import Record


def row(number: int, match_id: str = "m") -> bytes:
    return encode_row(Event(match_id, f"id-{number}", "pass", 1, "1", "", "{}", number, number))


def add(pending: PendingRows, first: int, *match_ids: str) -> None:
    rows = [row(number, match_id) for number, match_id in enumerate(match_ids, first)]
    pending.add_durable(first, match_ids, rows)


def test_rows_beyond_the_cap_are_counted_but_not_held() -> None:
    pending = PendingRows(max_rows=2, max_bytes=1 << 20)

    add(pending, 1, "a", "b", "a", "a")

    assert (len(pending), len(pending._rows), pending.unread) == (4, 2, 2)
    assert pending.of_match("a") == ((row(1, "a"),), 2)
    assert pending.of_match("b") == ((row(2, "b"),), 0)
    assert pending.matches() == {"a", "b"}


def test_rows_that_follow_unread_ones_wait_for_their_turn() -> None:
    """Memory holds the oldest rows without a gap; a newer row must not overtake what is on disk only."""
    pending = PendingRows(max_rows=2, max_bytes=1 << 20)
    add(pending, 1, "a", "a", "a")
    pending.remove([1, 2])
    pending.note_saved()
    assert pending.has_room

    add(pending, 4, "a")

    assert (len(pending._rows), pending.unread) == (0, 2)
    assert pending.add_loaded([Record(3, row(3, "a")), Record(4, row(4, "a"))]) == ([3, 4], [])
    assert (len(pending._rows), pending.unread) == (2, 0)
    add(pending, 5, "a")
    assert pending.unread == 1


def test_the_byte_cap_counts() -> None:
    pending = PendingRows(max_rows=100, max_bytes=len(row(1)))
    add(pending, 1, "m", "m")
    assert (len(pending._rows), pending.unread) == (1, 1)
    assert pending.crowded


def test_done_upto_is_the_end_of_the_first_stretch_that_is_done_with() -> None:
    pending = PendingRows(max_rows=100, max_bytes=1 << 20)
    add(pending, 1, *"aaaa")
    assert pending.done_upto == 0
    assert pending.remove([2, 3]) == 2
    assert pending.done_upto == 0
    assert pending.remove([1, 1]) == 1
    assert pending.done_upto == 3
    assert pending.remove([4]) == 1
    assert pending.done_upto == 4
    assert pending.matches() == set()


def test_recovered_rows_are_unread_until_they_are_loaded() -> None:
    pending = PendingRows(max_rows=100, max_bytes=1 << 20)
    pending.recover(upto=5, last_seq=8, unread=Counter(m=3), age_s=60)

    assert pending.of_match("m") == ((), 3)
    assert pending.oldest_age_s >= 60
    assert pending.add_loaded([Record(seq, row(seq)) for seq in (6, 7)]) == ([6, 7], [])
    assert (len(pending._rows), pending.unread, pending.loaded_seq) == (2, 1, 7)
    pending.end_loading()
    assert (len(pending), pending.loaded_seq) == (2, 8)


def test_what_was_done_with_before_the_start_is_passed_over() -> None:
    pending = PendingRows(max_rows=2, max_bytes=1 << 20)
    pending.recover(upto=5, last_seq=12, unread=Counter(m=3), age_s=60, done=((7, 9), (11, 11)))
    assert [pending.count_between(6, last) for last in range(6, 13)] == [1, 1, 1, 1, 2, 2, 3]

    assert pending.add_loaded([Record(seq, row(seq)) for seq in (6, 10)]) == ([6, 10], [])

    assert (len(pending._rows), pending.unread, pending.loaded_seq) == (2, 1, 10)
    assert [pending.count_between(first, 12) for first in range(6, 13)] == [3, 2, 2, 2, 2, 1, 1]
    pending.remove([6, 10])
    assert pending.add_loaded([Record(12, row(12))]) == ([12], [])
    assert (len(pending), pending.unread, pending.done_upto, pending.done_before) == (1, 0, 11, ())


@pytest.mark.parametrize(
    "limits", [{"max_rows": 3, "max_bytes": 1 << 20}, {"max_rows": 9, "max_bytes": 3 * len(row(1))}]
)
def test_no_row_takes_the_place_of_one_that_no_checkpoint_knows_of(limits: dict[str, int]) -> None:
    """After a crash memory is filled with that one again, and the row in its place, counted before, would not be."""
    pending = PendingRows(**limits)
    add(pending, 1, *"mmm")
    pending.remove([2])
    add(pending, 4, "m")
    assert (len(pending._rows), pending.unread, pending.room[0]) == (2, 1, limits["max_rows"] - 3)
    pending.note_saved()
    assert pending.add_loaded([Record(4, row(4))]) == ([4], [])
    assert not pending.has_room


def test_age_is_that_of_the_oldest_row_left() -> None:
    pending = PendingRows(max_rows=100, max_bytes=1 << 20)
    assert pending.oldest_age_s == 0
    pending.recover(upto=0, last_seq=1, unread=Counter(m=1), age_s=1000)
    add(pending, 2, "m")
    pending.add_loaded([Record(1, row(1)), Record(2, row(2))])
    assert pending.oldest_age_s >= 1000

    pending.remove([1])

    assert pending.oldest_age_s < 1000


def test_a_long_outage_costs_no_memory_for_the_age_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(pending_module, "monotonic", lambda: now)
    pending = PendingRows(max_rows=2, max_bytes=1 << 20)
    for seq in range(1, 20_001):
        now += 1
        add(pending, seq, "a")
    assert len(pending._durable_since) <= pending_module.AGES_MAX
    assert pending.oldest_age_s == 19_999


@pytest.mark.parametrize("first", [1, 2])
def test_rows_whose_numbers_were_taken_before_are_refused_with_nothing_taken(first: int) -> None:
    pending = PendingRows(max_rows=9, max_bytes=1 << 20)
    add(pending, 1, "a", "a")

    with pytest.raises(InvariantBroken, match=f"row {first} became durable after row 2"):
        add(pending, first, "b", "b")

    assert (len(pending), pending.last_seq, pending.loaded_seq, pending.matches()) == (2, 2, 2, {"a"})
    add(pending, 3, "b")
    assert pending.count_between(1, 3) == 3


def test_rows_that_were_missed_wait_in_the_log_with_those_behind_them() -> None:
    pending = PendingRows(max_rows=9, max_bytes=1 << 20)
    add(pending, 1, "a")

    add(pending, 4, "b", "a")

    assert (len(pending), pending.unread, pending.done_upto, pending.loaded_seq) == (5, 4, 0, 1)
    assert pending.matches() == {"a", "b"}
    pending.remove([1])
    assert pending.done_upto == 1, "what was missed is not done with"
    pending.add_loaded(Record(seq, row(seq, match_id)) for seq, match_id in enumerate("acba", 2))
    assert (pending.seqs(), pending.unread, pending.matches()) == ([2, 3, 4, 5], 0, {"a", "b", "c"})
    assert [pending.of_match(match_id)[1] for match_id in "abc"] == [0, 0, 0]
    add(pending, 6, "a")
    assert pending.loaded_seq == 6


def test_when_the_last_row_on_disk_only_came_is_told_in_ms_since_the_epoch() -> None:
    pending = PendingRows(max_rows=1, max_bytes=1 << 20)
    before_ms = time.time_ns() // 1_000_000
    add(pending, 1, "a", "b")
    after_ms = time.time_ns() // 1_000_000
    assert pending.unread_at("a") == 0, "it is in memory"
    assert before_ms <= pending.unread_at("b") <= after_ms
    again = PendingRows(max_rows=1, max_bytes=1 << 20)
    again.recover(upto=0, last_seq=2, unread=Counter(a=2), age_s=0.0)
    assert before_ms <= again.unread_at("a") <= time.time_ns() // 1_000_000


def test_room_counts_rows_and_bytes_that_are_held_or_were_since_the_last_checkpoint() -> None:
    size = len(row(1))
    pending = PendingRows(max_rows=10, max_bytes=10 * size)
    assert pending.room == (10, 10 * size)
    add(pending, 1, *"mmmm")
    assert (pending.room, pending.crowded) == ((6, 6 * size), False)
    pending.remove([1, 2, 3])
    assert pending.room == (6, 6 * size)
    add(pending, 5, *"mmmmmm")
    assert (pending.room, pending.has_room, pending.crowded) == ((0, 0), False, True)
    pending.note_saved()
    assert (pending.room, pending.has_room) == ((3, pending._max_bytes - pending._bytes), True)


def test_what_the_log_does_not_hold_any_more_is_in_no_match() -> None:
    pending = PendingRows(max_rows=9, max_bytes=1 << 20)
    pending.recover(upto=0, last_seq=3, unread=Counter(a=2, b=1), age_s=0)
    pending.add_loaded([Record(1, row(1, "a"))])
    assert (pending.matches(), pending.unread_at("b") > 0) == ({"a", "b"}, True)
    pending.note_damaged(2)
    pending.end_loading()
    assert (pending.matches(), pending.unread, pending.of_match("a")[1]) == ({"a"}, 0, 0)
    assert pending.unread_at("a") == pending.unread_at("b") == 0


def test_rows_between_two_numbers_are_counted_alike_in_memory_and_on_disk() -> None:
    pending = PendingRows(max_rows=3, max_bytes=1 << 20)
    add(pending, 1, *"mmmmm")
    pending.remove([2])
    assert [pending.count_between(1, last) for last in range(1, 6)] == [1, 1, 2, 3, 4]
    assert [pending.count_between(first, 5) for first in range(1, 6)] == [4, 3, 3, 2, 1]
    assert pending.count_between(4, 9) == 2, "nothing lies behind the last number"
    pending.remove([1, 3])
    assert (pending.count_between(1, 3), pending.count_between(1, 4)) == (0, 1)


@pytest.mark.parametrize(("first", "last", "pending_rows"), [(1, 1000, 3), (2, 1000, 2), (1, 2, 2), (4, 1000, 0)])
def test_rows_between_numbers_far_apart_are_counted(first: int, last: int, pending_rows: int) -> None:
    pending = PendingRows(max_rows=100, max_bytes=1 << 20)
    add(pending, 1, "a", "b", "a")
    assert pending.count_between(first, last) == pending_rows


def test_when_a_matchs_last_row_on_disk_came_is_told_until_all_are_loaded() -> None:
    pending = PendingRows(max_rows=1, max_bytes=1 << 20)
    before = time.time_ns() // 1_000_000
    add(pending, 1, "a", "a", "a", "b")
    assert before <= pending.unread_at("a") <= time.time_ns() // 1_000_000
    assert pending.unread_at("of nobody") == 0
    pending.add_loaded([Record(2, row(2, "a"))])
    assert pending.unread_at("a") >= before
    pending.add_loaded([Record(3, row(3, "a"))])
    assert pending.unread_at("a") == 0
    assert pending.unread_at("b") >= before


def test_the_age_of_the_oldest_row_is_right_to_a_second_and_never_that_of_a_row_that_is_done_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(pending_module, "monotonic", lambda: now)
    pending = PendingRows(max_rows=100, max_bytes=1 << 20)
    for number, moment in ((1, 1000.0), (2, 1000.9), (3, 1001.0)):
        now = moment
        add(pending, number, "m")
    now = 1010.0
    ages = [pending.oldest_age_s]
    for number in (1, 2, 3):
        pending.remove([number])
        ages.append(pending.oldest_age_s)
    assert ages == [10.0, 10.0, 9.0, 0.0], "rows of one second share its begin"
    add(pending, 4, "m")
    pending.remove([4])
    now = 1010.5
    add(pending, 5, "m")
    now = 1020.0
    assert pending.oldest_age_s == 9.5, "all before it were done with when it came"


def test_in_a_long_outage_every_second_age_is_kept_and_that_of_the_oldest_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(pending_module, "monotonic", lambda: now)
    monkeypatch.setattr(pending_module, "AGES_MAX", 4)
    pending = PendingRows(max_rows=100, max_bytes=1 << 20)
    for number in range(1, 6):
        now = 10.0 * number
        add(pending, number, "m")
    now = 100.0
    assert pending.oldest_age_s == 90.0
    pending.remove([1, 2])
    assert pending.oldest_age_s == 70.0
    pending.remove([3, 4])
    assert pending.oldest_age_s == 50.0


def test_memory_is_crowded_if_more_than_half_of_its_rows_or_bytes_are_used() -> None:
    by_rows = PendingRows(max_rows=4, max_bytes=1 << 20)
    by_bytes = PendingRows(max_rows=1000, max_bytes=4 * len(row(1)))
    for pending in (by_rows, by_bytes):
        add(pending, 1, "m", "m")
        assert not pending.crowded
        add(pending, 3, "m")
        assert pending.crowded


def test_memory_that_is_more_than_full_has_no_room_and_not_less() -> None:
    pending = PendingRows(max_rows=1, max_bytes=10)
    pending.recover(upto=0, last_seq=2, unread=Counter(m=2), age_s=0.0)
    pending.add_loaded([Record(1, row(1)), Record(2, row(2))])
    assert pending.room == (0, 0)


def test_rows_that_are_to_be_erased_are_not_loaded() -> None:
    pending = PendingRows(max_rows=10, max_bytes=1 << 20)
    pending.recover(upto=0, last_seq=4, unread=Counter({"a": 3, "b": 1}), age_s=0.0)
    pending.erasing["a"] = 3
    records = [Record(1, row(1, "a")), Record(2, row(2, "b")), Record(3, row(3, "a")), Record(4, row(4, "a"))]
    assert pending.add_loaded(records) == ([2, 4], [1, 3])
    assert (len(pending), pending.unread, pending.seqs_of("a")) == (2, 0, [4])


def test_rows_beyond_a_number_are_held_back() -> None:
    pending = PendingRows(max_rows=10, max_bytes=1 << 20)
    pending.add_durable(1, ["a", "b", "a"], [row(1, "a"), row(2, "b"), row(3, "a")])
    pending.held["a"] = 1
    assert [pending.may_be_sent(seq) for seq in range(1, 5)] == [True, True, False, False]
    assert pending.held_back == 1
