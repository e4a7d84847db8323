"""View models of the pages: everything a template shows, computed. Pure functions, no clock, no I/O."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import attrs

from app.dashboard.feed import FeedItem, Mark, feed_items, label, latest_that_stands, marks
from app.dashboard.formats import UNKNOWN, milliseconds, number, percent
from app.dashboard.headline import Headline, MatchState, headline_of, state_of
from app.dashboard.match_axis import match_curve
from app.dashboard.momentum import Momentum, momentum_of
from app.dashboard.timeline import Timeline, sparkline
from app.engagement.clock import standing_of
from app.engagement.sides import Sides, match_details, match_provider, match_sides, team_names
from shards import MatchAggregates

TYPES_SHOWN = 12
TEAMS_SHOWN = 6
NO_OTHERS: Mapping[str, int] = {"teams": 0, "events": 0}


@attrs.frozen(kw_only=True)
class Figure:
    """One number with its name."""

    name: str
    value: str
    kind: str = ""


@attrs.frozen(kw_only=True)
class Share:
    """One line of a breakdown; ``width`` in percent of the largest, ``part`` of the sum, where it says something."""

    name: str
    count: str
    width: float
    part: str = ""


@attrs.frozen(kw_only=True)
class MatchPage:
    """The page of one match.

    ``as_of_ms``: when the figures were counted, ms since the epoch. ``earlier``: highlights before those of the feed.
    """

    match_id: str
    url: str
    as_of_ms: int
    competition: str
    provider: str
    headline: Headline
    state: MatchState
    momentum: Momentum | None
    figures: tuple[Figure, ...]
    curve: Timeline
    curve_summary: str
    marks: tuple[Mark, ...]
    types: tuple[Share, ...]
    teams: tuple[Share, ...]
    feed: tuple[FeedItem, ...]
    earlier: str
    response_times: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class MatchCard:
    """One match in the overview."""

    match_id: str
    url: str
    provider: str
    headline: Headline
    state: MatchState
    total: str
    sparkline: Timeline
    pace: str
    last_highlight: FeedItem | None


def match_page(aggregates: MatchAggregates, metrics: Mapping[str, Any]) -> MatchPage:
    """Return the page of a match.

    Args:
        aggregates: what was counted.
        metrics: the reply of the metrics API for the same aggregates: page and API show the same figures.
    """
    sides, standing = match_sides(aggregates.start_metadata), standing_of(aggregates)
    timeline = match_curve(aggregates.by_minute, standing)
    return MatchPage(
        match_id=aggregates.match_id,
        url=match_url(aggregates.match_id),
        as_of_ms=aggregates.as_of_ms,
        competition=match_details(aggregates.start_metadata)["competition"] or "",
        provider=match_provider(aggregates.start_metadata),
        headline=headline_of(aggregates.match_id, sides, metrics),
        state=state_of(aggregates, standing),
        momentum=momentum_of(metrics, sides),
        figures=_figures(metrics, timeline),
        curve=timeline,
        curve_summary=_curve_summary(timeline),
        marks=marks(aggregates.highlights, timeline),
        types=_shares({label(name): n for name, n in metrics["eventsByType"].items()}, limit=TYPES_SHOWN),
        teams=_shares(
            _by_team_name(metrics["eventsByTeam"], sides), limit=TEAMS_SHOWN, parts=True, others=metrics["otherTeams"]
        ),
        feed=feed_items(aggregates, sides, standing),
        earlier=_earlier(sum(aggregates.earlier)),
        response_times=_response_times(metrics["responseTimePercentiles"]),
    )


def match_card(aggregates: MatchAggregates, metrics: Mapping[str, Any]) -> MatchCard:
    """Return the card of a match; arguments as for :func:`match_page`."""
    sides, standing = match_sides(aggregates.start_metadata), standing_of(aggregates)
    timeline = sparkline(aggregates.by_minute)
    return MatchCard(
        match_id=aggregates.match_id,
        url=match_url(aggregates.match_id),
        provider=match_provider(aggregates.start_metadata),
        headline=headline_of(aggregates.match_id, sides, metrics),
        state=state_of(aggregates, standing),
        total=number(aggregates.total),
        sparkline=timeline,
        pace=_pace(timeline, metrics),
        last_highlight=latest_that_stands(feed_items(aggregates, sides, standing)),
    )


def match_url(match_id: str) -> str:
    """Return the path of a match's page."""
    return "/matches/" + quote(match_id, safe="")


def _pace(timeline: Timeline, metrics: Mapping[str, Any]) -> str:
    if metrics["status"] == "live" and timeline.bars:
        last = timeline.bars[-1]
        return f"{number(last.count)} event{'' if last.count == 1 else 's'} at {last.label}"
    peak = metrics["peakMinute"]
    return f"{number(peak['eventCount'])} in the busiest minute" if peak else ""


def _figures(metrics: Mapping[str, Any], timeline: Timeline) -> tuple[Figure, ...]:
    peak = metrics["peakMinute"]
    figures = [
        Figure(name="Events", value=number(metrics["totalEvents"])),
        Figure(name="Goals", value=number(metrics["goals"]), kind="goal"),
        Figure(name="Yellow cards", value=number(metrics["yellowCards"]), kind="yellow"),
        Figure(name="Red cards", value=number(metrics["redCards"]), kind="red"),
        Figure(name="Busiest minute", value=number(peak["eventCount"]) if peak else UNKNOWN, kind="peak"),
    ]
    if timeline.bars and (last := timeline.bars[-1]).label[:1].isdigit():
        figures.append(Figure(name=f"Events at {last.label}", value=number(last.count)))
    return tuple(figures)


def _curve_summary(timeline: Timeline) -> str:
    """Say in a sentence what the curve shows, for those who do not see it."""
    if timeline.peak is None:
        return "No event yet."
    first, last, peak = timeline.bars[0], timeline.bars[-1], timeline.peak
    summary = (
        f"Events a minute from {first.label} to {last.label}; "
        f"busiest minute {peak.label} with {number(peak.count)} events, last minute {number(last.count)}."
    )
    periods = [f"{band.began} to {band.ended} with {number(band.count)} events" for band in timeline.bands]
    return f"{summary} Peak periods: {', '.join(periods)}." if periods else summary


def _by_team_name(counts: Mapping[str, int], sides: Sides | None) -> dict[str, int]:
    names = team_names(sides)
    shown: dict[str, int] = {}
    for team_id, count in counts.items():
        name = names.get(team_id, f"Team {team_id}")
        # Two teams may carry one name; their ids tell them apart.
        shown[name if name not in shown else f"{name} ({team_id})"] = count
    return shown


def _earlier(count: int) -> str:
    return f"and {number(count)} earlier" if count else ""


def _shares(
    counts: Mapping[str, int], *, limit: int, parts: bool = False, others: Mapping[str, int] = NO_OTHERS
) -> tuple[Share, ...]:
    """Return the largest ``limit`` counts, then what the others add up to; with ``parts``, each one's part of all."""
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    shown, rest = ordered[:limit], ordered[limit:]
    if more := len(rest) + others["teams"]:
        shown.append((f"{number(more)} others", sum(count for _, count in rest) + others["events"]))
    largest, total = max((count for _, count in shown), default=1), sum(counts.values()) + others["events"]
    return tuple(
        Share(
            name=name,
            count=number(count),
            width=round(100 * count / largest, 2),
            part=percent(count / total) if parts else "",
        )
        for name, count in shown
    )


def _response_times(percentiles: Mapping[str, float | None]) -> tuple[Figure, ...]:
    return tuple(Figure(name=name, value=milliseconds(value)) for name, value in percentiles.items())


def cards(matches: Sequence[tuple[MatchAggregates, Mapping[str, Any]]]) -> tuple[MatchCard, ...]:
    """Return the cards of several matches: live ones first, otherwise in the order given."""
    made = [match_card(aggregates, metrics) for aggregates, metrics in matches]
    return tuple(sorted(made, key=lambda card: card.state.status != "live"))
