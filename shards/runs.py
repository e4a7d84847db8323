"""Sets of sequence numbers as runs: (first, last), both included. A set of runs is sorted, with gaps between them."""

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

Run = tuple[int, int]


def runs_of(seqs: Sequence[int]) -> tuple[Run, ...]:
    """Return the runs of numbers that come in any order. Quick if they are one run, however long."""
    if not seqs:
        return ()
    first, last = min(seqs), max(seqs)
    one_run = last - first + 1 == len(seqs) == len(set(seqs))
    return ((first, last),) if one_run else union((seq, seq) for seq in seqs)


def union(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the numbers that are in any of the runs, which may overlap and come in any order."""
    joined: list[Run] = []
    for first, last in sorted(runs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def joined(runs: tuple[Run, ...], more: tuple[Run, ...]) -> tuple[Run, ...]:
    """Return the numbers of two sets. Quick where the second one begins behind the end of the first."""
    if not runs or not more:
        return runs or more
    return (*runs, *more) if runs[-1][1] + 1 < more[0][0] else union((*runs, *more))


def count_between(runs: Sequence[Run], first: int, last: int) -> int:
    """Return how many numbers of a set lie between two, both included. Quick, however large the set."""
    at = max(0, bisect_right(runs, (first, sys.maxsize)) - 1)
    count = 0
    for begin, end in islice(runs, at, None):
        if begin > last:
            break
        count += max(0, min(end, last) - max(begin, first) + 1)
    return count


def minus(runs: Sequence[Run], others: Sequence[Run]) -> tuple[Run, ...]:
    """Return the numbers that are in ``runs`` and not in ``others``; both are sets as :func:`union` returns them."""
    return tuple(_minus(runs, others))


def _minus(runs: Sequence[Run], others: Sequence[Run]) -> Iterator[Run]:
    at = 0
    for start, last in runs:
        first = start
        while at < len(others) and others[at][1] < first:
            at += 1
        ahead = at
        while ahead < len(others) and others[ahead][0] <= last:
            if first < others[ahead][0]:
                yield first, others[ahead][0] - 1
            first = others[ahead][1] + 1
            ahead += 1
        if first <= last:
            yield first, last


def both(runs: Sequence[Run], others: Sequence[Run]) -> tuple[Run, ...]:
    """Return the numbers that are in both sets, each as :func:`union` returns it."""
    return minus(runs, minus(runs, others))


def contains(runs: Sequence[Run], seq: int) -> bool:
    """Say whether a number is in a set."""
    at = bisect_right(runs, (seq, sys.maxsize)) - 1
    return at >= 0 and seq <= runs[at][1]


def size(runs: Iterable[Run]) -> int:
    """Return how many numbers there are in a set."""
    return sum(last - first + 1 for first, last in runs)
