"""The minutes of a period: the one that is played, the one at which the clock stands. Pure functions."""

import math
from typing import Final

from app.engagement.whistles import SHOOTOUT, Period
from shards import MINUTE_MS

BEGINS_AT: Final = {1: 0, 2: 45, 3: 90, 4: 105}
ENDS_AT: Final = {1: 45, 2: 90, 3: 105, 4: 120, SHOOTOUT: 120}
"""Minutes of the clock at the start and at the end of each period."""


def running_minute(period: Period, at_ms: int) -> tuple[int, int | None]:
    """Return the minute that is being played: the first one is 1."""
    played = int(elapsed_ms(period, at_ms) // MINUTE_MS)
    return split_minute(period.number, BEGINS_AT[period.number] + played + 1)


def stopped_minute(period: Period, at_ms: int, *, whole: bool) -> tuple[int, int | None]:
    """Return the minute that was played last; of a ``whole`` period no earlier one than its last."""
    if period.start_ms is None:
        return ENDS_AT[period.number], None
    end_ms = at_ms if period.end_ms is None else period.end_ms
    minute = BEGINS_AT[period.number] + math.ceil(elapsed_ms(period, end_ms) / MINUTE_MS)
    return split_minute(period.number, max(minute, ENDS_AT[period.number]) if whole else minute)


def split_minute(number: int, minute: int) -> tuple[int, int | None]:
    """Return a minute of a period, counted on beyond its end, as minute and added time."""
    regular = ENDS_AT[number]
    return (minute, None) if minute <= regular else (regular, minute - regular)


def elapsed_ms(period: Period, at_ms: int) -> int:
    """Return the match time that was played of a period until a moment."""
    began_ms = at_ms if period.start_ms is None else period.start_ms
    stopped = sum(
        max(0, min(at_ms, at_ms if ended is None else ended) - began) for began, ended in period.stops if began < at_ms
    )
    return max(0, at_ms - began_ms - stopped)
