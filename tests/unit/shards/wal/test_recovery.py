"""Numbers that a start passes over: each is counted once, as what it was."""

from collections import Counter

import pytest

from shards.wal.checkpoint import Checkpoint
from shards.wal.recovery import Recovery, passed_over, passed_over_done


@pytest.mark.parametrize(
    ("set_aside", "expected"),
    [
        (False, Checkpoint(upto=8, confirmed=6, dead_lettered=3, beyond=((10, 11),))),
        (True, Checkpoint(upto=8, confirmed=3, dead_lettered=3, damaged=3, beyond=((10, 11),))),
    ],
)
def test_numbers_before_the_first_segment_are_confirmed_or_dead_or_if_it_was_set_aside_damaged(
    set_aside: bool, expected: Checkpoint
) -> None:
    old = Checkpoint(upto=2, confirmed=2, dead_lettered=1, beyond=((5, 5), (10, 11)))
    found = passed_over(old, upto=8, letters={1, 2, 3, 8, 9}, first_was_set_aside=set_aside)
    assert found == expected


@pytest.mark.parametrize("upto", [1, 2])
def test_a_segment_that_begins_at_or_before_the_checkpoint_passes_nothing_over(upto: int) -> None:
    old = Checkpoint(upto=2, confirmed=2)
    assert passed_over(old, upto=upto, letters={1, 2}, first_was_set_aside=True) is old


def test_an_unknown_count_stays_unknown() -> None:
    old = Checkpoint(upto=2)
    assert passed_over(old, upto=4, letters=(), first_was_set_aside=False).confirmed is None


def recovery(*, dead: set[int], damaged: tuple[tuple[int, int], ...]) -> Recovery:
    return Recovery(pending=Counter(), dead=frozenset(dead), damaged=damaged, oldest_ns=0, newest_order=0)


def test_what_is_done_with_right_behind_the_checkpoint_is_passed_over() -> None:
    old = Checkpoint(upto=2, confirmed=2, beyond=((4, 4), (9, 9)))
    found, left = passed_over_done(old, recovery(dead={3, 8}, damaged=((5, 6), (11, 12))))
    assert found == Checkpoint(upto=6, confirmed=3, dead_lettered=1, damaged=2, beyond=((9, 9),))
    assert (left.dead, left.damaged) == (frozenset({8}), ((11, 12),))


def test_what_is_done_with_behind_a_row_that_waits_is_not() -> None:
    old = Checkpoint(upto=2, confirmed=2, beyond=((4, 4),))
    given = recovery(dead={5}, damaged=((6, 6),))
    assert passed_over_done(old, given) == (old, given)
