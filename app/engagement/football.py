"""What people who know football ask of a match: score, shoot-out, cards, who pushed, what the crowd does now.

Pure functions over :class:`~shards.MatchAggregates`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from operator import itemgetter
from statistics import median
from typing import Any, Final

from app.engagement.clock import MatchStanding, played_minutes
from app.engagement.curves import NOT_ONE, PeakPeriod
from app.engagement.sides import Sides, match_sides, metadata_of
from app.schemas.values import card_of, player_of
from app.times import iso_ms, iso_s
from shards import MINUTE_MS, Highlight, MatchAggregates

CAUSE_BEFORE_MS: Final = MINUTE_MS
"""Milliseconds before a peak within which a highlight counts as its cause, because a crowd answers a goal."""

_CAUSES: Final = ("goal", "own_goal", "penalty", "red_card", "card", "var_review", "retraction", "shootout_goal")
_LESSER_CAUSES: Final = ("shootout_miss", "match_end", "match_start", "half_end", "yellow_card", "substitution")
CAUSES: Final = {event_type: rank for rank, event_type in enumerate((*_CAUSES, *_LESSER_CAUSES))}
"""Types of highlights that move a crowd, the strongest first."""


def match_score(aggregates: MatchAggregates) -> dict[str, int] | None:
    """Return goals by side; an own goal counts for the other side.

    None while the sides are not known, or when a goal belongs to neither, because half a score would be a wrong one.
    """
    return _by_side(aggregates, own=("goal",), other=("own_goal",))


def match_shootout(aggregates: MatchAggregates) -> dict[str, int] | None:
    """Return the kicks of the shoot-out that were scored, by side; None without one, and as for the score."""
    kicks = [n for event_type, _, n in aggregates.by_type_team if event_type in ("shootout_goal", "shootout_miss")]
    return _by_side(aggregates, own=("shootout_goal",), other=(), also=("shootout_miss",)) if kicks else None


def _by_side(
    aggregates: MatchAggregates, *, own: Iterable[str], other: Iterable[str], also: Iterable[str] = ()
) -> dict[str, int] | None:
    sides = match_sides(aggregates.start_metadata)
    if sides is None:
        return None
    sums = {"home": 0, "away": 0}
    for event_type, team_id, count in aggregates.by_type_team:
        if event_type not in (*own, *other, *also):
            continue
        side = side_of(sides, team_id, other=event_type in other)
        if side is None:
            return None
        sums[side] += count if event_type not in also else 0
    return sums


def side_of(sides: Sides | None, team_id: str, *, other: bool = False) -> str | None:
    """Return ``home`` or ``away`` for a team's id, the ``other`` side for what counts for that one; else None."""
    if sides is None or team_id not in (sides.home.id, sides.away.id):
        return None
    return "home" if (team_id == sides.home.id) is not other else "away"


def match_cards(aggregates: MatchAggregates) -> tuple[int, int]:
    """Return yellow and red cards; a second yellow is one of each.

    A ``card`` before the newest 100 of its type counts as yellow, whatever it was.
    """
    counts = dict.fromkeys(("yellow_card", "red_card", "card"), 0)
    for event_type, _, count in aggregates.by_type_team:
        if event_type in counts:
            counts[event_type] += count
    bookings = [card_of("card", metadata_of(one.metadata)) for one in aggregates.course if one.event_type == "card"]
    unread = max(0, counts["card"] - len(bookings))
    return (
        counts["yellow_card"] + unread + sum(yellow for yellow, _ in bookings),
        counts["red_card"] + sum(red for _, red in bookings),
    )


def counts_by_type_and_team(aggregates: MatchAggregates) -> dict[str, dict[str, int]]:
    """Return the events of each team that has a place of its own, by type; types and teams with the most first."""
    found: dict[str, list[tuple[str, int]]] = {}
    for event_type, team_id, count in sorted(aggregates.by_type_team, key=itemgetter(2), reverse=True):
        if team_id not in NOT_ONE:
            found.setdefault(event_type, []).append((team_id, count))
    largest = sorted(found.items(), key=lambda entry: (-sum(count for _, count in entry[1]), entry[0]))
    return {event_type: dict(teams) for event_type, teams in largest}


def last_minute(aggregates: MatchAggregates, standing: MatchStanding) -> dict[str, Any] | None:
    """Return what happened in the last minute, None unless the match is live, and followed as it is played.

    ``usual`` is the median of the played minutes that are over, None while there is none.
    """
    if standing.status != "live" or standing.now_ms < aggregates.as_of_ms - MINUTE_MS:
        return None
    by_type = sorted(aggregates.recent, key=lambda entry: (-entry[1], entry[0]))
    return {
        "eventCount": sum(count for _, count in by_type),
        "usual": _usual(aggregates, standing),
        "byType": dict(by_type),
    }


def _usual(aggregates: MatchAggregates, standing: MatchStanding) -> float | None:
    counts = dict(aggregates.by_minute)
    running = standing.now_ms // MINUTE_MS * MINUTE_MS
    played = {minute for minute, _ in played_minutes(standing.course, standing.now_ms) if minute < running}
    return float(median(counts.get(minute, 0) for minute in played)) if played else None


def momentum_by_minute(aggregates: MatchAggregates) -> list[dict[str, Any]]:
    """Return the weights of what each side did, by UTC minute, earliest first; empty while the sides are not known.

    The weights are those of :data:`shards.stores.derived.WEIGHTS`, summed in whole thousandths.
    """
    sides = match_sides(aggregates.start_metadata)
    if sides is None:
        return []
    home, away = defaultdict[int, int](int), defaultdict[int, int](int)
    of_team = {sides.home.id: home, sides.away.id: away}
    for start_ms, team_id, weight in aggregates.momentum:
        if (sums := of_team.get(team_id)) is not None:
            sums[start_ms - start_ms % MINUTE_MS] += weight
    return [
        {"minute": iso_s(minute), "home": home.get(minute, 0) / 1000, "away": away.get(minute, 0) / 1000}
        for minute in sorted(home.keys() | away.keys())
    ]


def cause_of(peak: PeakPeriod, highlights: Iterable[Highlight]) -> Highlight | None:
    """Return the highlight in or just before a peak that moved the crowd most; of equal ones the earliest."""
    found = [
        highlight
        for highlight in highlights
        if highlight.event_type in CAUSES
        and not highlight.retracted
        and peak.start_ms - CAUSE_BEFORE_MS <= highlight.timestamp < peak.end_ms
    ]
    return min(found, key=lambda one: (CAUSES[one.event_type], one.timestamp), default=None)


def cause_view(cause: Highlight | None) -> Mapping[str, Any] | None:
    """Return the cause of a peak as the API shows it."""
    if cause is None:
        return None
    return {
        "eventId": cause.event_id,
        "eventType": cause.event_type,
        "timestamp": iso_ms(cause.timestamp),
        "teamId": cause.team_id or None,
        "player": player_of(metadata_of(cause.metadata)) or cause.player_id or None,
    }
