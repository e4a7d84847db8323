"""Times the service took to answer requests, all of them and those about a match, over the last five minutes."""

import time
from collections.abc import Callable, Iterable

import attrs
from cachetools import LRUCache
from ddsketch import LogCollapsingLowestDenseDDSketch

WINDOW_S = 300
SLOT_S = 30
ACCURACY = 0.01
MAX_BINS = 512
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@attrs.define
class _Slot:
    """Requests that ended within one period of :data:`SLOT_S` seconds."""

    period: int
    sketch: LogCollapsingLowestDenseDDSketch


class ResponseTimes:
    """Percentiles of all requests and per match, from DDSketches (relative error 1 %), one per half minute.

    It holds at most ``max_matches`` matches, each with at most eleven sketches of 512 bins; the least recently used one
    goes first.
    """

    def __init__(self, *, max_matches: int = 1000, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._all: list[_Slot] = []
        self._slots: LRUCache[str, list[_Slot]] = LRUCache(max_matches)

    def record(self, match_id: str | None, seconds: float) -> None:
        """Count one request and the seconds it took; ``match_id`` if it was about a match."""
        self._count(self._all, seconds)
        if match_id is None:
            return
        slots = self._slots.get(match_id)
        if slots is None:
            slots = self._slots[match_id] = []
        self._count(slots, seconds)

    def _count(self, slots: list[_Slot], seconds: float) -> None:
        period = int(self._monotonic() // SLOT_S)
        if not slots or slots[-1].period != period:
            _expire(slots, period)
            slots.append(_Slot(period, _new_sketch()))
        slots[-1].sketch.add(seconds * 1000)

    def forget(self, match_ids: Iterable[str]) -> None:
        """Forget the requests about matches that are erased; those of all requests stay."""
        for match_id in match_ids:
            self._slots.pop(match_id, None)

    def overall(self) -> dict[str, float | None]:
        """Return ``p50 p95 p99`` in ms of all requests; None where none ended in the last five minutes."""
        return self._percentiles(self._all)

    def percentiles(self, match_id: str) -> dict[str, float | None]:
        """Return the same for the requests about a match."""
        return self._percentiles(self._slots.get(match_id, []))

    def _percentiles(self, slots: list[_Slot]) -> dict[str, float | None]:
        _expire(slots, int(self._monotonic() // SLOT_S))
        if not slots:
            return dict.fromkeys(QUANTILES)
        merged = _new_sketch()
        for slot in slots:
            merged.merge(slot.sketch)
        return {name: _rounded(merged.get_quantile_value(q)) for name, q in QUANTILES.items()}


def _new_sketch() -> LogCollapsingLowestDenseDDSketch:
    return LogCollapsingLowestDenseDDSketch(relative_accuracy=ACCURACY, bin_limit=MAX_BINS)


def _expire(slots: list[_Slot], period: int) -> None:
    slots[:] = [slot for slot in slots if slot.period > period - WINDOW_S // SLOT_S]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
