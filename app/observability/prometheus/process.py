"""The process: its build, memory and files, and how late its event loop is."""

import asyncio
from functools import cache
from platform import python_version

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector

from app.observability.version import build

TICK_S = 0.1
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

_build = cache(build)


def describe_process(registry: CollectorRegistry) -> None:
    """Register what the system tells of the process (on Linux), and which build it runs."""
    ProcessCollector(registry=registry)
    info = Gauge(
        *("fanfinity_build_info", "1; the labels tell which build runs."),
        ["version", "commit", "python"],
        registry=registry,
    )
    version, commit = _build()
    info.labels(version, commit or "unknown", python_version()).set(1)


class LoopLag:
    """How late the event loop is: a timer that should go off ten times a second, and how much later it did."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "fanfinity_event_loop_lag_seconds",
            "Time by which a timer of the event loop, ten a second, went off too late.",
            buckets=LAG_BUCKETS_S,
            registry=registry,
        )
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure until :meth:`close`."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(TICK_S, self._tick, loop, loop.time() + TICK_S)

    def close(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._seconds.observe(max(0.0, loop.time() - due))
        self.start()
