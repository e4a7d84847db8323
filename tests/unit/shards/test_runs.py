"""Sets of numbers as runs: the same as sets of Python."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shards.runs import Run, both, contains, minus, runs_of, size, union

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
