"""Periods of a match, and what the clock says in them."""

from collections.abc import Mapping
from typing import Final

import attrs

_FIRST_MINUTE: Final[Mapping[int, int]] = {1: 0, 2: 45, 3: 90, 4: 105}
_LAST_MINUTE: Final[Mapping[int, int]] = {1: 45, 2: 90, 3: 105, 4: 120}
SHOOT_OUT: Final = 5


@attrs.frozen
class PlannedPeriod:
    """A half of the match, a half of extra time, or the shoot-out, by its number from 1 to 5.

    Attributes:
        start_s: seconds from kick-off to its beginning.
        length_s: seconds without stoppage time. However short they are, a second half begins at 45:00 on the clock, as
            the service has it, too.
    """

    number: int
    start_s: float
    length_s: float

    @property
    def end_s(self) -> float:
        """Seconds from kick-off to its end without stoppage time."""
        return self.start_s + self.length_s

    def stamp(self, offset_s: float) -> dict[str, int]:
        """Return period, minute and added minute as people say them: 46:10 is minute 47; a shoot-out has no minutes."""
        if self.number == SHOOT_OUT:
            return {"period": SHOOT_OUT}
        minute = _FIRST_MINUTE[self.number] + int((offset_s - self.start_s) // 60) + 1
        last = _LAST_MINUTE[self.number]
        if minute > last:
            return {"minute": last, "added": minute - last, "period": self.number}
        return {"minute": minute, "period": self.number}

    def share(self, offset_s: float) -> float:
        """Return the part of 90 minutes that is over, above 1 in extra time; it stands still in stoppage time."""
        first, last = _FIRST_MINUTE[self.number], _LAST_MINUTE[self.number]
        played = min((offset_s - self.start_s) / self.length_s, 0.999)
        return (first + (last - first) * played) / 90
