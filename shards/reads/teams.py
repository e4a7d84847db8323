"""The teams of an answer: at most 50 of their own, and what all others add up to. Pure functions."""

from collections.abc import Iterable

TEAMS = 50
"""Most teams of an answer: those with the most events, by id among equals, and the sides in any case."""

OTHERS = "\0"
"""Stands for all other teams together; no event can carry it, because ids hold no control characters."""

TypeCounts = tuple[tuple[str, str, int], ...]
"""(event type, team id, "" or :data:`OTHERS`, events), sorted."""

CurveCounts = tuple[tuple[int, str, int], ...]
"""(start of a bucket in ms, team as above, events), sorted."""


def kept_teams(by_type_team: TypeCounts, sides: Iterable[str]) -> frozenset[str] | None:
    """Return the teams that have counts of their own in an answer; None: all of them have."""
    events: dict[str, int] = {}
    for _, team_id, count in by_type_team:
        if team_id not in ("", OTHERS):
            events[team_id] = events.get(team_id, 0) + count
    if len(events) <= TEAMS:
        return None
    first = [side for side in sides if side in events]
    ranked = sorted(events.keys() - set(first), key=lambda team_id: (-events[team_id], team_id))
    return frozenset([*first, *ranked][:TEAMS])


def folded_types(by_type_team: TypeCounts, kept: frozenset[str]) -> TypeCounts:
    """Return the counts with those of all teams but the kept ones added up."""
    sums: dict[tuple[str, str], int] = {}
    for event_type, team_id, count in by_type_team:
        key = event_type, _place(team_id, kept)
        sums[key] = sums.get(key, 0) + count
    return tuple((*key, count) for key, count in sorted(sums.items()))


def folded_curve(curve: CurveCounts, kept: frozenset[str]) -> CurveCounts:
    """Return the curve with the counts of all teams but the kept ones added up."""
    sums: dict[tuple[int, str], int] = {}
    for start_ms, team_id, count in curve:
        key = start_ms, _place(team_id, kept)
        sums[key] = sums.get(key, 0) + count
    return tuple((*key, count) for key, count in sorted(sums.items()))


def count_teams(by_type_team: TypeCounts) -> int:
    """Return how many teams have counts of their own."""
    return len({team_id for _, team_id, _ in by_type_team} - {"", OTHERS})


def _place(team_id: str, kept: frozenset[str]) -> str:
    return team_id if not team_id or team_id in kept else OTHERS
