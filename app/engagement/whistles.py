"""The periods of a match, from the whistles that stand. A pure state machine; the contract's table is its test.

Whistles come in the order of their timestamps, then of their receipt. A ``period`` in their metadata decides; without
one they are counted. Fans' events are none, and other events of a break move nothing.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final, Literal

import attrs

from app.schemas.values import minute_of, period_of
from shards import KICK_TYPES, MATCH_TYPES, Highlight, metadata_of

State = Literal["before", "play", "break", "shootout", "suspended", "abandoned", "postponed", "ended"]

SHOOTOUT: Final = 5
"""Number of the shoot-out among the periods; 1 and 2 are the halves, 3 and 4 those of extra time."""

SAME_WHISTLE_MS: Final = 5 * 60_000
"""Milliseconds within which a second whistle to begin or to end a period is the same one, told twice."""

SAME_END_MS: Final = 60_000
"""The same of a second ``match_end``: not as long, because play may go on after a first one."""

_GOES_ON: Final = ("before", "play", "break", "shootout")
"""States that a match can be resumed to."""


@attrs.define
class Period:
    """A half, a half of extra time, or the shoot-out.

    Attributes:
        number: from 1 to :data:`SHOOTOUT`.
        start_ms: when it began, ms since the epoch; None where nobody said.
        end_ms: when it ended; None while it goes on.
        kick_off: it began with ``match_start``, so that a first ``half_start`` tells when the ball rolled.
        stops: when play was suspended, from and until; None while it is.
        end_minute: minute and added time at its end, as the whistle told.
    """

    number: int
    start_ms: int | None
    end_ms: int | None = None
    kick_off: bool = False
    stops: list[tuple[int, int | None]] = attrs.field(factory=list)
    end_minute: tuple[int, int | None] | None = None


@attrs.define
class Course:
    """How far a match is: its periods, its present state and since when, ms since the epoch (0: nobody said)."""

    periods: list[Period] = attrs.field(factory=list)
    state: State = "before"
    since_ms: int = 0
    _state_before: State = "before"

    def take(self, whistle: Highlight) -> None:
        """Go on by a whistle, or by a kick of the shoot-out."""
        acts: dict[str, Callable[[Highlight], None]] = {
            "match_start": self._match_start,
            "half_start": self._half_start,
            "half_end": self._half_end,
            "match_end": self._match_end,
            "suspended": self._suspended,
            "resumed": self._resumed,
            "abandoned": self._abandoned,
            "postponed": self._postponed,
        }
        acts.get(whistle.event_type, self._kick)(whistle)

    def play_on(self, played_ms: int) -> None:
        """Take note that something happened in play: after the end of a match it shows that it goes on."""
        if self.state == "ended" and played_ms > self.since_ms:
            self._reopen()

    @property
    def last(self) -> Period | None:
        """The period that goes on, or the last one that ended."""
        return self.periods[-1] if self.periods else None

    @property
    def number(self) -> int:
        """Number of that period; 0 before the first."""
        return self.periods[-1].number if self.periods else 0

    def _set(self, state: State, since_ms: int) -> None:
        if self.state in _GOES_ON:
            self._state_before = self.state
        self.state, self.since_ms = state, since_ms

    def _match_start(self, whistle: Highlight) -> None:
        if self.state in ("postponed", "abandoned"):
            self.periods.clear()
        if not self.periods:
            self._begin(1, whistle.timestamp, kick_off=True)
        elif self.number == 1 and self.state == "play" and not self.periods[0].kick_off:
            self._begin_again(self.periods[0], whistle.timestamp)

    def _half_start(self, whistle: Highlight) -> None:
        if self.state == "postponed":
            self.periods.clear()
        said = period_of(metadata_of(whistle.metadata))
        is_same = said in (None, self.number)
        if self._only_kicked_off and said in (None, 1):
            self.periods[0].kick_off = False
            self._begin_again(self.periods[0], whistle.timestamp)
        elif is_same and self._is_interrupted:
            self._resumed(whistle)
        elif said is not None or not self._is_told_again(whistle):
            number = said or min(self.number + 1, SHOOTOUT)
            if number >= self.number:
                self._begin(number, whistle.timestamp)

    @property
    def _is_interrupted(self) -> bool:
        """Whether play was suspended, and not a break."""
        return self.state == "suspended" and self._state_before in ("play", "shootout")

    @property
    def _only_kicked_off(self) -> bool:
        """Whether a ``match_start`` began the first half, and no ``half_start`` was heard yet."""
        return self.number == 1 and self.periods[0].kick_off and self.periods[0].end_ms is None

    def _is_told_again(self, whistle: Highlight) -> bool:
        """Say whether the present period has just begun."""
        last = self.last
        began = last.start_ms if last is not None and last.end_ms is None else None
        return began is not None and whistle.timestamp - began < SAME_WHISTLE_MS

    def _begin(self, number: int, at_ms: int, *, kick_off: bool = False) -> None:
        last = self.last
        if last is not None and last.number == number:
            if last.end_ms is not None:  # it was ended too early, and goes on
                last.stops.append((last.end_ms, at_ms))
                last.end_ms = last.end_minute = None
        else:
            self._end(at_ms)
            self.periods.append(Period(number, at_ms, kick_off=kick_off))
        self._set("shootout" if number == SHOOTOUT else "play", self.periods[-1].start_ms or at_ms)

    def _begin_again(self, period: Period, at_ms: int) -> None:
        """The clock runs from the later of two whistles that began the match."""
        period.start_ms = max(period.start_ms or at_ms, at_ms)
        period.stops.clear()
        self._set("play", period.start_ms)

    def _half_end(self, whistle: Highlight) -> None:
        self._reopen_for(whistle)
        if self.state in ("ended", "abandoned", "postponed"):
            return
        metadata, is_open = metadata_of(whistle.metadata), self.last is not None and self.last.end_ms is None
        number = period_of(metadata) or self._ending(whistle.timestamp)
        if number < self.number or (number == self.number and not is_open):
            return
        if number > self.number:  # nobody told when it began
            self._end(whistle.timestamp)
            self.periods.append(Period(number, None))
        self._end(whistle.timestamp, minute_of(metadata))
        if number != SHOOTOUT:
            self._set("break", whistle.timestamp)

    def _ending(self, at_ms: int) -> int:
        """Return the number of the period that a whistle ends which tells none; 0 if it was told before."""
        last = self.last
        if last is None or last.end_ms is None:
            return max(1, self.number)
        return 0 if at_ms - last.end_ms < SAME_WHISTLE_MS else min(self.number + 1, SHOOTOUT - 1)

    def _end(self, at_ms: int, minute: tuple[int, int | None] | None = None) -> None:
        """End the period that goes on, and what interrupts it."""
        last = self.last
        if last is None or last.end_ms is not None:
            return
        last.end_ms, last.end_minute = at_ms, minute
        last.stops = [(began, at_ms if ended is None else ended) for began, ended in last.stops]

    def _reopen_for(self, whistle: Highlight) -> None:
        """A whistle well after the end of a match shows that it was not over."""
        if self.state == "ended" and whistle.timestamp - self.since_ms >= SAME_WHISTLE_MS:
            self._reopen()

    def _match_end(self, whistle: Highlight) -> None:
        if self.state == "ended" and whistle.timestamp - self.since_ms < SAME_END_MS:
            return
        if self.state == "ended":  # there was play after the first one
            self._reopen()
        self._end(whistle.timestamp, minute_of(metadata_of(whistle.metadata)))
        self._set("ended", whistle.timestamp)

    def _reopen(self) -> None:
        """The match was not over."""
        last, ended_ms, self.state = self.last, self.since_ms, self._state_before
        if last is None:
            return
        if last.end_ms == ended_ms and self.state in ("play", "shootout"):
            last.end_ms = last.end_minute = None
        began_ms = last.end_ms if self.state == "break" else last.start_ms
        self.since_ms = began_ms or ended_ms

    def _suspended(self, whistle: Highlight) -> None:
        self._reopen_for(whistle)
        if self.state in _GOES_ON:
            last = self.last
            if last is not None and last.end_ms is None:
                last.stops.append((whistle.timestamp, None))
            self._set("suspended", whistle.timestamp)

    def _resumed(self, whistle: Highlight) -> None:
        if self.state not in ("suspended", "abandoned", "ended"):
            return
        last = self.last
        if last is not None:
            if last.end_ms == self.since_ms and self.state != "suspended":  # that had ended it
                last.stops.append((last.end_ms, None))
                last.end_ms = last.end_minute = None
            last.stops = [(began, whistle.timestamp if ended is None else ended) for began, ended in last.stops]
        self.state, self.since_ms = self._state_before, whistle.timestamp

    def _abandoned(self, whistle: Highlight) -> None:
        self._end(whistle.timestamp)
        self._set("abandoned", whistle.timestamp)

    def _postponed(self, whistle: Highlight) -> None:
        if self.state in ("ended", "abandoned"):
            return
        self._set("postponed", whistle.timestamp)

    def _kick(self, whistle: Highlight) -> None:
        if self.state == "ended":
            self._reopen()
        if self.state == "suspended" and self.number == SHOOTOUT:
            self._resumed(whistle)
        if self.number < SHOOTOUT:
            self._begin(SHOOTOUT, whistle.timestamp)


def course_of(events: Iterable[Highlight], *, until_ms: float) -> Course:
    """Return the course of a match.

    Args:
        events: whistles and kicks that stand, in any order of their timestamps, those of one moment in the order of
            their receipt; others among them mean nothing.
        until_ms: whistles of a later time are not blown yet.
    """
    wanted = MATCH_TYPES | KICK_TYPES
    blown = [event for event in events if event.event_type in wanted and event.timestamp <= until_ms]
    course = Course()
    for whistle in sorted(blown, key=attrgetter("timestamp")):
        course.take(whistle)
    return course
