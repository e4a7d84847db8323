"""The aggregates of a match, put together from the rows of an answer. Pure functions."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence, Set
from typing import Any

import attrs

from shards.events import HIGHLIGHT_TYPES, RETRACTION
from shards.reads.counts import LAST_VERSION, Counted, Curves, Extremes, Group, GroupHighlight, extremes_of, sums
from shards.reads.highlights import HIGHLIGHTS, Highlight, earlier_than
from shards.reads.kinds import COURSE_TYPES
from shards.reads.sides import match_sides
from shards.reads.teams import count_teams, folded_curve, folded_types, kept_teams
from shards.reads.texts import shortened, texts_of

MINUTE_MS = 60_000


@attrs.frozen(kw_only=True)
class MatchAggregates:
    """Counts over the distinct events of one match that are not withdrawn.

    Attributes:
        match_id: the match.
        total: events; the sums of ``by_type_team``, ``by_minute`` and ``curve`` equal it.
        first_ms: earliest ``timestamp``, ms since the epoch; 0 if ``total`` is.
        last_ms: latest ``timestamp``; 0 if ``total`` is.
        last_received_ms: when an event of the match was last received, withdrawn ones included.
        by_type_team: (event type, team id, "" or :data:`shards.reads.teams.OTHERS`, count), sorted.
        by_minute: (start of the UTC minute in ms, count), sorted.
        curve: (start of the bucket in ms, team as above, count), sorted.
        momentum: (start of the bucket in ms, team as above, weights in whole thousandths), sorted.
        feed_by_minute: as ``by_minute``, of the match's own events.
        recent: (event type, count) of the last minute before ``as_of_ms``, in six buckets, sorted.
        bucket_ms: length of a bucket of ``curve`` and ``momentum``; divides a minute.
        start_metadata: metadata of the earliest ``match_start`` whose sides can be read; where there is none, of the
            earliest one, "" if there is none either.
        course: whistles, kicks of the shoot-out, and cards whose colour stands in their metadata, in the order of their
            timestamps, then of their receipt; of each type the newest 100 at most.
        feed_last_ms: latest ``timestamp`` of the match's own events; 0 if there is none.
        feed_received_ms: when one of these was last received; 0 if there is none.
        play_first_ms: earliest ``timestamp`` of an event in play; 0 if there is none.
        play_last_ms: latest one.
        highlights: newest first, at most 100 besides at most 100 retractions; withdrawn ones are kept and marked.
        other_teams: teams that are counted together, as ``OTHERS``.
        earlier: highlights before those, and retractions before those.
        pending_events: accepted, but on disk only, and not in these figures yet.
        as_of_ms: when counting began, by the wall clock; every event acknowledged before is in. Not part of equality,
            as the next two.
        counted_at: the same moment or an earlier one of the monotonic clock, in s. From it the age is told, because
            the wall clock may have been set since. 0 if nobody noted it: that is long ago.
        quiet_ms: how long nothing of the match itself, and where there is nothing of it nothing at all, had been
            received by then, whatever clocks showed; 0 if nobody worked it out.
    """

    match_id: str
    total: int
    first_ms: int
    last_ms: int
    last_received_ms: int
    by_type_team: tuple[tuple[str, str, int], ...]
    by_minute: tuple[tuple[int, int], ...]
    curve: tuple[tuple[int, str, int], ...] = ()
    momentum: tuple[tuple[int, str, int], ...] = ()
    feed_by_minute: tuple[tuple[int, int], ...] = ()
    recent: tuple[tuple[str, int], ...] = ()
    bucket_ms: int = MINUTE_MS
    start_metadata: str = ""
    course: tuple[Highlight, ...] = ()
    feed_last_ms: int = 0
    feed_received_ms: int = 0
    play_first_ms: int = 0
    play_last_ms: int = 0
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
    highlights = _highlights(counted.groups, counted.withdrawn)
    course = _course(counted.groups, counted.withdrawn)
    aggregates = MatchAggregates(
        match_id=match_id,
        total=sum(group.events for group in typed),
        by_type_team=_by_type_team(typed),
        recent=tuple(sorted(sums((group.event_type, group.recent) for group in typed).items())),
        start_metadata=start_metadata_of(_starts(typed, counted.withdrawn)),
        course=course,
        highlights=highlights,
        earlier=earlier_than(highlights, counted.lines),
        pending_events=unread,
        as_of_ms=as_of_ms,
        **moments(extremes or extremes_of(counted.groups, counted.withdrawn), as_of_ms),
        **curve_fields(counted.curves, bucket_ms),
    )
    return bounded(aggregates)


def moments(extremes: Extremes, as_of_ms: int) -> dict[str, Any]:
    """Return the fields of aggregates that are moments."""
    found = attrs.asdict(extremes)
    return {"last_received_ms": found.pop("received_ms") or as_of_ms, **found}


def curve_fields(curves: Curves, bucket_ms: int) -> dict[str, Any]:
    """Return the fields of aggregates that tell what happened when."""
    return {
        "bucket_ms": bucket_ms,
        "curve": curves.events,
        "momentum": curves.weights,
        "by_minute": _by_minute((start, n) for start, _, n in curves.events),
        "feed_by_minute": curves.feed if bucket_ms == MINUTE_MS else _by_minute(curves.feed),
    }


def bounded(aggregates: MatchAggregates, *, teams: int | None = None) -> MatchAggregates:
    """Return aggregates with at most 50 teams, the sides always among them.

    Args:
        aggregates: of a match.
        teams: how many it has, if some of them are added up already.
    """
    by_type_team, curve, momentum = aggregates.by_type_team, aggregates.curve, aggregates.momentum
    sides = match_sides(aggregates.start_metadata)
    kept = kept_teams(by_type_team, (sides.home.id, sides.away.id) if sides else ())
    teams = count_teams(by_type_team) if teams is None else teams
    if kept is not None:
        by_type_team, curve = folded_types(by_type_team, kept), folded_curve(curve, kept)
        momentum = folded_curve(momentum, kept)
    others = teams - count_teams(by_type_team)
    return attrs.evolve(aggregates, by_type_team=by_type_team, curve=curve, momentum=momentum, other_teams=others)


def start_metadata_of(starts: Iterable[str]) -> str:
    """Return the first metadata whose sides can be read, else the first one, "" if there is none."""
    first = ""
    for metadata in starts:
        if match_sides(metadata) is not None:
            return metadata
        first = first or metadata
    return first


def _by_type_team(groups: Iterable[Group]) -> tuple[tuple[str, str, int], ...]:
    counts = sums(((group.event_type, group.team_id), group.events) for group in groups)
    return tuple((event_type, team, n) for (event_type, team), n in sorted(counts.items()))


def _by_minute(counts: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    by_minute: defaultdict[int, int] = defaultdict(int)
    for start_ms, count in counts:
        by_minute[start_ms - start_ms % MINUTE_MS] += count
    return tuple(sorted(by_minute.items()))


def _starts(groups: Iterable[Group], withdrawn: Set[str]) -> Iterable[str]:
    """Yield the metadata of the starts that stand, earliest first."""
    starts = {group.start for group in groups if group.start[2]}
    starts |= {
        (-negative_at, LAST_VERSION - version, texts)
        for group in groups
        if group.event_type == "match_start"
        for negative_at, version, event_id, texts, *_ in group.highlights
        if event_id not in withdrawn
    }
    return (texts_of(texts)[0] for _, _, texts in sorted(starts))


def _highlights(groups: Sequence[Group], withdrawn: Collection[str]) -> tuple[Highlight, ...]:
    """Return the highlights, newest first; at equal times the one received later first."""
    shown: list[tuple[GroupHighlight, str, str]] = []
    for is_retraction in (True, False):
        found = sorted(
            (highlight, group.event_type, group.team_id)
            for group in groups
            if group.event_type in HIGHLIGHT_TYPES and (group.event_type == RETRACTION) is is_retraction
            for highlight in group.highlights
        )
        shown += found[:HIGHLIGHTS]
    return tuple(_highlight(*found, withdrawn) for found in sorted(shown))


def _course(groups: Iterable[Group], withdrawn: Collection[str]) -> tuple[Highlight, ...]:
    of_types: dict[str, list[tuple[GroupHighlight, str, str]]] = {}
    for group in groups:
        if group.event_type in COURSE_TYPES:
            found = [(highlight, group.event_type, group.team_id) for highlight in group.highlights]
            of_types.setdefault(group.event_type, []).extend(found)
    newest = (found for of_type in of_types.values() for found in sorted(of_type)[:HIGHLIGHTS])
    # The newest one is the least of them: of one moment the one received last.
    in_order = sorted((found for found in newest if found[0][2] not in withdrawn), reverse=True)
    return tuple(_highlight(*found, withdrawn) for found in in_order)


def _highlight(found: GroupHighlight, event_type: str, team_id: str, withdrawn: Collection[str]) -> Highlight:
    negative_at, version, event_id, texts, received_ms, _ = found
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
