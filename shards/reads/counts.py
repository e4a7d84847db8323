"""The counts of a match as they come out of an answer, withdrawn events included. Pure functions.

An event withdraws another one of its match by naming it: a retraction, or an event that takes the place of another
(``metadata.replaces``). An event that is withdrawn itself still withdraws the one that it names.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple, TypeVar

import attrs

from shards.events import HIGHLIGHT_TYPES, RETRACTION
from shards.reads.kinds import FEED_TYPES, PLAY_TYPES
from shards.reads.teams import CurveCounts

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Id in rows of an answer that are not about one event."""

LAST_VERSION = 2**64 - 1
"""Highest version: a row's version is this less its order."""

RECENT_BUCKET_MS = 10_000
RECENT_BUCKETS = 6
RECENT_MS = RECENT_BUCKETS * RECENT_BUCKET_MS
"""Buckets of the last minute, of which the newest is the running one, and their length, one by one and together."""

NO_START = (0, 0, "")


GroupHighlight = tuple[int, int, str, str, int, int]
"""Negative timestamp, version, id, texts, time of receipt (ms), momentum of a highlight: the newest one is the least.

Versions are the table's: lower is later received. Texts and momentum are the table's columns of these names.
"""


class Group(NamedTuple):
    """The events of one type and team of a match, including withdrawn ones; moments in ms.

    ``named`` is the id of an event that another one may have withdrawn; the group then holds that event alone.
    ``recent`` are those of the last minute.
    ``start`` is (timestamp, order, texts) of the earliest match_start, else :data:`NO_START`.
    ``targets`` are the ids of the events that these withdraw.
    """

    named: str
    event_type: str
    team_id: str
    events: int
    first_ms: int
    last_ms: int
    received_ms: int
    recent: int
    start: tuple[int, int, str]
    targets: Sequence[str]
    highlights: Sequence[GroupHighlight]


class Bucket(NamedTuple):
    """Events of a team in a bucket; ``of_feed``: of the match itself, else of fans. ``named`` as in a group."""

    named: str
    start_ms: int
    team_id: str
    of_feed: bool
    events: int
    weight: int


@attrs.frozen
class Curves:
    """What happened when, by start of the bucket in ms, sorted; no bucket is named that holds nothing.

    Attributes:
        events: (start, team, events).
        weights: (start, team, momentum in thousandths).
        feed: (start, events of the match itself).
    """

    events: CurveCounts = ()
    weights: CurveCounts = ()
    feed: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, buckets: Iterable[Bucket]) -> "Curves":
        """Return the curves that these buckets add up to."""
        buckets = list(buckets)
        return cls(
            _sorted(((bucket.start_ms, bucket.team_id), bucket.events) for bucket in buckets),
            _sorted(((bucket.start_ms, bucket.team_id), bucket.weight) for bucket in buckets),
            tuple(sorted(sums((bucket.start_ms, bucket.events) for bucket in buckets if bucket.of_feed).items())),
        )

    @classmethod
    def of_teams(
        cls,
        events: Mapping[str, Mapping[int, int]],
        weights: Mapping[str, Mapping[int, int]],
        feed: Mapping[int, int],
        bucket_ms: int,
    ) -> "Curves":
        """Return the curves of counts by team and number of the bucket, without the sums that :meth:`of` needs."""
        return cls(
            _of_teams(events, bucket_ms),
            _of_teams(weights, bucket_ms),
            tuple((number * bucket_ms, feed[number]) for number in sorted(feed) if feed[number]),
        )


@attrs.frozen
class Extremes:
    """Earliest and latest moments of a match, in ms, 0 for none.

    Attributes:
        first_ms: earliest timestamp of the counted events.
        last_ms: latest one.
        received_ms: last receipt of any event, withdrawn ones included.
        feed_last_ms: latest timestamp of the match's own events.
        feed_received_ms: last receipt of one of these, withdrawn ones included.
        play_first_ms: earliest timestamp of an event in play.
        play_last_ms: latest one.
    """

    first_ms: int = 0
    last_ms: int = 0
    received_ms: int = 0
    feed_last_ms: int = 0
    feed_received_ms: int = 0
    play_first_ms: int = 0
    play_last_ms: int = 0


@attrs.frozen
class Counted:
    """Counts of one match.

    Attributes:
        groups: by type and team.
        curves: without withdrawn events.
        withdrawn: ids of the events that others withdraw.
        lines: highlights, and retractions, withdrawn ones included.
    """

    groups: Sequence[Group] = ()
    curves: Curves = attrs.field(factory=Curves)
    withdrawn: Set[str] = frozenset()
    lines: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, groups: Sequence[Group], buckets: Iterable[Bucket]) -> "Counted":
        """Return the counts of groups and buckets that hold withdrawn events by themselves."""
        withdrawn = withdrawn_by(groups)
        standing = (bucket for bucket in buckets if bucket.named not in withdrawn)
        return cls(groups, Curves.of(standing), withdrawn, lines_of(groups))


def lines_of(groups: Iterable[Group]) -> tuple[int, int]:
    """Return how many highlights there are, and how many retractions."""
    found = [0, 0]
    for group in groups:
        if group.event_type in HIGHLIGHT_TYPES:
            found[group.event_type == RETRACTION] += group.events
    return found[0], found[1]


def withdrawn_by(groups: Iterable[Group]) -> set[str]:
    """Return the ids of the events that others withdraw."""
    return {target for group in groups for target in group.targets} - {NOBODY}


def extremes_of(groups: Sequence[Group], withdrawn: Set[str]) -> Extremes:
    """Return the extremes of groups, each of which knows its own."""
    counted = [group for group in groups if group.events and group.named not in withdrawn]
    feed = [group for group in counted if group.event_type in FEED_TYPES]
    play = [group for group in feed if group.event_type in PLAY_TYPES]
    return Extremes(
        first_ms=_first(counted),
        last_ms=_last(counted),
        received_ms=_received(groups),
        feed_last_ms=_last(feed),
        feed_received_ms=_received(group for group in groups if group.event_type in FEED_TYPES),
        play_first_ms=_first(play),
        play_last_ms=_last(play),
    )


def _first(groups: Iterable[Group]) -> int:
    return min((group.first_ms for group in groups), default=0)


def _last(groups: Iterable[Group]) -> int:
    return max((group.last_ms for group in groups), default=0)


def _received(groups: Iterable[Group]) -> int:
    return max((group.received_ms for group in groups), default=0)


def recent_since(as_of_ms: int) -> int:
    """Return the start of the last minute's first bucket, ms since the epoch."""
    return (as_of_ms // RECENT_BUCKET_MS - RECENT_BUCKETS + 1) * RECENT_BUCKET_MS


def _sorted(counts: Iterable[tuple[tuple[int, str], int]]) -> CurveCounts:
    return tuple((*key, count) for key, count in sorted(sums(counts).items()))


TEAMS_DENSE = 8
"""Teams up to which each of them is asked for every bucket, which is faster than sorting where there are few."""


def _of_teams(by_team: Mapping[str, Mapping[int, int]], bucket_ms: int) -> CurveCounts:
    teams = sorted(by_team.items())
    if len(teams) > TEAMS_DENSE:
        found = ((number * bucket_ms, team, count) for team, counts in teams for number, count in counts.items())
        return tuple(sorted(point for point in found if point[2]))
    return tuple(
        (number * bucket_ms, team_id, count)
        for number in sorted(set().union(*by_team.values()))
        for team_id, counts in teams
        if (count := counts.get(number, 0))
    )


_Key = TypeVar("_Key")


def sums(counts: Iterable[tuple[_Key, int]]) -> dict[_Key, int]:
    """Return the sum of the counts of each key, of those that have one."""
    found: dict[_Key, int] = {}
    for key, count in counts:
        found[key] = found.get(key, 0) + count
    return {key: count for key, count in found.items() if count}
