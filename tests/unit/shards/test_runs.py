"""Sets of numbers as runs: the same as sets of Python."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.runs import Run, both, contains, count_between, joined, minus, runs_of, size, union

RUNS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)).map(lambda pair: (pair[0], sum(pair))), max_size=8)


def members(runs: tuple[Run, ...] | list[Run]) -> set[int]:
    return {number for first, last in runs for number in range(first, last + 1)}


@given(RUNS, RUNS)
def test_each_is_the_same_as_with_sets(some: list[Run], others: list[Run]) -> None:
    left, right = union(some), union(others)
    assert members(left) == members(some)
    assert size(left) == len(members(some))
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(left))
    assert members(minus(left, right)) == members(some) - members(others)
    assert minus(left, right) == union(minus(left, right))
    assert members(both(left, right)) == members(some) & members(others)
    assert {number for number in range(50) if contains(left, number)} == members(some)


@given(st.lists(st.integers(1, 30)))
def test_runs_of_numbers_in_any_order(seqs: list[int]) -> None:
    assert members(runs_of(seqs)) == set(seqs)
    assert runs_of(seqs) == union(runs_of(seqs))


@pytest.mark.parametrize(
    ("runs", "more"),
    [
        ((), ()),
        (((1, 2),), ()),
        ((), ((1, 2),)),
        (((1, 2),), ((3, 4),)),
        (((1, 2),), ((4, 5), (9, 9))),
        (((1, 2), (8, 9)), ((4, 5),)),
        (((1, 5),), ((2, 3),)),
    ],
)
def test_two_sets_are_joined_to_what_is_in_either(runs: tuple[Run, ...], more: tuple[Run, ...]) -> None:
    assert joined(runs, more) == union((*runs, *more))


@pytest.mark.parametrize("first", range(1, 14))
@pytest.mark.parametrize("last", range(1, 14))
def test_the_numbers_between_two_are_counted(first: int, last: int) -> None:
    runs = ((2, 3), (5, 5), (8, 11))
    numbers = {2, 3, 5, 8, 9, 10, 11}
    assert count_between(runs, first, last) == len(numbers & set(range(first, last + 1)))
    assert count_between((), first, last) == 0
