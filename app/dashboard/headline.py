"""The headline of a match, and how it stands, as pages say it. Pure functions."""

from collections.abc import Mapping
from typing import Any

import attrs

from app.dashboard.feed import NAME_MAX
from app.dashboard.formats import UNKNOWN, cut, match_minute_text, number, time_of_day
from app.engagement.clock import MatchStanding
from app.engagement.sides import Sides
from shards import MatchAggregates

PHASE_LABELS = {
    "before": "Live",
    "first_half": "1st half",
    "half_time": "Half-time",
    "second_half": "2nd half",
    "extra_time_break": "Break",
    "extra_time": "Extra time",
    "shootout": "Penalties",
    "suspended": "Suspended",
    "abandoned": "Abandoned",
    "postponed": "Postponed",
    "finished": "Full time",
}


@attrs.frozen(kw_only=True)
class Headline:
    """The sides, the score, and the shoot-out where there is one. ``home`` and ``away`` are empty while not known.

    ``home_whole`` and ``away_whole`` are their names where these are cut.
    """

    home: str
    away: str
    home_score: str
    away_score: str
    shootout: str = ""
    home_whole: str = ""
    away_whole: str = ""
    title: str
    spoken: str


@attrs.frozen(kw_only=True)
class MatchState:
    """The status of a match, its minute, and a note on events not counted yet."""

    status: str
    label: str
    minute: str
    note: str


def headline_of(match_id: str, sides: Sides | None, metrics: Mapping[str, Any]) -> Headline:
    """Return the headline of a match; ``metrics`` is the reply of the metrics API."""
    score = metrics["score"]
    home_score, away_score = (str(score["home"]), str(score["away"])) if score else (UNKNOWN, UNKNOWN)
    if sides is None:
        return Headline(
            home="", away="", home_score=UNKNOWN, away_score=UNKNOWN, title=match_id, spoken=f"Match {match_id}"
        )
    home, away = cut(sides.home.name, NAME_MAX), cut(sides.away.name, NAME_MAX)
    pens = metrics["shootout"]
    kicks = f", {pens['home']}:{pens['away']} on penalties" if pens else ""
    return Headline(
        home=home,
        away=away,
        home_whole="" if home == sides.home.name else sides.home.name,
        away_whole="" if away == sides.away.name else sides.away.name,
        home_score=home_score,
        away_score=away_score,
        shootout=f"{pens['home']}:{pens['away']}" if pens else "",
        title=f"{home} {home_score}:{away_score} {away}{kicks}",
        spoken=f"{home} {home_score}, {away} {away_score}{kicks}",
    )


def state_of(aggregates: MatchAggregates, standing: MatchStanding) -> MatchState:
    """Return how a match stands."""
    pending = aggregates.pending_events
    return MatchState(
        status=standing.status,
        label=_state_label(aggregates, standing),
        minute=_state_minute(standing),
        note=f"{number(pending)} more events are safe on disk and not counted yet" if pending else "",
    )


def _state_label(aggregates: MatchAggregates, standing: MatchStanding) -> str:
    if standing.ended_by == "quiet":
        last_ms = aggregates.feed_received_ms or aggregates.last_received_ms
        return f"No events since {time_of_day(last_ms)}"
    if standing.status == "upcoming" and standing.phase == "before":
        return "Upcoming"
    return PHASE_LABELS[standing.phase]


def _state_minute(standing: MatchStanding) -> str:
    """Return the minute while the clock runs, and where it stands because play was suspended or abandoned."""
    clock = standing.clock
    if clock is None or not (clock.running or standing.phase in ("suspended", "abandoned")):
        return ""
    return match_minute_text(clock.minute, clock.added)
