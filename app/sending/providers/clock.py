"""The clock of a match: from seconds of a period to the minute that people say, and pauses between periods."""

from collections.abc import Iterable, Mapping
from typing import Final

MINUTES_BEFORE: Final[Mapping[int, int]] = {1: 0, 2: 45, 3: 90, 4: 105, 5: 120}
"""Minutes on the clock as a period starts."""

PERIODS: Final = range(1, 6)

_MINUTES: Final[Mapping[int, int]] = {1: 45, 2: 45, 3: 15, 4: 15}
_PAUSE_BEFORE_S: Final[Mapping[int, float]] = {2: 15 * 60, 3: 5 * 60, 4: 60, 5: 5 * 60}


def said_minute(period: int, seconds: float, *, had_extra_time: bool = True) -> tuple[int, int]:
    """Return the minute as people say it, and the minutes of stoppage time: 46:30 of the first half is 45 and 2.

    In a shoot-out the minute is the one at which play ended.
    """
    if period == 5:
        return (120 if had_extra_time else 90), 0
    minute = MINUTES_BEFORE[period] + int(max(0.0, seconds) // 60) + 1
    last = MINUTES_BEFORE[period] + _MINUTES[period]
    return min(minute, last), max(0, minute - last)


def seconds_of(period: int, minute: float, second: float = 0) -> float:
    """Return the seconds since the start of a period, of a clock that goes on from 45, 90, 105 and 120 minutes."""
    return (minute - MINUTES_BEFORE[period]) * 60 + second


def period_starts(ends: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Return when each period starts, in s since kick-off, from its number and length in s, in order.

    A period starts when the one before has ended and a pause has passed: 15 min before period 2, 5 min before period
    3, 1 min before period 4, 5 min before period 5.
    """
    starts: dict[int, float] = {}
    at_s = 0.0
    for period, length_s in ends:
        at_s += _PAUSE_BEFORE_S.get(period, 0.0) if starts else 0.0
        starts[period] = at_s
        at_s += length_s
    return starts
