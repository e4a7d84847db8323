"""Connections, viewers, caches and matches, as they are at a scrape."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal, Protocol, get_args

import attrs
from prometheus_client.core import CounterMetricFamily, Metric

from app.observability.prometheus.families import AtScrape, counter, gauge, gauges

Viewing = Literal["stream", "match_page", "overview_page"]

VIEWINGS: Final[tuple[Viewing, ...]] = get_args(Viewing)
"""Kinds of viewers: of ``/api/matches/{matchId}/stream``, of a match's page, and of the page of all matches."""


def _none() -> int:
    return 0


@attrs.define
class Connections:
    """Connections of clients: how many are open and may be, the most there were, those refused, and malformed HTTP."""

    count: Callable[[], int] = _none
    limit: int = 0
    peak: int = 0
    refused: int = 0
    malformed: int = 0

    def note_opened(self) -> None:
        """Take in that one more is open."""
        self.peak = max(self.peak, self.count())


class Viewers:
    """Viewers of streams, by their kind."""

    def __init__(self) -> None:
        self.by_kind: dict[str, float] = dict.fromkeys(VIEWINGS, 0)

    @contextmanager
    def one(self, kind: Viewing) -> Iterator[None]:
        """Count one viewer for as long as the block runs."""
        self.by_kind[kind] += 1
        try:
            yield
        finally:
            self.by_kind[kind] -= 1


class CacheCount(Protocol):
    """What a cache has counted."""

    @property
    def hits(self) -> int:
        """Results that were at hand, or being made."""

    @property
    def misses(self) -> int:
        """Results that had to be made."""


class LiveView(Protocol):
    """The part of the live hub that is read at each scrape."""

    @property
    def caches(self) -> Mapping[str, CacheCount]:
        """Its caches by name."""

    @property
    def stale_answers(self) -> int:
        """Answers that were older than they should be, because ClickHouse gave none."""

    def active_matches(self) -> int:
        """Return how many matches received an event lately."""

    def silent_feeds(self) -> tuple[int, float]:
        """Return how many matches in play had nothing of their feed for too long, and the longest silence in s."""


class PresenceCollector(AtScrape):
    """Whoever is there: clients, viewers, matches."""

    def __init__(
        self, connections: Connections, viewers: Viewers, live: LiveView, in_flight: Callable[[], int]
    ) -> None:
        self._connections = connections
        self._viewers = viewers
        self._live = live
        self._in_flight = in_flight

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from _connections(self._connections)
        yield gauge(
            *("http_requests_in_flight", "HTTP requests that are being answered, streams too."), self._in_flight()
        )
        yield gauges("fanfinity_viewers", "Open streams of viewers.", "kind", self._viewers.by_kind)
        yield from _live(self._live)


def _connections(connections: Connections) -> Iterator[Metric]:
    yield gauge("http_connections", "Connections of clients that are open.", connections.count())
    yield gauge("http_connections_max", "Connections that may be open; more are refused.", connections.limit)
    yield gauge("http_connections_peak", "Most connections that were open at once since the start.", connections.peak)
    yield counter(
        *("http_connections_refused", "Connections refused, because as many were open as may be."), connections.refused
    )
    yield counter("http_malformed", "Requests that were not valid HTTP.", connections.malformed)


def _live(live: LiveView) -> Iterator[Metric]:
    yield gauge(
        *("fanfinity_matches_active", "Live matches, as far as this process followed them since its start."),
        live.active_matches(),
    )
    silent, longest_s = live.silent_feeds()
    yield gauge(
        "fanfinity_matches_silent",
        "Matches in play of which this process had no match or team event for 2 minutes.",
        silent,
    )
    yield gauge(
        "fanfinity_matches_silence_seconds",
        "Longest time that a match in play has had no match or team event in this process.",
        longest_s,
    )
    yield counter(
        *("fanfinity_stale_answers", "Answers older than a second, given because ClickHouse gave none."),
        live.stale_answers,
    )
    family = CounterMetricFamily(
        *("fanfinity_cache_requests", "Results asked of a cache: at hand or being made (hit), or to be made (miss)."),
        labels=["cache", "result"],
    )
    for name, cache in live.caches.items():
        family.add_metric([name, "hit"], cache.hits)
        family.add_metric([name, "miss"], cache.misses)
    yield family
