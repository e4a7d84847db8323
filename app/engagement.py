"""Engagement metrics: from the aggregates of a match to the JSON of the API. Pure functions, no clock, no I/O."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import attrs
import msgspec

from app.curves import (
    MOMENTUM_MS,
    CurveWanted,
    leader_of,
    momentum_start_ms,
    peak_periods,
    points_of,
    team_shares,
    view_of_shares,
)
from shards.reads import Highlight, MatchAggregates

Status = Literal["live", "finished"]
Percentiles = Mapping[str, float | None]

QUIET_MS = 15 * 60 * 1000
"""A match that received nothing for so long is finished, ``match_end`` or not."""

BUSIEST_MINUTES = 5
"""How many of them are named."""

DIGITS_MAX = 1_000
"""Longer integers are read as floats; no number that is understood is that long."""

NO_PERCENTILES: Percentiles = {"p50": None, "p95": None, "p99": None}
"""Nobody asked about the match in the last five minutes."""


@attrs.frozen
class Side:
    """One side of a match. ``id`` is what events carry as ``teamId``; it is the name where none was sent."""

    id: str
    name: str


@attrs.frozen
class Sides:
    """Who plays at home, and who away."""

    home: Side
    away: Side


def match_sides(start_metadata: str) -> Sides | None:
    """Return the sides that the metadata of ``match_start`` names, None unless it names two different ones."""
    metadata = metadata_of(start_metadata)
    home, away = _side(metadata.get("home")), _side(metadata.get("away"))
    if home is None or away is None or home.id == away.id:
        return None
    return Sides(home, away)


def match_details(start_metadata: str) -> dict[str, str | None]:
    """Return ``competition`` and ``kickoff`` as ``match_start`` named them, None where it did not."""
    metadata = metadata_of(start_metadata)
    return {key: _text(metadata.get(key)) for key in ("competition", "kickoff")}


def match_provider(start_metadata: str) -> str:
    """Return who recorded the match, as ``match_start`` names it under ``provider``, to be named with its data."""
    return _text(metadata_of(start_metadata).get("provider")) or ""


def match_status(aggregates: MatchAggregates) -> Status:
    """``finished`` after ``match_end`` or 15 minutes without an event being received, else ``live``.

    As of when it was counted: while ClickHouse is away nobody can tell. Events that are on disk only are newer.
    """
    quiet_ms = aggregates.as_of_ms - aggregates.last_received_ms
    return "finished" if aggregates.ended or (quiet_ms > QUIET_MS and not aggregates.pending_events) else "live"


def match_score(aggregates: MatchAggregates) -> dict[str, int] | None:
    """Return goals by side; an own goal counts for the other side.

    None while the sides are not known, or when a goal belongs to neither: half a score would be a wrong one.
    """
    sides = match_sides(aggregates.start_metadata)
    if sides is None:
        return None
    own_side = {sides.home.id: "home", sides.away.id: "away"}
    other_side = {sides.home.id: "away", sides.away.id: "home"}
    score = {"home": 0, "away": 0}
    for event_type, team_id, count in aggregates.by_type_team:
        if event_type not in ("goal", "own_goal"):
            continue
        side = (own_side if event_type == "goal" else other_side).get(team_id)
        if side is None:
            return None
        score[side] += count
    return score


def metrics_view(
    aggregates: MatchAggregates,
    *,
    percentiles: Percentiles = NO_PERCENTILES,
    curve: CurveWanted | None = None,
) -> dict[str, Any]:
    """Return the reply of ``GET /api/matches/{matchId}/metrics``, ready for JSON.

    Args:
        aggregates: what :class:`shards.reads.MatchReads` counted; ``asOf`` is when it began to.
        percentiles: ``p50 p95 p99`` in ms, None where nobody asked about the match lately.
        curve: what to add as ``curve``; its buckets must not be shorter than those of ``aggregates``.
    """
    by_type, by_team = _counts_by_type(aggregates), _counts_by_team(aggregates)
    busiest = sorted(aggregates.by_minute, key=lambda minute: (-minute[1], minute[0]))[:BUSIEST_MINUTES]
    names = _team_names(aggregates)
    view = {
        "matchId": aggregates.match_id,
        "status": match_status(aggregates),
        "asOf": iso_ms(aggregates.as_of_ms),
        "pendingEvents": aggregates.pending_events,
        "totalEvents": aggregates.total,
        "eventsByType": _largest_first(by_type),
        "eventsByTeam": _largest_first(by_team),
        "goals": by_type["goal"] + by_type["own_goal"],
        "score": match_score(aggregates),
        "yellowCards": by_type["yellow_card"],
        "redCards": by_type["red_card"],
        "firstEventAt": iso_ms(aggregates.first_ms) if aggregates.total else None,
        "lastEventAt": iso_ms(aggregates.last_ms) if aggregates.total else None,
        "eventsPerMinute": [_period("minute", start, count) for start, count in sorted(aggregates.by_minute)],
        "peakMinute": _period("minute", *busiest[0]) if busiest else None,
        "peakEngagementPeriods": [_period("timestamp", start, count) for start, count in busiest],
        "peakPeriods": _peak_periods(aggregates),
        "engagementByTeam": view_of_shares(team_shares(aggregates), names),
        "momentum": _momentum(aggregates, names),
        "responseTimePercentiles": dict(percentiles),
    }
    return view if curve is None else view | {"curve": _curve(aggregates, curve)}


def match_summary(aggregates: MatchAggregates) -> dict[str, Any]:
    """Return one entry of ``GET /api/matches``: enough for a list, without curve and breakdown."""
    by_type = _counts_by_type(aggregates)
    sides = match_sides(aggregates.start_metadata)
    return {
        "matchId": aggregates.match_id,
        "status": match_status(aggregates),
        "home": attrs.asdict(sides.home) if sides else None,
        "away": attrs.asdict(sides.away) if sides else None,
        **match_details(aggregates.start_metadata),
        "totalEvents": aggregates.total,
        "pendingEvents": aggregates.pending_events,
        "goals": by_type["goal"] + by_type["own_goal"],
        "score": match_score(aggregates),
        "firstEventAt": iso_ms(aggregates.first_ms) if aggregates.total else None,
        "lastEventAt": iso_ms(aggregates.last_ms) if aggregates.total else None,
        "lastReceivedAt": iso_ms(aggregates.last_received_ms),
    }


def highlight_view(highlight: Highlight) -> dict[str, Any]:
    """Return a highlight as the stream sends it. ``metadata`` is a ``msgspec.Raw``: the text the client sent."""
    return {
        "eventId": highlight.event_id,
        "eventType": highlight.event_type,
        "timestamp": iso_ms(highlight.timestamp),
        "teamId": highlight.team_id or None,
        "playerId": highlight.player_id or None,
        "metadata": msgspec.Raw((highlight.metadata or "{}").encode()),
        "retracted": highlight.retracted,
    }


def iso_ms(timestamp_ms: int) -> str:
    """Return ms since the epoch as ISO 8601 in UTC with milliseconds: ``2024-01-15T14:00:00.000Z``."""
    seconds, rest_ms = divmod(timestamp_ms, 1000)
    return f"{_iso_second(seconds)}.{rest_ms:03d}Z"


def iso_minute(timestamp_ms: int) -> str:
    """Return the start of a minute or bucket as ISO 8601 in UTC without a fraction: ``2024-01-15T14:00:00Z``."""
    return f"{_iso_second(timestamp_ms // 1000)}Z"


@lru_cache(maxsize=1024)
def _iso_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").removesuffix("+00:00")


def _counts_by_type(aggregates: MatchAggregates) -> Counter[str]:
    return _sum((event_type, count) for event_type, _, count in aggregates.by_type_team)


def _counts_by_team(aggregates: MatchAggregates) -> Counter[str]:
    """Events that belong to no team are left out."""
    return _sum((team_id, count) for _, team_id, count in aggregates.by_type_team if team_id)


def _sum(counts: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for key, count in counts:
        total[key] += count
    return total


def _largest_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(((key, n) for key, n in counts.items() if n), key=lambda entry: (-entry[1], entry[0])))


def _period(name: str, start_ms: int, count: int) -> dict[str, Any]:
    return {name: iso_minute(start_ms), "eventCount": count}


def _peak_periods(aggregates: MatchAggregates) -> list[dict[str, Any]]:
    return [
        {
            "from": iso_minute(period.start_ms),
            "to": iso_minute(period.end_ms),
            "eventCount": period.count,
            "excess": round(period.excess, 1),
        }
        for period in peak_periods(aggregates.by_minute)
    ]


def _momentum(aggregates: MatchAggregates, names: Mapping[str, str]) -> dict[str, Any] | None:
    if not aggregates.total:
        return None
    start_ms = momentum_start_ms(aggregates)
    shares = team_shares(aggregates, from_ms=start_ms, to_ms=start_ms + MOMENTUM_MS)
    return {
        "from": iso_minute(start_ms),
        "to": iso_minute(start_ms + MOMENTUM_MS),
        "teams": view_of_shares(shares, names),
        "leader": leader_of(shares),
    }


def _curve(aggregates: MatchAggregates, wanted: CurveWanted) -> dict[str, Any]:
    return {
        "bucket": wanted.bucket,
        "from": None if wanted.from_ms is None else iso_ms(wanted.from_ms),
        "to": None if wanted.to_ms is None else iso_ms(wanted.to_ms),
        "points": [
            {"timestamp": iso_minute(point.start_ms), "eventCount": point.count, "eventsByTeam": point.by_team}
            for point in points_of(aggregates, wanted)
        ],
    }


def _team_names(aggregates: MatchAggregates) -> dict[str, str]:
    sides = match_sides(aggregates.start_metadata)
    return {side.id: side.name for side in (sides.home, sides.away)} if sides else {}


def metadata_of(text: str) -> dict[str, Any]:
    """Return the object that a JSON text is, empty where it is none."""
    try:
        value = json.loads(text, parse_int=_integer) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _integer(digits: str) -> int | float:
    """Python refuses to read an integer of thousands of digits, and the whole text with it."""
    return int(digits) if len(digits) <= DIGITS_MAX else float(digits)


def _side(value: object) -> Side | None:
    """``{"id":"1","name":"Al-Hilal"}``, or just a name; what is missing of the two is taken from the other."""
    if not isinstance(value, dict):
        value = {"name": value}
    side_id, name = _text(value.get("id"), strip=False), _text(value.get("name"))
    if side_id is None and name is None:
        return None
    return Side(id=side_id or name or "", name=name or side_id or "")


def _text(value: object, *, strip: bool = True) -> str | None:
    """A string that says something, or an integer as one; anything else is nothing that we understand."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    if not (stripped := text.strip()):
        return None
    return stripped if strip else text
