"""The aggregates of a match, put together from the rows of an answer. Pure functions."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import NamedTuple, TypeVar

import attrs

from shards.events import HIGHLIGHT_TYPES, RETRACTION, canonical_id
from shards.reads.highlights import HIGHLIGHTS, Highlight, earlier_than
from shards.reads.sides import match_sides
from shards.reads.teams import count_teams, folded_curve, folded_types, kept_teams
from shards.reads.texts import shortened, texts_of

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Id in rows of an answer that are not about one event."""

MINUTE_MS = 60_000


@attrs.frozen(kw_only=True)
class MatchAggregates:
    """Counts over the distinct, not retracted events of one match.

    Attributes:
        match_id: the match.
        total: events; the sums of ``by_type_team``, ``by_minute`` and ``curve`` equal it.
        first_ms: earliest ``timestamp``, ms since the epoch; 0 if ``total`` is.
        last_ms: latest ``timestamp``; 0 if ``total`` is.
        last_received_ms: when an event of the match was last received, retracted ones included.
        by_type_team: (event type, team id, "" or :data:`shards.reads.teams.OTHERS`, count), sorted.
        by_minute: (start of the UTC minute in ms, count), sorted.
        curve: (start of the bucket in ms, team as above, count), sorted.
        bucket_ms: length of a bucket of ``curve``; divides a minute.
        start_metadata: metadata of the earliest ``match_start``, "" if there is none.
        ended: there is a ``match_end``.
        highlights: newest first, at most 100 besides at most 100 retractions; retracted ones are kept and marked.
        other_teams: teams that are counted together, as ``OTHERS``.
        earlier: highlights before those, and retractions before those.
        pending_events: accepted, but on disk only, and not in these figures yet.
        as_of_ms: when counting began, by the wall clock; every event acknowledged before is in. Not part of equality,
            as the next two.
        counted_at: the same moment or an earlier one of the monotonic clock, in s. From it the age is told, because
            the wall clock may have been set since. 0 if nobody noted it: that is long ago.
        quiet_ms: how long nothing had been received by then, whatever clocks showed; 0 if nobody worked it out.
    """

    match_id: str
    total: int
    first_ms: int
    last_ms: int
    last_received_ms: int
    by_type_team: tuple[tuple[str, str, int], ...]
    by_minute: tuple[tuple[int, int], ...]
    curve: tuple[tuple[int, str, int], ...] = ()
    bucket_ms: int = MINUTE_MS
    start_metadata: str = ""
    ended: bool = False
    highlights: tuple[Highlight, ...] = ()
    other_teams: int = 0
    earlier: tuple[int, int] = (0, 0)
    pending_events: int = 0
    as_of_ms: int = attrs.field(default=0, eq=False)
    counted_at: float = attrs.field(default=0.0, eq=False)
    quiet_ms: int = attrs.field(default=0, eq=False)

    @property
    def is_crowded(self) -> bool:
        """Whether it has more teams or highlights than an answer tells one by one."""
        return self.other_teams > 0 or sum(self.earlier) > 0

    @property
    def latest_ms(self) -> int:
        """Time of the latest event, ms; not beyond the last receipt, because clients' clocks may be ahead."""
        return min(self.last_ms, self.last_received_ms)


GroupHighlight = tuple[int, int, str, str, int]
NO_START = (0, 0, "")
LAST_VERSION = 2**64 - 1
"""Highest version: a row's version is this less its order."""


class Group(NamedTuple):
    """The events of one type and team of a match, including withdrawn ones.

    ``named`` is the id of an event that a retraction may have withdrawn; the group then holds that event alone.
    ``start`` is (timestamp, order, texts) of the earliest match_start, else :data:`NO_START`.
    ``targets`` are the ids that retractions name, in any spelling.
    ``highlights`` are (negative timestamp, version, id, texts, time of receipt in ms). Versions are the table's: lower
    is later received. Texts are the table's column "highlight".
    """

    named: str
    event_type: str
    team_id: str
    events: int
    first_ms: int
    last_ms: int
    received_ms: int
    start: tuple[int, int, str]
    targets: Sequence[str]
    highlights: Sequence[GroupHighlight]


@attrs.frozen
class Counted:
    """Counts of one match.

    Attributes:
        groups: by type and team.
        curve: events by (start of the bucket in ms, team), without withdrawn ones.
        withdrawn: ids of the events that retractions name.
        lines: highlights, and retractions, withdrawn ones included.
    """

    groups: Sequence[Group] = ()
    curve: Mapping[tuple[int, str], int] = attrs.field(factory=dict)
    withdrawn: Set[str] = frozenset()
    lines: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, groups: Sequence[Group], buckets: Iterable[tuple[str, int, str, int]]) -> "Counted":
        """Return the counts; ``buckets`` are (named event or NOBODY, start of the bucket in ms, team, events)."""
        withdrawn = withdrawn_by(groups)
        standing = (((start, team), events) for named, start, team, events in buckets if named not in withdrawn)
        return cls(groups, _sums(standing), withdrawn, lines_of(groups))


@attrs.frozen
class Extremes:
    """Earliest and latest timestamp of the counted events, and the last receipt of any; ms, 0 for none."""

    first_ms: int
    last_ms: int
    received_ms: int


_Key = TypeVar("_Key")


def aggregates_of(
    match_id: str,
    counted: Counted,
    *,
    bucket_ms: int,
    as_of_ms: int,
    unread: int = 0,
    extremes: Extremes | None = None,
) -> MatchAggregates:
    """Return the aggregates of one match, without withdrawn events.

    Args:
        match_id: the match.
        counted: its counts.
        bucket_ms: length of the buckets.
        as_of_ms: when counting began.
        unread: pending events that are on disk only.
        extremes: used in place of the groups' own, if these are not reliable.
    """
    typed = [group for group in counted.groups if group.events and group.named not in counted.withdrawn]
    if extremes is None:
        extremes = _extremes(typed, counted.groups)
    highlights = _highlights(counted.groups, counted.withdrawn)
    aggregates = MatchAggregates(
        match_id=match_id,
        total=sum(group.events for group in typed),
        first_ms=extremes.first_ms,
        last_ms=extremes.last_ms,
        last_received_ms=extremes.received_ms or as_of_ms,
        by_type_team=_by_type_team(typed),
        by_minute=_by_minute(counted.curve),
        curve=tuple((start, team, n) for (start, team), n in sorted(counted.curve.items()) if n),
        bucket_ms=bucket_ms,
        start_metadata=_start_metadata(typed),
        ended=any(group.event_type == "match_end" for group in typed),
        highlights=highlights,
        earlier=earlier_than(highlights, counted.lines),
        pending_events=unread,
        as_of_ms=as_of_ms,
    )
    return bounded(aggregates)


def bounded(aggregates: MatchAggregates, *, teams: int | None = None) -> MatchAggregates:
    """Return aggregates with at most 50 teams, the sides always among them.

    Args:
        aggregates: of a match.
        teams: how many it has, if some of them are added up already.
    """
    by_type_team, curve = aggregates.by_type_team, aggregates.curve
    sides = match_sides(aggregates.start_metadata)
    kept = kept_teams(by_type_team, (sides.home.id, sides.away.id) if sides else ())
    teams = count_teams(by_type_team) if teams is None else teams
    if kept is not None:
        by_type_team, curve = folded_types(by_type_team, kept), folded_curve(curve, kept)
    others = teams - count_teams(by_type_team)
    return attrs.evolve(aggregates, by_type_team=by_type_team, curve=curve, other_teams=others)


def lines_of(groups: Iterable[Group]) -> tuple[int, int]:
    """Return how many highlights there are, and how many retractions."""
    found = [0, 0]
    for group in groups:
        if group.event_type in HIGHLIGHT_TYPES:
            found[group.event_type == RETRACTION] += group.events
    return found[0], found[1]


def withdrawn_by(groups: Iterable[Group]) -> set[str]:
    """Return the ids of the events that retractions name."""
    return {canonical_id(target) for group in groups for target in group.targets} - {"", NOBODY}


def _extremes(counted: Sequence[Group], groups: Sequence[Group]) -> Extremes:
    return Extremes(
        first_ms=min((group.first_ms for group in counted), default=0),
        last_ms=max((group.last_ms for group in counted), default=0),
        received_ms=max((group.received_ms for group in groups), default=0),
    )


def _by_type_team(groups: Iterable[Group]) -> tuple[tuple[str, str, int], ...]:
    sums = _sums(((group.event_type, group.team_id), group.events) for group in groups)
    return tuple((event_type, team, n) for (event_type, team), n in sorted(sums.items()) if n)


def _by_minute(curve: Mapping[tuple[int, str], int]) -> tuple[tuple[int, int], ...]:
    sums = _sums((start // MINUTE_MS * MINUTE_MS, count) for (start, _), count in curve.items())
    return tuple((start, n) for start, n in sorted(sums.items()) if n)


def _start_metadata(groups: Iterable[Group]) -> str:
    """Return the metadata of the earliest match_start, "" if there is none."""
    starts = [group.start for group in groups if group.start[2]]
    return texts_of(min(starts)[2])[0] if starts else ""


def _sums(counts: Iterable[tuple[_Key, int]]) -> dict[_Key, int]:
    sums: dict[_Key, int] = {}
    for key, count in counts:
        sums[key] = sums.get(key, 0) + count
    return sums


def _highlights(groups: Sequence[Group], withdrawn: Collection[str]) -> tuple[Highlight, ...]:
    """Return the highlights, newest first; at equal times the one received later first."""
    shown = []
    for is_retraction in (True, False):
        of_kind = [group for group in groups if (group.event_type == RETRACTION) is is_retraction]
        found = sorted((*values, group.event_type, group.team_id) for group in of_kind for values in group.highlights)
        shown += found[:HIGHLIGHTS]
    return tuple(_highlight(*values, withdrawn) for values in sorted(shown))


def _highlight(
    negative_at: int,
    version: int,
    event_id: str,
    texts: str,
    received_ms: int,
    event_type: str,
    team_id: str,
    withdrawn: Collection[str],
) -> Highlight:
    metadata, player_id = texts_of(texts)
    return Highlight(
        event_id=event_id,
        event_type=event_type,
        timestamp=-negative_at,
        team_id=team_id,
        player_id=player_id,
        metadata=shortened(metadata),
        retracted=event_id in withdrawn,
        received_ms=received_ms,
        order_ms=(LAST_VERSION - version) // 1_000_000,
    )
