"""What this process accepted of each match last: which matches go on, and since when each is quiet."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import attrs

from app.engagement.clock import AHEAD_MS, QUIET_MS, QUIET_SUSPENDED_MS, UPCOMING_MS, quiet_limit_ms
from app.engagement.whistles import Course, course_of
from app.live.feeds import Feeds
from app.schemas.values import period_of
from shards import (
    FEED_TYPES,
    KICK_TYPES,
    MATCH_TYPES,
    MINUTE_MS,
    PLAY_TYPES,
    RETRACTION,
    Event,
    Highlight,
    metadata_of,
    withdrawn_id,
)

HEARD_MAX: Final = 100_000
"""Most matches whose last event is remembered, and most whose course is."""

WHISTLES_MAX: Final = 100
MINUTES_MAX: Final = 1_500
"""Whistles and kicks that are remembered of a match, and minutes after its first event whose events are."""

LATELY_S: Final = 900.0
"""Seconds after its last event within which something of a match is news, ended or not."""

_WHISTLES = MATCH_TYPES | KICK_TYPES


@attrs.define
class _Followed:
    """The course of a match as far as this process accepted it; it is worked out when somebody asks.

    Attributes:
        heard_at: when something of the match itself came last, in s of the monotonic clock.
        first_minute: UTC minute of the first event.
        minutes: a bit for each minute since then that has an event.
        begun: there was an event of the match itself, and no start that is dated ahead.
        played_ms: when the last event in play happened, ms since the epoch.
    """

    heard_at: float
    first_minute: int
    minutes: int = 0
    begun: bool = False
    played_ms: int = 0
    _whistles: list[Highlight] = attrs.field(factory=list)
    _course: Course | None = None

    def take(self, event: Event) -> None:
        if "replaces" in event.metadata and (replaced := withdrawn_id(event.event_type, event.metadata)):
            self.withdraw(replaced)
        elif event.event_type in PLAY_TYPES:
            self.played_ms = max(self.played_ms, event.timestamp)
            if self._course is not None:
                self._course.play_on(self.played_ms)
        self.begun |= event.event_type != "match_start" or event.timestamp <= _now_ms() + AHEAD_MS
        if 0 <= (minute := event.timestamp // MINUTE_MS - self.first_minute) < MINUTES_MAX:
            self.minutes |= 1 << minute
        if event.event_type in _WHISTLES:
            self._whistles.append(_whistle_of(event))
            if len(self._whistles) > 2 * WHISTLES_MAX:
                del self._whistles[:-WHISTLES_MAX]
            self._course = None

    def withdraw(self, event_id: str) -> None:
        self._whistles = [whistle for whistle in self._whistles if whistle.event_id != event_id]
        self._course = None

    @property
    def course(self) -> Course:
        if self._course is None:
            self._course = course_of(self._whistles[-WHISTLES_MAX:], until_ms=_now_ms() + AHEAD_MS)
            self._course.play_on(self.played_ms)
        return self._course

    def is_live(self, now: float) -> bool:
        quiet_ms, course = (now - self.heard_at) * 1000, self.course
        if course.state in ("ended", "abandoned", "postponed") or not (self.begun or course.periods):
            return False
        if quiet_ms <= QUIET_MS or quiet_ms > QUIET_SUSPENDED_MS:
            return quiet_ms <= QUIET_MS
        told = [self.first_minute + minute for minute in range(self.minutes.bit_length()) if self.minutes >> minute & 1]
        last_ms = (self.first_minute + self.minutes.bit_length()) * MINUTE_MS
        return quiet_ms <= quiet_limit_ms(course, set(told), last_ms)


class Activity:
    """The last events of matches, on the monotonic clock. ``feeds`` tells of those that are not from fans."""

    def __init__(self) -> None:
        self.feeds = Feeds()
        # A cache of cachetools took 2 % of the time of a request of one event.
        self._heard: OrderedDict[str, float] = OrderedDict()
        # The first one is the one that nothing was heard of for longest.
        self._followed: OrderedDict[str, _Followed] = OrderedDict()

    def note(self, match_id: str, events: Sequence[Event]) -> None:
        """Take in events of one match. Cheap, first of all for those of fans."""
        self.feeds.note(match_id, events)
        self._heard[match_id] = time.monotonic()
        self._heard.move_to_end(match_id)
        if len(self._heard) > HEARD_MAX:
            self._heard.popitem(last=False)
        for event in events:
            if event.event_type in FEED_TYPES:
                self._follow(match_id, event)
            elif event.event_type == RETRACTION and match_id in self._followed:
                self._followed[match_id].withdraw(withdrawn_id(event.event_type, event.metadata))

    def heard_at(self, match_id: str) -> float | None:
        """Return when the last event came; None where that is not known, or long ago."""
        return self._heard.get(match_id)

    def fed_at(self, match_id: str) -> float | None:
        """Return when the last event of the match itself came, and not of its fans; None as :meth:`heard_at`."""
        followed = self._followed.get(match_id)
        return followed.heard_at if followed is not None else None

    def forget(self, match_id: str) -> None:
        """Forget a match that is erased."""
        self.feeds.forget(match_id)
        self._heard.pop(match_id, None)
        self._followed.pop(match_id, None)

    def active(self) -> int:
        """Return how many matches are live, as far as this process has followed them since its start."""
        now = time.monotonic()
        while self._followed and now - next(iter(self._followed.values())).heard_at > 2 * UPCOMING_MS / 1000:
            self._followed.popitem(last=False)
        return sum(followed.is_live(now) for followed in self._followed.values())

    def is_news(self, match_id: str) -> bool:
        """Say whether a match has begun, and something of it came lately: the end of it is news, and what follows."""
        followed = self._followed.get(match_id)
        return followed is not None and followed.begun and time.monotonic() - followed.heard_at <= LATELY_S

    def _follow(self, match_id: str, event: Event) -> None:
        followed = self._followed.get(match_id)
        now = time.monotonic()
        if followed is None:
            followed = self._followed[match_id] = _Followed(now, event.timestamp // MINUTE_MS)
            if len(self._followed) > HEARD_MAX:
                self._followed.popitem(last=False)
        followed.heard_at = now
        self._followed.move_to_end(match_id)
        followed.take(event)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _whistle_of(event: Event) -> Highlight:
    """Return a whistle with what decides of its metadata, because a hundred are kept of each match."""
    period = period_of(metadata_of(event.metadata)) if "period" in event.metadata else None
    metadata = f'{{"period":{period}}}' if period else ""
    return Highlight(event.event_id, event.event_type, event.timestamp, event.team_id, "", metadata, False)
