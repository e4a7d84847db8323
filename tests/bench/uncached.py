"""Reads of a match through the service's own classes, with no cache in front of them."""

import time
from collections.abc import Collection, Mapping, Sequence

import attrs

from shards.reads.aggregates import MatchAggregates
from shards.reads.matches import MatchReads
from tests.bench.load import percentile


@attrs.frozen
class NothingPending:
    """Nothing is on its way, or always the same."""

    rows: tuple[bytes, ...] = ()
    unread: Mapping[str, int] = attrs.field(factory=dict)
    unread_at: Mapping[str, int] = attrs.field(factory=dict)

    def pending(self, match_ids: Collection[str]) -> "NothingPending":
        """Return the rows, whichever match is asked for."""
        return self

    def is_erasing(self, match_id: str) -> bool:
        return False

    def pending_matches(self) -> frozenset[str]:
        """Return no match."""
        return frozenset()


async def read(reads: MatchReads, match_id: str) -> tuple[float, MatchAggregates]:
    """Return how long an answer took, in ms, and the answer."""
    started = time.perf_counter()
    answer = (await reads.aggregates([match_id]))[match_id]
    return (time.perf_counter() - started) * 1000, answer


def latencies(times_ms: Sequence[float]) -> str:
    """Return p50, p99 and the longest, as a figure shows them."""
    ordered = sorted(times_ms)
    return " / ".join(f"{percentile(ordered, q):.1f}" for q in (0.5, 0.99, 1.0)) + " ms"
