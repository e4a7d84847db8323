"""The clock of receipts: when something was received, in which order, and how long ago.

Three questions have three answers, because a wall clock may be set at any moment:

- **When?** The wall clock, :meth:`ReceiptClock.now_ns`. It dates events, and partitions and retention follow it.
- **In which order?** :meth:`ReceiptClock.order_ns`, which never repeats and never goes back, over all starts on one
  data directory. The copy of an event with the lowest order stands (see :mod:`shards.stores.schema`).
- **How long ago?** :meth:`ReceiptClock.elapsed_ms`, which knows each step of the wall clock in this process.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator

import attrs

from shards.logger import get_logger

_log = get_logger(__name__)

RESERVE_AHEAD_NS = 60 * 1_000_000_000
"""How far ahead of what was given out orders are reserved: longer than any checkpoint takes while the disk works."""

HEADROOM_NS = 1_000_000_000
"""End of a reservation that the wall clock does not use up, so that orders can go on in it by 1 ns each."""

STEP_NS = 1_000_000_000
"""Least change of the wall clock against the steady one that is a step; less is slewing, or a slow look at both."""

STEPS_MAX = 1_000
"""Most steps that are remembered; the oldest are forgotten."""

AHEAD_MAX_MS = 60_000
"""How far ahead of this clock a receipt may lie and count as new, because clocks of other services are never equal."""

_EVER_NS = -(1 << 63)
# Unlike the monotonic clock it goes on while the machine sleeps, as the wall clock does.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _steady_ns() -> int:
    return time.clock_gettime_ns(_STEADY)


@attrs.define
class _Span:
    """Time between two steps: its begin on the steady clock, and what the wall clock was ahead of that, in ns."""

    begin_ns: int
    offset_ns: int


class ReceiptClock:
    """The wall clock, the order of receipts, and the steps of the wall clock. Any thread may use it.

    **No order is given out twice, also after a crash.** Before an order is given out, a number above it is reserved
    durably (the checkpoint's ``order_upto``), and a start begins above the largest reservation that it finds:

    1. A checkpoint with :meth:`to_reserve_ns` is written, then :meth:`reserve` is told.
    2. Orders follow the wall clock up to shortly before the reservation. If the wall clock is beyond that, because it
       jumped, or no checkpoint can be written, they go on by 1 ns each, for which the rest of the reservation is kept.
    3. The next checkpoint reserves beyond the wall clock, and orders follow it again.

    While nothing is reserved, orders are not bounded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._last_ns = 0
        self._least_ns = 0
        self._reserved_ns = 0
        self._seen_ns = time.time_ns()
        self._start_ns = _steady_ns()
        self._spans = deque([_Span(_EVER_NS, self._seen_ns - self._start_ns)], maxlen=STEPS_MAX)
        self._look_ns = self._seen_ns + STEP_NS

    @property
    def last_ns(self) -> int:
        """The largest order that was given out, or that later ones were raised above; 0: none."""
        return self._last_ns

    @property
    def reserved_ns(self) -> int:
        """The order up to which orders are reserved durably; 0: nothing is."""
        return self._reserved_ns

    def now_ns(self) -> int:
        """Return the wall clock, ns since the epoch. It may repeat, and go back."""
        now_ns = time.time_ns()
        if not self._seen_ns <= now_ns < self._look_ns and self._looking.acquire(blocking=False):
            try:
                self._look(now_ns)
            finally:
                self._looking.release()
        self._seen_ns = now_ns
        return now_ns

    def order_ns(self) -> int:
        """Return an order, greater than all before: the wall clock's ns if these are greater and reserved."""
        now_ns = self.now_ns()
        with self._lock:
            last_ns = self._last_ns
            follows = last_ns < now_ns and (not self._reserved_ns or now_ns <= self._reserved_ns - HEADROOM_NS)
            self._last_ns = order_ns = now_ns if follows else last_ns + 1
        return order_ns

    def to_reserve_ns(self) -> int:
        """Return the order up to which the next checkpoint should reserve orders, never less than is reserved.

        The checkpoint takes the place of one that may hold the present reservation, whose orders may be given out yet.
        """
        ahead_ns = max(self._last_ns, self._least_ns, self.now_ns()) + RESERVE_AHEAD_NS
        return max(ahead_ns, self._reserved_ns)

    def reserve(self, upto_ns: int) -> None:
        """Note that no order up to ``upto_ns`` is given out by a later start; a lower one than before has no effect."""
        with self._lock:
            self._reserved_ns = max(self._reserved_ns, upto_ns)
            self._raise()

    def raise_to(self, order_ns: int) -> None:
        """Make all later orders greater than this one.

        One that is not reserved has its effect with the next reservation, which :meth:`to_reserve_ns` puts above it.
        While nothing is reserved, as at a start, it has its effect at once.
        """
        with self._lock:
            self._least_ns = max(self._least_ns, order_ns)
            self._raise()

    def _raise(self) -> None:
        if not self._reserved_ns or self._least_ns <= self._reserved_ns - HEADROOM_NS:
            self._last_ns = max(self._last_ns, self._least_ns)

    def elapsed_ms(self, moment_ms: int) -> int:
        """Return the ms since a receipt, at least 0, whatever steps the clock made since.

        The wall clock of this process may have shown a moment twice. Then the first time counts, because who asks knows
        better of what was received lately. A moment far ahead is from before the start, when the clock was wrong: it
        counts as the moment of the start.

        Args:
            moment_ms: time of the receipt by the wall clock, ms since the epoch.
        """
        now_ms = self.now_ns() // 1_000_000
        if len(self._spans) == 1 and moment_ms <= now_ms:
            return now_ms - moment_ms
        steady_ns, moment_ns = _steady_ns(), moment_ms * 1_000_000
        for span, end_ns in self._with_ends(steady_ns):
            if span.begin_ns <= moment_ns - span.offset_ns <= end_ns:
                return (steady_ns - moment_ns + span.offset_ns) // 1_000_000
        if moment_ms <= now_ms + AHEAD_MAX_MS:
            return max(0, now_ms - moment_ms)
        return (steady_ns - self._start_ns) // 1_000_000

    def earliest_ms(self, within_ms: int) -> int:
        """Return the earliest time, ms since the epoch, that the wall clock showed in the last ``within_ms``."""
        self.now_ns()  # notes a step
        steady_ns = _steady_ns()
        since_ns = steady_ns - within_ms * 1_000_000
        shown = (
            max(since_ns, span.begin_ns) + span.offset_ns
            for span, end_ns in self._with_ends(steady_ns)
            if end_ns >= since_ns
        )
        return min(shown) // 1_000_000

    def _with_ends(self, now_ns: int) -> Iterator[tuple[_Span, int]]:
        """Yield each span and its end on the steady clock, which shows ``now_ns``."""
        ends = [span.begin_ns for span in self._spans][1:]
        return zip(self._spans, [*ends, now_ns], strict=True)

    def _look(self, now_ns: int) -> None:
        """Compare the wall clock with the steady one, and note a step; called once a second, and if it went back."""
        step_ns = self._step_ns(now_ns)
        if abs(step_ns) >= STEP_NS:
            now_ns = time.time_ns()
            step_ns = self._step_ns(now_ns)  # once more, because the process may have been stopped between two looks
        self._look_ns = now_ns + STEP_NS
        latest = self._spans[-1]
        if abs(step_ns) < STEP_NS:
            latest.offset_ns += step_ns
            return
        self._spans.append(_Span(_steady_ns(), latest.offset_ns + step_ns))
        _log.warning("wall clock stepped", seconds=round(step_ns / 1e9, 1))

    def _step_ns(self, now_ns: int) -> int:
        return now_ns - _steady_ns() - self._spans[-1].offset_ns
