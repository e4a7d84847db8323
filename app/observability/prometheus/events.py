"""Events: how many were taken in, and how many refused."""

from collections import Counter as Count
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter

from shards import REFUSALS, Event, Refusal

FaultOfSender = Literal["invalid", "not_json", "empty", "too_large", "rate_limited"]

REASONS: Final[tuple[FaultOfSender | Refusal, ...]] = (*get_args(FaultOfSender), *REFUSALS)
"""Reasons to refuse events: faults of those who send them, and what the service cannot do now."""


class EventCounts:
    """Counts events."""

    def __init__(self, registry: CollectorRegistry, *, event_types: Iterable[str]) -> None:
        self._taken = Counter(
            *("fanfinity_events_ingested", "Events acknowledged, re-sent ones too."), ["event_type"], registry=registry
        )
        self._rejected = Counter(
            *("fanfinity_events_rejected", "Events refused; a request that was refused unread counts as one."),
            ["reason"],
            registry=registry,
        )
        self._taken_of = cache(self._taken.labels)
        for event_type in sorted(event_types):
            self._taken_of(event_type)
        for reason in REASONS:
            self._rejected.labels(reason)

    def taken(self, events: Sequence[Event]) -> None:
        """Count acknowledged events; their types are known ones."""
        if len(events) == 1:
            self._taken_of(events[0].event_type).inc()
            return
        for event_type, count in Count(event.event_type for event in events).items():
            self._taken_of(event_type).inc(count)

    def rejected(self, reason: FaultOfSender | Refusal, count: int) -> None:
        """Count events that were refused."""
        self._rejected.labels(reason).inc(count)
