"""Engagement metrics: from the aggregates of a match to the JSON of the API. Pure functions, no clock, no I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from app.engagement.axis import match_points
from app.engagement.clock import MatchStanding, clock_view, standing_of
from app.engagement.curves import (
    MOMENTUM_MS,
    NOT_ONE,
    CurveWanted,
    leader_of,
    momentum_start_ms,
    peak_periods,
    points_of,
    team_shares,
    view_of_shares,
)
from app.engagement.football import (
    cause_of,
    cause_view,
    counts_by_type_and_team,
    last_minute,
    match_cards,
    match_score,
    match_shootout,
    momentum_by_minute,
)
from app.engagement.sides import match_details, match_sides, team_names
from app.times import iso_ms, iso_of, iso_s
from shards import OTHERS, Highlight, MatchAggregates, StoreState

Percentiles = Mapping[str, float | None]

BUSIEST_MINUTES = 5
"""Busiest minutes that are named."""

NO_PERCENTILES: Percentiles = {"p50": None, "p95": None, "p99": None}
"""Percentiles where nobody asked about the match in the last five minutes."""


def metrics_view(
    aggregates: MatchAggregates,
    *,
    percentiles: Percentiles = NO_PERCENTILES,
    curve: CurveWanted | None = None,
    store: StoreState | None = None,
) -> dict[str, Any]:
    """Return the reply of ``GET /api/matches/{matchId}/metrics``, ready for JSON.

    Args:
        aggregates: what :class:`shards.reads.matches.MatchReads` counted; ``asOf`` is when it began to count.
        percentiles: ``p50 p95 p99`` in ms, None where nobody asked about the match lately.
        curve: what to add as ``curve``; its buckets must not be shorter than those of ``aggregates``.
        store: state of ClickHouse, None where it is not told.
    """
    standing = standing_of(aggregates)
    by_type, by_team = _counts_by_type(aggregates), _counts_by_team(aggregates)
    busiest = sorted(aggregates.by_minute, key=lambda minute: (-minute[1], minute[0]))[:BUSIEST_MINUTES]
    names = team_names(match_sides(aggregates.start_metadata))
    view = {
        "matchId": aggregates.match_id,
        **_stand(standing),
        "asOf": iso_ms(aggregates.as_of_ms),
        "pendingEvents": aggregates.pending_events,
        "totalEvents": aggregates.total,
        "eventsByType": _largest_first(by_type),
        "eventsByTeam": _largest_first(by_team),
        "otherTeams": {"teams": aggregates.other_teams, "events": _events_of_others(aggregates)},
        **_football(aggregates, standing, by_type),
        **_between(aggregates),
        "eventsPerMinute": [_period("minute", start, count) for start, count in sorted(aggregates.by_minute)],
        "peakMinute": _period("minute", *busiest[0]) if busiest else None,
        "peakEngagementPeriods": [_period("timestamp", start, count) for start, count in busiest],
        "peakPeriods": _peak_periods(aggregates),
        "engagementByTeam": view_of_shares(
            [share for share in team_shares(aggregates) if share.team_id != OTHERS], names
        ),
        "momentum": _momentum(aggregates, names),
        "momentumByMinute": momentum_by_minute(aggregates),
        "earlierHighlights": aggregates.earlier[0],
        "earlierRetractions": aggregates.earlier[1],
        "store": store_view(store),
        "responseTimePercentiles": dict(percentiles),
    }
    return view if curve is None else view | {"curve": _curve(aggregates, curve, standing)}


def _between(aggregates: MatchAggregates) -> dict[str, Any]:
    return {
        "firstEventAt": iso_ms(aggregates.first_ms) if aggregates.total else None,
        "lastEventAt": iso_ms(aggregates.last_ms) if aggregates.total else None,
    }


def _stand(standing: MatchStanding) -> dict[str, Any]:
    return {
        "status": standing.status,
        "endedBy": standing.ended_by,
        "phase": standing.phase,
        "clock": clock_view(standing),
    }


def _football(aggregates: MatchAggregates, standing: MatchStanding, by_type: Mapping[str, int]) -> dict[str, Any]:
    yellow, red = match_cards(aggregates)
    return {
        "goals": by_type["goal"] + by_type["own_goal"],
        "score": match_score(aggregates),
        "shootout": match_shootout(aggregates),
        "yellowCards": yellow,
        "redCards": red,
        "eventsByTypeAndTeam": counts_by_type_and_team(aggregates),
        "lastMinute": last_minute(aggregates, standing),
    }


def match_summary(aggregates: MatchAggregates) -> dict[str, Any]:
    """Return one entry of ``GET /api/matches``: enough for a list, without curve and breakdown."""
    by_type = _counts_by_type(aggregates)
    sides, standing = match_sides(aggregates.start_metadata), standing_of(aggregates)
    return {
        "matchId": aggregates.match_id,
        **_stand(standing),
        "home": attrs.asdict(sides.home) if sides else None,
        "away": attrs.asdict(sides.away) if sides else None,
        **match_details(aggregates.start_metadata),
        "totalEvents": aggregates.total,
        "pendingEvents": aggregates.pending_events,
        "goals": by_type["goal"] + by_type["own_goal"],
        "score": match_score(aggregates),
        "shootout": match_shootout(aggregates),
        **_between(aggregates),
        "lastReceivedAt": iso_ms(aggregates.last_received_ms),
    }


def store_view(store: StoreState | None) -> dict[str, Any] | None:
    """Return the state of ClickHouse as the API shows it: ``healthy`` or ``unhealthy``, and since when."""
    if store is None:
        return None
    return {"status": "healthy" if store.up else "unhealthy", "since": iso_of(store.since)}


def highlight_view(highlight: Highlight, match_id: str) -> dict[str, Any]:
    """Return a highlight as the stream sends it. ``metadata`` is a ``msgspec.Raw``: the text the client sent."""
    return {
        "matchId": match_id,
        "eventId": highlight.event_id,
        "eventType": highlight.event_type,
        "timestamp": iso_ms(highlight.timestamp),
        "teamId": highlight.team_id or None,
        "playerId": highlight.player_id or None,
        "metadata": msgspec.Raw((highlight.metadata or "{}").encode()),
        "retracted": highlight.retracted,
    }


def _counts_by_type(aggregates: MatchAggregates) -> Counter[str]:
    return _sum((event_type, count) for event_type, _, count in aggregates.by_type_team)


def _counts_by_team(aggregates: MatchAggregates) -> Counter[str]:
    """Return the events of each team that has a place of its own; those that belong to no team are left out."""
    return _sum((team_id, count) for _, team_id, count in aggregates.by_type_team if team_id not in NOT_ONE)


def _events_of_others(aggregates: MatchAggregates) -> int:
    return sum(count for _, team_id, count in aggregates.by_type_team if team_id == OTHERS)


def _sum(counts: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for key, count in counts:
        total[key] += count
    return total


def _largest_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(((key, n) for key, n in counts.items() if n), key=lambda entry: (-entry[1], entry[0])))


def _period(name: str, start_ms: int, count: int) -> dict[str, Any]:
    return {name: iso_s(start_ms), "eventCount": count}


def _peak_periods(aggregates: MatchAggregates) -> list[dict[str, Any]]:
    return [
        {
            "from": iso_s(period.start_ms),
            "to": iso_s(period.end_ms),
            "eventCount": period.count,
            "excess": round(period.excess, 1),
            "cause": cause_view(cause_of(period, aggregates.highlights)),
        }
        for period in peak_periods(aggregates.by_minute)
    ]


def _momentum(aggregates: MatchAggregates, names: Mapping[str, str]) -> dict[str, Any] | None:
    if not aggregates.total:
        return None
    start_ms = momentum_start_ms(aggregates)
    shares = team_shares(aggregates, from_ms=start_ms, to_ms=start_ms + MOMENTUM_MS)
    others = next((share.count for share in shares if share.team_id == OTHERS), 0)
    shares = [share for share in shares if share.team_id != OTHERS]
    return {
        "from": iso_s(start_ms),
        "to": iso_s(start_ms + MOMENTUM_MS),
        "teams": view_of_shares(shares, names),
        "leader": leader_of(shares),
        **_others(others),
    }


def _others(events: int) -> dict[str, Any]:
    """Return the member for the teams without a place of their own; none where they did nothing."""
    return {"otherTeams": {"events": events}} if events else {}


def _curve(aggregates: MatchAggregates, wanted: CurveWanted, standing: MatchStanding) -> dict[str, Any]:
    on_match = wanted.axis == "match"
    points = match_points(aggregates, wanted, standing) if on_match else points_of(aggregates, wanted)
    return {
        "bucket": wanted.bucket,
        "axis": wanted.axis,
        "from": None if wanted.from_ms is None else iso_ms(wanted.from_ms),
        "to": None if wanted.to_ms is None else iso_ms(wanted.to_ms),
        "points": [
            {"timestamp": iso_s(point.start_ms), "eventCount": point.count, "eventsByTeam": point.by_team}
            | dict(point.place)
            | _others(point.others)
            for point in points
        ],
    }
