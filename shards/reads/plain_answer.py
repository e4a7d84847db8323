"""The answer to the plain statement of :mod:`shards.reads.statements`, counted as in :mod:`shards.reads.aggregates`.

The statement counts withdrawn events as well. A withdrawn event is nearly always a highlight (a goal, a card), so the
answer holds all that is needed to take it out of its groups again. If it does not, the match has to be counted by
another statement, with these events apart. What is withdrawn is read from the texts here, because each column and
function more has to be planned by ClickHouse. Pure functions.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Set

import msgspec

from shards.events import withdrawn_id
from shards.reads.counts import (
    LAST_VERSION,
    NO_START,
    NOBODY,
    RECENT_MS,
    Counted,
    Curves,
    Group,
    GroupHighlight,
    extremes_of,
    lines_of,
    withdrawn_by,
)
from shards.reads.highlights import HIGHLIGHTS
from shards.reads.kinds import FEED_TYPES
from shards.reads.texts import texts_of

MATCH_START = "match_start"


class CutShort(Exception):
    """The answer does not list the bucket of every event, because there are more than it was asked to list."""


class _PlainRow(msgspec.Struct, array_like=True):
    """The events of a type and team of a match.

    ``curve``: the bucket number of each event, or the count of events by bucket number. ``weights``: the weight of each
    event, or their sum by bucket number; empty for a type without a weight.
    """

    match_id: str
    event_type: str
    team_id: str
    events: int
    first_ms: int
    last_ms: int
    received_ms: int
    recent: int
    curve: list[int] | dict[int, int]
    weights: list[int] | dict[int, int]
    highlights: list[GroupHighlight]


_row = msgspec.json.Decoder(_PlainRow)


def plain_groups(
    rows: Iterable[tuple[str]], *, bucket_ms: int, recent_ms: int
) -> tuple[dict[str, Counted], dict[str, Set[str]]]:
    """Return the counts of each match, and the intricate matches with the ids of the events withdrawn in them.

    Args:
        rows: the answer; each row is a text in JSON.
        bucket_ms: length of a bucket.
        recent_ms: since when events are recent, ms since the epoch.

    Raises:
        CutShort: a curve is not whole.
    """
    of_matches: dict[str, list[_PlainRow]] = {}
    for (text,) in rows:
        row = _row.decode(text)
        if isinstance(row.curve, list) and len(row.curve) < row.events:
            raise CutShort
        of_matches.setdefault(row.match_id, []).append(row)
    counted: dict[str, Counted] = {}
    intricate: dict[str, Set[str]] = {}
    for match_id, of_match in of_matches.items():
        groups = [_group(row) for row in of_match]
        withdrawn = withdrawn_by(groups)
        apart = None
        if not any(len(group.highlights) >= HIGHLIGHTS for group in groups):  # else there may be more
            apart = _Apart(groups, _PlainCurves(of_match, bucket_ms), recent_ms).without(withdrawn)
        if apart is not None:
            counted[match_id] = apart
        else:
            intricate[match_id] = withdrawn
    return counted, intricate


def _group(row: _PlainRow) -> Group:
    start = NO_START
    if row.event_type == MATCH_START:
        start = min(
            (-negative_at, LAST_VERSION - version, texts) for negative_at, version, _, texts, *_ in row.highlights
        )
    targets = [withdrawn_id(row.event_type, texts_of(found[3])[0]) or NOBODY for found in row.highlights]
    return Group(
        *("", row.event_type, row.team_id, row.events, row.first_ms, row.last_ms, row.received_ms, row.recent),
        *(start, targets, row.highlights),
    )


class _PlainCurves:
    """What happened when, by number of the bucket; withdrawn events can be taken off."""

    def __init__(self, rows: Iterable[_PlainRow], bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._events: dict[str, Counter[int]] = {}
        self._weights: dict[str, defaultdict[int, int]] = {}
        self._feed: Counter[int] = Counter()
        for row in rows:
            self._events.setdefault(row.team_id, Counter()).update(row.curve)
            if row.weights:
                self._add_weights(row)
            if row.event_type in FEED_TYPES:
                self._feed.update(row.curve)

    def _add_weights(self, row: _PlainRow) -> None:
        weights = self._weights.setdefault(row.team_id, defaultdict(int))
        weighted = row.weights.items() if isinstance(row.weights, dict) else zip(row.curve, row.weights, strict=True)
        for number, weight in weighted:
            weights[number] += weight

    def take_off(self, at_ms: int, event_type: str, team_id: str, weight: int) -> None:
        """Take off an event."""
        number = at_ms // self._bucket_ms
        self._events[team_id][number] -= 1
        if weight:
            self._weights[team_id][number] -= weight
        if event_type in FEED_TYPES:
            self._feed[number] -= 1

    def curves(self) -> Curves:
        """Return the curves by start of the bucket."""
        return Curves.of_teams(self._events, self._weights, self._feed, self._bucket_ms)


class _Apart:
    """The counts of a match, from which withdrawn events are taken."""

    def __init__(self, groups: list[Group], curves: _PlainCurves, recent_ms: int) -> None:
        self._groups = groups
        self._curves = curves
        self._recent_ms = recent_ms

    def without(self, withdrawn: Set[str]) -> Counted | None:
        """Take each withdrawn event out of its group and bucket; None if the answer does not hold enough for that."""
        lines = lines_of(self._groups)
        if not withdrawn:
            return Counted(self._groups, self._curves.curves(), withdrawn, lines)
        places = {
            event_id: (group.event_type, group.team_id, -negative_at, weight)
            for group in self._groups
            for negative_at, _, event_id, _, _, weight in group.highlights
        }
        if not withdrawn <= places.keys():
            return None
        by_key = {(group.event_type, group.team_id): group for group in self._groups}
        extremes = self._extremes()
        for event_id in withdrawn:
            event_type, team_id, at_ms, weight = places[event_id]
            if at_ms in extremes:
                return None
            group = by_key[event_type, team_id]
            is_recent = 0 <= at_ms - self._recent_ms < RECENT_MS
            by_key[event_type, team_id] = group._replace(
                events=group.events - 1,
                recent=group.recent - is_recent,
                start=NO_START,
            )
            self._curves.take_off(at_ms, event_type, team_id, weight)
        return Counted(list(by_key.values()), self._curves.curves(), withdrawn, lines)

    def _extremes(self) -> set[int]:
        """Return the moments that would not be known without the event that happened then."""
        found = extremes_of(self._groups, frozenset())
        return {found.first_ms, found.last_ms, found.feed_last_ms, found.play_first_ms, found.play_last_ms}
