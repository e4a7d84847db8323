"""When something of each match was accepted by this process last: which matches go on."""

import time
from collections import OrderedDict
from collections.abc import Sequence

from cachetools import LRUCache

from app.live.feeds import Feeds
from shards import Event

ACTIVE_S = 15 * 60
"""Seconds for which a match counts as active after an event, unless it ended."""

ACTIVE_MAX = 100_000
"""Most matches whose last event is remembered, of those that ended and of others; so also the most that are counted as
active."""


class Activity:
    """The last events of matches, on the monotonic clock. ``feeds`` tells of those that are not from fans."""

    def __init__(self) -> None:
        self.feeds = Feeds()
        # A TTLCache took 2 % of the time of a request of one event.
        self._active: OrderedDict[str, float] = OrderedDict()
        self._ended: LRUCache[str, float] = LRUCache(ACTIVE_MAX)

    def note(self, match_id: str, events: Sequence[Event]) -> None:
        """Take in events of one match. Cheap."""
        self.feeds.note(match_id, events)
        if "match_end" in [event.event_type for event in events]:
            self._active.pop(match_id, None)
            self._ended[match_id] = time.monotonic()
        elif match_id in self._ended:
            self._ended[match_id] = time.monotonic()
        else:
            self._note_active(match_id)

    def heard_at(self, match_id: str) -> float | None:
        """Return when the last event came; None where that is not known, or long ago."""
        return self._active.get(match_id) or self._ended.get(match_id)

    def forget(self, match_id: str) -> None:
        """Forget a match that is erased."""
        self.feeds.forget(match_id)
        self._active.pop(match_id, None)
        self._ended.pop(match_id, None)

    def active(self) -> int:
        """Return how many matches have an event of the last 15 min, and no ``match_end``."""
        oldest = time.monotonic() - ACTIVE_S
        while self._active and next(iter(self._active.values())) < oldest:
            self._active.popitem(last=False)
        return len(self._active)

    def _note_active(self, match_id: str) -> None:
        self._active[match_id] = time.monotonic()
        self._active.move_to_end(match_id)
        if len(self._active) > ACTIVE_MAX:
            self._active.popitem(last=False)
