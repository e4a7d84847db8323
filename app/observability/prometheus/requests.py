"""HTTP requests: how many, how long they took, and how they ended."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1)

FAILURES = (500, 503)
"""Statuses of faults, which each route counts from 0, so that the first one is in a rate."""


class RequestCounts:
    """Counts requests; their number in flight is read at each scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            *("http_requests", "HTTP requests answered."), ["method", "path", "status"], registry=registry
        )
        self._seconds = Histogram(
            *("http_request_duration_seconds", "Time from a request to the end of its response; streams do not count."),
            ["method", "path"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._errors = Counter(
            *("http_errors", "HTTP requests that ended in an error."),
            ["method", "path", "error_type"],
            registry=registry,
        )
        self.in_flight = 0
        """Requests that are being answered."""
        # Finding a series by its labels costs several times as much as counting in it.
        self._requests_of, self._seconds_of = cache(self._requests.labels), cache(self._seconds.labels)

    def know(self, routes: Iterable[tuple[str, str, int]]) -> None:
        """Have series of some routes from the start: each has its method, its path and the status of a good answer."""
        for method, path, status in routes:
            for one in (status, *FAILURES):
                self._requests_of(method, path, one)
            self._seconds_of(method, path)
            self._errors.labels(method, path, "unavailable")

    def answered(self, method: str, path_template: str, status: int, seconds: float | None) -> None:
        """Count an answered request; ``path_template`` is the route's, ``seconds`` None for a stream."""
        self._requests_of(method, path_template, status).inc()
        if seconds is not None:
            self._seconds_of(method, path_template).observe(seconds)

    def failed(self, method: str, path_template: str, error_type: str) -> None:
        """Count a request that ended in an error; ``error_type`` is one of a few words."""
        self._errors.labels(method, path_template, error_type).inc()
