"""The feeds of matches in play: when something of the match itself, and not of its fans, came last."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from shards import FEED_TYPES, Event

SILENT_S: Final = 120.0
"""Seconds without an event of a match in play after which its feed counts as silent."""

GIVEN_UP_S: Final = 3600.0
"""Seconds after which a silent match is none of play any more, because its end may never be told."""

MATCHES_MAX: Final = 10_000

_BEGINS = frozenset({"match_start", "half_start", "resumed"})
_ENDS = frozenset({"match_end", "half_end", "suspended", "abandoned", "postponed"})


class Feeds:
    """Matches in play: from the start of the match or of a half, or an event of a team, until the end of either."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._heard: OrderedDict[str, float] = OrderedDict()
        """When each match was heard of, the latest last; infinite between its halves and after its end."""

    def note(self, match_id: str, events: Sequence[Event]) -> None:
        """Take in events of one match. Cheap, first of all for those of fans."""
        for event in events:
            if event.event_type in FEED_TYPES:
                self._note(match_id, event.event_type)

    def silent(self) -> tuple[int, float]:
        """Return how many matches in play are silent, and the longest time in s that one in play was not heard of."""
        now, silences = self._monotonic(), list[float]()
        for match_id, heard in tuple(self._heard.items()):
            if now - heard > GIVEN_UP_S:
                del self._heard[match_id]
            elif heard != inf:
                silences.append(now - heard)
        return sum(silence >= SILENT_S for silence in silences), max(silences, default=0.0)

    def forget(self, match_id: str) -> None:
        """Forget a match that is erased."""
        self._heard.pop(match_id, None)

    def _note(self, match_id: str, event_type: str) -> None:
        if event_type in _ENDS:
            self._heard[match_id] = inf
        elif event_type in _BEGINS or self._heard.get(match_id) != inf:
            self._heard[match_id] = self._monotonic()
        self._heard.move_to_end(match_id)
        if len(self._heard) > MATCHES_MAX:
            self._heard.popitem(last=False)
