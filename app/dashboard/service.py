"""The service's own state, as the overview shows it, and how many events a second come in."""

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

import attrs

from app.dashboard.formats import number, rate, size
from app.dashboard.views import Figure
from shards.snapshot import Snapshot

WINDOW_S = 10


@attrs.frozen(kw_only=True)
class ServiceState:
    """What a visitor should know of the service. ``condition`` is ``healthy``, ``degraded`` or ``failing``."""

    condition: str
    sentence: str
    figures: tuple[Figure, ...]


class Throughput:
    """Events a second over the last ten seconds, from samples of a counter that only grows."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, total: int) -> None:
        """Take down the counter; to be called about once a second."""
        now = self._monotonic()
        self._samples.append((now, total))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_S:
            self._samples.popleft()

    @property
    def per_second(self) -> float | None:
        """Events a second; None before the second sample."""
        if len(self._samples) < 2:
            return None
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - began) if ended > began else None


def service_state(snapshot: Snapshot, *, per_second: float | None) -> ServiceState:
    """Return the state for people: one sentence on what works, and the figures behind it."""
    condition, sentence = _condition(snapshot)
    return ServiceState(
        condition=condition,
        sentence=sentence,
        figures=(
            Figure(name="Events a second", value=rate(per_second)),
            Figure(name="Events kept so far", value=number(snapshot.appended)),
            Figure(name="To be confirmed", value=number(snapshot.pending)),
            Figure(name="Oldest of them", value=f"{snapshot.oldest_unconfirmed_s:.0f} s"),
            Figure(name="Log on disk", value=size(snapshot.wal_bytes)),
            Figure(name="ClickHouse", value="up" if snapshot.store.up else "away", kind=condition),
        ),
    )


def _condition(snapshot: Snapshot) -> tuple[str, str]:
    if not snapshot.recovered:
        return "failing", "Starting: the write-ahead log is being read."
    if snapshot.wal_error:
        return "failing", "Events are refused at the moment: the write-ahead log cannot take them."
    if not snapshot.accepting:
        return "failing", "Events are refused at the moment: the service is shutting down."
    if not snapshot.store.up:
        since = _utc(snapshot.store.since)
        return "degraded", f"ClickHouse is away since {since}. Events are kept safe on disk until it is back."
    return "healthy", "All is well: events are kept, stored and counted."


def _utc(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S UTC")
