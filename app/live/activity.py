"""What this process accepted of each match last: which matches go on, and since when each is quiet."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import attrs
from cachetools import LRUCache

from app.engagement.clock import UPCOMING_MS, quiet_limit_ms
from app.engagement.whistles import Course, course_of
from app.live.feeds import Feeds
from shards import FEED_TYPES, KICK_TYPES, MATCH_TYPES, MINUTE_MS, PLAY_TYPES, Event, Highlight, withdrawn_id

HEARD_MAX: Final = 100_000
"""Most matches whose last event is remembered, and most whose course is."""

WHISTLES_MAX: Final = 100
MINUTES_MAX: Final = 300
"""Whistles and kicks, and minutes with an event, that are remembered of a match."""

_WHISTLES = MATCH_TYPES | KICK_TYPES


@attrs.define
class _Followed:
    """The course of a match as far as this process accepted it.

    ``heard_at``: when something of the match itself came last, in s of the monotonic clock. ``minutes``: UTC minutes
    with such an event.
    """

    heard_at: float
    whistles: list[Highlight] = attrs.field(factory=list)
    course: Course = attrs.field(factory=Course)
    played: bool = False
    minutes: set[int] = attrs.field(factory=set)

    def take(self, event: Event) -> None:
        if event.event_type in PLAY_TYPES:
            self.played = True
            self.course.play_on(event.timestamp)
        if len(self.minutes) < MINUTES_MAX:
            self.minutes.add(event.timestamp // MINUTE_MS)
        if event.event_type in _WHISTLES:
            self.whistles = [*self.whistles, _whistle_of(event)][-WHISTLES_MAX:]
            self.course = course_of(self.whistles, until_ms=float("inf"))

    def withdraw(self, event_id: str) -> None:
        left = [whistle for whistle in self.whistles if whistle.event_id != event_id]
        if len(left) < len(self.whistles):
            self.whistles, self.course = left, course_of(left, until_ms=float("inf"))

    def is_live(self, now: float) -> bool:
        if self.course.state in ("ended", "abandoned", "postponed") or not (self.played or self.whistles):
            return False
        return (now - self.heard_at) * 1000 <= quiet_limit_ms(self.course, self.minutes, self.last_ms)

    @property
    def last_ms(self) -> int:
        """End of the last minute with an event, ms since the epoch."""
        return (max(self.minutes, default=0) + 1) * MINUTE_MS


class Activity:
    """The last events of matches, on the monotonic clock. ``feeds`` tells of those that are not from fans."""

    def __init__(self) -> None:
        self.feeds = Feeds()
        self._heard: LRUCache[str, float] = LRUCache(HEARD_MAX)
        # The first one is the one that nothing was heard of for longest.
        self._followed: OrderedDict[str, _Followed] = OrderedDict()

    def note(self, match_id: str, events: Sequence[Event]) -> None:
        """Take in events of one match. Cheap, first of all for those of fans."""
        self.feeds.note(match_id, events)
        self._heard[match_id] = time.monotonic()
        for event in events:
            if event.event_type in FEED_TYPES:
                self._follow(match_id, event)
            elif match_id in self._followed and (withdrawn := withdrawn_id(event.event_type, event.metadata)):
                self._followed[match_id].withdraw(withdrawn)

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

    def is_live(self, match_id: str) -> bool:
        """Say whether a match is live, as far as this process has followed it since its start."""
        followed = self._followed.get(match_id)
        return followed is not None and followed.is_live(time.monotonic())

    def _follow(self, match_id: str, event: Event) -> None:
        followed = self._followed.get(match_id)
        now = time.monotonic()
        if followed is None:
            followed = self._followed[match_id] = _Followed(now)
            if len(self._followed) > HEARD_MAX:
                self._followed.popitem(last=False)
        followed.heard_at = now
        self._followed.move_to_end(match_id)
        followed.take(event)
        if (withdrawn := withdrawn_id(event.event_type, event.metadata)) != "":
            followed.withdraw(withdrawn)


def _whistle_of(event: Event) -> Highlight:
    return Highlight(
        event.event_id, event.event_type, event.timestamp, event.team_id, event.player_id, event.metadata, False
    )
