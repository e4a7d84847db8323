"""The axis of match minutes: a match put together from kick-off, half by half. Pure functions."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from app.engagement.clock import MatchStanding, Phase
from app.engagement.curves import CurveWanted, Point
from app.engagement.minutes import BEGINS_AT, split_minute
from app.engagement.whistles import SHOOTOUT, Period
from shards import MatchAggregates

_PHASES: Final[dict[int, Phase]] = {
    1: "first_half",
    2: "second_half",
    3: "extra_time",
    4: "extra_time",
    SHOOTOUT: "shootout",
}
_AFTER: Final[dict[int, Phase]] = {1: "half_time", 2: "extra_time_break", 3: "extra_time_break", 4: "extra_time_break"}


@attrs.frozen(eq=False)
class Section:
    """Time in one phase, from ``start_ms`` on and before ``end_ms``; ``period`` is None where none runs."""

    phase: Phase
    start_ms: int
    end_ms: int
    period: Period | None = None


def sections_of(standing: MatchStanding, *, first_ms: int, last_ms: int) -> tuple[Section, ...]:
    """Return the sections of a match in order, without gaps, from its first event to its last; none without a clock.

    Args:
        standing: of the match.
        first_ms: earliest event, ms since the epoch.
        last_ms: latest event.
    """
    end_ms = last_ms + 1
    found: list[Section] = []
    at_ms, gap = min(first_ms, end_ms), "before"
    for period in standing.course.periods:
        if period.start_ms is None:
            continue
        for began, ended in _runs(period, end_ms):
            began, ended = (max(at_ms, min(moment, end_ms)) for moment in (began, ended))
            found += _section(gap, at_ms, began)  # type: ignore[arg-type]
            found += _section(_PHASES[period.number], began, ended, period)
            at_ms, gap = max(began, ended), "suspended"
        gap = _AFTER.get(period.number, "finished")
    if not found:
        return ()
    ended = standing.course.state in ("ended", "abandoned")
    return (*found, *_section("finished" if ended else gap, at_ms, end_ms))  # type: ignore[arg-type]


def _section(phase: Phase, start_ms: int, end_ms: int, period: Period | None = None) -> Iterator[Section]:
    if start_ms < end_ms:
        yield Section(phase, start_ms, end_ms, period)


def _runs(period: Period, end_ms: int) -> Iterator[tuple[int, int]]:
    """Yield from when until when a period was played."""
    began = period.start_ms or 0
    for stopped, resumed in period.stops:
        yield began, stopped
        if resumed is None:
            return
        began = resumed
    yield began, end_ms if period.end_ms is None else period.end_ms


def section_at(sections: Sequence[Section], at_ms: int) -> Section:
    """Return the section of a moment, of at least one; behind the last one it is that one."""
    return next((section for section in sections if at_ms < section.end_ms), sections[-1])


def match_points(aggregates: MatchAggregates, wanted: CurveWanted, standing: MatchStanding) -> list[Point]:
    """Return the buckets that hold events on the axis of match minutes, earliest first.

    Outside of play they are buckets of UTC. A bucket of 10 s across an edge belongs where its middle lies.

    Args:
        aggregates: of the match; their own buckets are of 10 s.
        wanted: length and range of the buckets.
        standing: of the match.
    """
    sections = sections_of(standing, first_ms=aggregates.first_ms, last_ms=aggregates.last_ms)
    teams: dict[tuple[Any, ...], dict[str, int]] = {}
    starts: dict[tuple[Any, ...], int] = {}
    for start_ms, team_id, count in aggregates.curve:
        if wanted.holds(start_ms):
            place = _place(sections, standing, start_ms, aggregates.bucket_ms, wanted.bucket_ms)
            starts.setdefault(place, start_ms)
            by_team = teams.setdefault(place, {})
            by_team[team_id] = by_team.get(team_id, 0) + count
    points = [
        Point.of(starts[place], counts, dict(zip(("phase", "minute", "added", "second"), place, strict=False)))
        for place, counts in teams.items()
    ]
    return sorted(points, key=lambda point: point.start_ms)


def _place(
    sections: Sequence[Section], standing: MatchStanding, at_ms: int, read_ms: int, bucket_ms: int
) -> tuple[Any, ...]:
    """Return phase, minute, added time and second of a bucket; and what tells apart buckets outside of play."""
    middle_ms = at_ms + read_ms // 2
    section = section_at(sections, middle_ms) if sections else None
    if section is None or section.period is None or section.period.number == SHOOTOUT:
        return section.phase if section else "before", None, None, None, at_ms // bucket_ms
    began_ms, number = section.period.start_ms or 0, section.period.number
    stopped = sum(max(0, min(at_ms, ended or at_ms) - stop) for stop, ended in section.period.stops)
    bucket_s = bucket_ms // 1000
    elapsed_s = max(0, (at_ms + read_ms // 2 - began_ms - stopped) // 1000) // bucket_s * bucket_s
    minute, added = split_minute(number, BEGINS_AT[number] + elapsed_s // 60 + 1)
    return section.phase, minute, added, BEGINS_AT[number] * 60 + elapsed_s, number
