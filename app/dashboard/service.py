"""The service's own state, as the overview shows it, and how many events a second come in."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime

import attrs

from app.dashboard.formats import milliseconds, number, rate, size
from app.dashboard.views import Figure
from shards import Snapshot

WINDOW_S = 10


@attrs.frozen(kw_only=True)
class ServiceState:
    """The state of the service for a visitor. ``condition`` is ``healthy``, ``degraded`` or ``failing``.

    ``accounting`` says where the events are: the first figure is the sum of the others.
    """

    condition: str
    sentence: str
    figures: tuple[Figure, ...]
    accounting: tuple[Figure, ...]


class Throughput:
    """Events a second over the last ten seconds, from samples of a counter that only grows."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, total: int) -> None:
        """Note the counter. Call it about once a second."""
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


def service_state(snapshot: Snapshot, *, per_second: float | None, p99_ms: float | None) -> ServiceState:
    """Return the state for people: one sentence on what works, the figures behind it, and where the events are."""
    condition, sentence = _condition(snapshot)
    return ServiceState(
        condition=condition,
        sentence=sentence,
        figures=(
            Figure(name="Events a second", value=rate(per_second)),
            Figure(name="Answers, p99", value=milliseconds(p99_ms)),
            Figure(name="Lag", value=f"{snapshot.oldest_unconfirmed_s:.0f} s"),
            Figure(name="Backlog", value=number(snapshot.pending)),
            Figure(name="Log on disk", value=size(snapshot.wal_bytes)),
            _clickhouse(up=snapshot.store.up),
        ),
        accounting=tuple(_accounting(snapshot)),
    )


def _clickhouse(*, up: bool) -> Figure:
    return Figure(name="ClickHouse", value="up" if up else "away", kind="healthy" if up else "degraded")


def _accounting(snapshot: Snapshot) -> Iterator[Figure]:
    """Yield the sum and its parts; those that only an operator, a disk or a fault brings about only if not 0."""
    yield Figure(name="kept", value=number(snapshot.appended))
    yield Figure(name="confirmed", value=number(snapshot.confirmed))
    yield Figure(name="to be confirmed", value=number(snapshot.pending))
    open_letters = snapshot.dead_lettered
    yield Figure(name="dead letters", value=number(open_letters), kind="degraded" if open_letters else "")
    if snapshot.requeued:
        yield Figure(name="requeued", value=number(snapshot.requeued))
    if snapshot.discarded:
        yield Figure(name="discarded", value=number(snapshot.discarded))
    if snapshot.erased:
        yield Figure(name="erased", value=number(snapshot.erased))
    if snapshot.damaged:
        yield Figure(name="damaged", value=number(snapshot.damaged), kind="failing")
    if snapshot.unaccounted:
        yield Figure(name="unaccounted", value=number(snapshot.unaccounted), kind="failing")


def _condition(snapshot: Snapshot) -> tuple[str, str]:
    if snapshot.recovery_error:
        return "failing", "Events are refused at the moment: the write-ahead log cannot be read."
    if not snapshot.recovered:
        return "failing", "Starting: the write-ahead log is being read."
    if snapshot.wal_error:
        return "failing", "Events are refused at the moment: the write-ahead log cannot take them."
    if not snapshot.accepting:
        return "failing", "Events are refused at the moment: the service is shutting down."
    if not snapshot.store.up:
        since = _utc(snapshot.store.since)
        return "degraded", f"ClickHouse is away since {since}. Events are kept safe on disk until it is back."
    if snapshot.stuck:
        return "degraded", "ClickHouse is up, but takes no events at the moment. They are kept safe on disk."
    if snapshot.ended:
        return "degraded", "A part of the service has failed, and is started anew. Events are kept safe on disk."
    if snapshot.unaccounted:
        return "degraded", "Events are kept, but their sum differs: a fault of the service."
    return "healthy", "All is well: events are kept, stored and counted."


def _utc(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S UTC")
