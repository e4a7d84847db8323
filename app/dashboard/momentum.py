"""Each team's part of the last minutes, which says who drives the match. Pure functions."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from app.dashboard.formats import percent
from app.engagement.sides import Sides

TEAMS_SHOWN = 2
"""Teams that are shown; the events of any others are added up."""


@attrs.frozen(kw_only=True)
class Part:
    """One team's part, in the order of the score; ``x`` and ``width`` in percent."""

    name: str
    percent: str
    x: float
    width: float
    leads: bool


@attrs.frozen(kw_only=True)
class Momentum:
    """The minutes that end with the last event.

    Attributes:
        span: from when to when, hours and minutes, UTC.
        named: the parts need their names; otherwise they stand under those of the score.
        parts: empty while no team did anything.
        spoken: all of it as a sentence.
    """

    span: str
    named: bool
    parts: tuple[Part, ...]
    spoken: str


def momentum_of(metrics: Mapping[str, Any], sides: Sides | None) -> Momentum | None:
    """Return what the metrics API says under ``momentum``; None while no team has done anything in the match."""
    if not metrics["engagementByTeam"] and not metrics["otherTeams"]["events"]:
        return None
    found = metrics["momentum"]
    began, ended = _time(found["from"]), _time(found["to"])
    others = found.get("otherTeams", {"events": 0})["events"]
    parts = tuple(_parts(found, sides, others)) if found["teams"] or others else ()
    return Momentum(
        span=f"{began}\u2013{ended}",
        named=sides is None,
        parts=parts,
        spoken=f"Momentum from {began} to {ended}, by events of the teams: {_in_words(parts)}.",
    )


def _parts(found: Mapping[str, Any], sides: Sides | None, others: int) -> Iterator[Part]:
    """Yield the parts; ``others`` are the events of the teams that are not named."""
    shares = {team["teamId"]: team["share"] for team in found["teams"]}
    if sides is not None:
        shown = {side.id: side.name for side in (sides.home, sides.away)}
    else:
        # Sorted by id, not by size, so that nobody changes sides when the lead changes.
        shown = {team_id: f"Team {team_id}" for team_id in sorted(list(shares)[:TEAMS_SHOWN])}
    x = 0.0
    for team_id, name in shown.items():
        share = shares.pop(team_id, 0.0)
        yield _part(name, share, x=x, leads=team_id == found["leader"])
        x += share
    if shares or others:
        unnamed = others / (others + sum(team["eventCount"] for team in found["teams"]))
        yield _part("others", sum(shares.values()) + unnamed, x=x, leads=found["leader"] in shares)


def _part(name: str, share: float, *, x: float, leads: bool) -> Part:
    return Part(name=name, percent=percent(share), x=round(100 * x, 2), width=round(100 * share, 2), leads=leads)


def _in_words(parts: tuple[Part, ...]) -> str:
    if not parts:
        return "none"
    leader = next((part.name for part in parts if part.leads), None)
    figures = ", ".join(f"{part.name} {part.percent}" for part in parts)
    return f"most by {leader}; {figures}" if leader else f"level; {figures}"


def _time(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%H:%M")
