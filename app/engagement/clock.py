"""The clock of a match, its phase, and whether it is live: one place for metrics, lists, streams and pages.

Pure functions over :class:`~shards.MatchAggregates`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal

import attrs

from app.engagement.minutes import BEGINS_AT, ENDS_AT, running_minute, split_minute, stopped_minute
from app.engagement.sides import match_details
from app.engagement.whistles import SHOOTOUT, Course, Period, course_of
from app.schemas.values import minute_of, moment_of, period_of
from app.times import iso_ms
from shards import FEED_TYPES, MINUTE_MS, MatchAggregates, metadata_of

Status = Literal["upcoming", "live", "finished"]
Phase = Literal[
    "before",
    "first_half",
    "half_time",
    "second_half",
    "extra_time_break",
    "extra_time",
    "shootout",
    "suspended",
    "finished",
    "abandoned",
    "postponed",
]

AHEAD_MS: Final = 60_000
"""Milliseconds that a feed's clock may be ahead; what it dates later has not happened yet."""

BEHIND_MS: Final = 3 * 60 * MINUTE_MS
"""Milliseconds that a match may lie behind the time of its receipt before it counts as played again from a record."""

QUIET_MS: Final = 15 * MINUTE_MS
QUIET_SPARSE_MS: Final = 75 * MINUTE_MS
QUIET_BREAK_MS: Final = 45 * MINUTE_MS
QUIET_SUSPENDED_MS: Final = 36 * 60 * MINUTE_MS
UPCOMING_MS: Final = 24 * 60 * MINUTE_MS
"""Milliseconds without an event of the match after which it is over: in play, where its feed tells of every minute and
where it does not; in breaks; suspended; and, from kick-off or else the last event of a fan, before it began."""

_PLAYED: Final[dict[int, Phase]] = {1: "first_half", 2: "second_half", 3: "extra_time", 4: "extra_time"}
MINUTES_MAX: Final = 1_500
"""Most minutes of a period that are looked at, from its start: it may have been suspended until the next day."""

SPEED_MAX: Final = 100_000.0


@attrs.frozen
class Clock:
    """The clock: 45+2 is ``minute`` 45, ``added`` 2. ``since_ms``: when the present phase began, ms since the epoch."""

    minute: int
    added: int | None
    running: bool
    since_ms: int


@attrs.frozen
class MatchStanding:
    """How a match stands at one moment.

    Attributes:
        status: upcoming, live or finished.
        ended_by: ``match_end``, ``abandoned`` or ``quiet`` once it is finished.
        phase: what the whistles say.
        clock: None before the match, and where nobody told when it began.
        course: its periods.
        now_ms: the moment, by the clock of the match's feed.
    """

    status: Status
    ended_by: Literal["match_end", "abandoned", "quiet"] | None
    phase: Phase
    clock: Clock | None
    course: Course
    now_ms: int

    def minute_at(self, at_ms: int) -> tuple[int, int | None, int] | None:
        """Return minute, added time and period of a moment, None in breaks and where nobody told."""
        for period in self.course.periods:
            if period.number == SHOOTOUT or period.start_ms is None or at_ms < period.start_ms:
                continue
            if period.end_ms is None or at_ms <= period.end_ms:
                return (*running_minute(period, at_ms), period.number)
        return None


def standing_of(aggregates: MatchAggregates) -> MatchStanding:
    """Return how a match stands at the moment when it was counted.

    Nobody can tell it for later, while ClickHouse is away.
    """
    now_ms = _now_ms(aggregates)
    course = course_of(aggregates.course, until_ms=now_ms + AHEAD_MS)
    if course.state == "ended" and not _is_correction(aggregates, aggregates.play_last_ms):
        course.play_on(aggregates.play_last_ms)
    if not course.periods and course.state == "before" and aggregates.play_first_ms:
        course = _without_whistles(aggregates)
    quiet = _is_quiet(aggregates, course, now_ms)
    status, ended_by = _status(aggregates, course, quiet=quiet)
    phase: Phase = "finished" if ended_by == "quiet" else phase_of(course)
    at_ms = min(now_ms, max(aggregates.feed_last_ms, course.since_ms)) if ended_by == "quiet" else now_ms
    clock = _clock(course, at_ms)
    if clock is not None and ended_by == "quiet":
        clock = attrs.evolve(clock, running=False)
    return MatchStanding(status, ended_by, phase, clock, course, now_ms)


def _is_correction(aggregates: MatchAggregates, at_ms: int) -> bool:
    """Say whether what happened then is an event that takes the place of another, which may be sent after the end."""
    then = (one for one in aggregates.highlights if one.timestamp == at_ms and not one.retracted)
    return any(metadata_of(one.metadata).get("replaces") for one in then)


def told_minute(metadata: Mapping[str, Any]) -> tuple[int, int | None] | None:
    """Return the minute that an event tells itself; 47 in the first half is 45+2."""
    told, period = minute_of(metadata), period_of(metadata)
    if told is None or told[1] is not None or period not in BEGINS_AT:
        return told
    return split_minute(period, told[0])


def match_status(aggregates: MatchAggregates) -> Status:
    """Return ``upcoming``, ``live`` or ``finished``, when the match was counted."""
    return standing_of(aggregates).status


def phase_of(course: Course) -> Phase:
    """Return the phase that the whistles tell."""
    state = course.state
    if state == "play":
        return _PLAYED.get(course.number, "first_half")
    if state == "break":
        return "half_time" if course.number == 1 else "extra_time_break"
    return "finished" if state == "ended" else state


def _now_ms(aggregates: MatchAggregates) -> int:
    """Return the present moment by the clock of the feed, which may be that of a recorded match."""
    as_of_ms, last_ms, received_ms = aggregates.as_of_ms, aggregates.feed_last_ms, aggregates.feed_received_ms
    speed = sending_speed(aggregates.start_metadata)
    recorded = last_ms < received_ms - BEHIND_MS and last_ms < as_of_ms - BEHIND_MS
    if last_ms and (recorded or speed > 1):
        return min(as_of_ms, last_ms + round(max(0, as_of_ms - received_ms) * speed))
    return as_of_ms


def sending_speed(start_metadata: str) -> float:
    """Return ``speed`` of ``match_start``: how many times faster than it was played a match is sent."""
    value = metadata_of(start_metadata).get("speed")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= SPEED_MAX:
        return 1.0
    return float(value)


def _without_whistles(aggregates: MatchAggregates) -> Course:
    """Return the course of a match of which no whistle is known: it began with the first event of a team.

    If an event tells its minute, the newest such one sets the clock, because the feed may have begun later.
    """
    number, start_ms = 1, aggregates.play_first_ms
    for highlight in aggregates.highlights:
        metadata = metadata_of(highlight.metadata)
        if not highlight.retracted and (told := minute_of(metadata)) is not None:
            minute = told[0] + (told[1] or 0)
            number = period_of(metadata) or next((n for n in (1, 2, 3, 4) if told[0] <= ENDS_AT[n]), 4)
            number = min(number, 4)
            start_ms = highlight.timestamp - max(0, minute - 1 - BEGINS_AT[number]) * MINUTE_MS
            break
    return Course([Period(number, start_ms)], "play", start_ms)


def _status(
    aggregates: MatchAggregates, course: Course, *, quiet: bool
) -> tuple[Status, Literal["match_end", "abandoned", "quiet"] | None]:
    if course.state == "ended":
        return "finished", "match_end"
    if course.state == "abandoned":
        return "finished", "abandoned"
    if quiet and not aggregates.pending_events:
        return "finished", "quiet"
    return ("upcoming" if _is_upcoming(aggregates, course) else "live"), None


def _is_upcoming(aggregates: MatchAggregates, course: Course) -> bool:
    if course.state == "postponed":
        return True
    # A start that is dated ahead is one that has not happened.
    begun = any(team for team in aggregates.by_type_team if team[0] in FEED_TYPES and team[0] != "match_start")
    return not begun and not course.periods


def _is_quiet(aggregates: MatchAggregates, course: Course, now_ms: int) -> bool:
    """Say whether nothing was received of the match for so long that it must be over."""
    if _is_upcoming(aggregates, course):
        kickoff_ms = moment_of(match_details(aggregates.start_metadata)["kickoff"])
        quiet_ms = aggregates.quiet_ms if kickoff_ms is None else aggregates.as_of_ms - kickoff_ms
        return quiet_ms > UPCOMING_MS
    if aggregates.quiet_ms <= QUIET_MS:
        return False
    told = {minute // MINUTE_MS for minute, _ in aggregates.feed_by_minute}
    return aggregates.quiet_ms > quiet_limit_ms(course, told, aggregates.feed_last_ms)


def quiet_limit_ms(course: Course, told: Collection[int], last_ms: int) -> int:
    """Return after how many ms without an event of the match itself a match that began is over.

    In play that depends on whether the median of the minutes that were played holds such an event, which it does if
    at least half of them do.

    Args:
        course: of the match.
        told: UTC minutes with such an event, counted from the epoch.
        last_ms: when the last one of these happened.
    """
    if course.state == "suspended":
        return QUIET_SUSPENDED_MS
    if course.state == "break":
        return QUIET_BREAK_MS
    played = {minute // MINUTE_MS for minute, _ in played_minutes(course, last_ms)}
    return QUIET_MS if 2 * len(played.intersection(told)) >= len(played) else QUIET_SPARSE_MS


def played_minutes(course: Course, until_ms: int) -> Iterator[tuple[int, int]]:
    """Yield the UTC minutes that were played, each with its period: start in ms, number."""
    for period in course.periods:
        if period.start_ms is not None:
            end_ms = min(until_ms, period.end_ms if period.end_ms is not None else until_ms)
            first = period.start_ms // MINUTE_MS * MINUTE_MS
            for start_ms in range(first, min(end_ms, first + MINUTES_MAX * MINUTE_MS) + 1, MINUTE_MS):
                if not _is_stopped(period, start_ms):
                    yield start_ms, period.number


def _is_stopped(period: Period, minute_ms: int) -> bool:
    """Say whether play was suspended for the whole of a minute."""
    end_ms = minute_ms + MINUTE_MS
    return any(began <= minute_ms and (ended is None or end_ms <= ended) for began, ended in period.stops)


def _clock(course: Course, now_ms: int) -> Clock | None:
    last = course.last
    if last is None or course.state == "postponed":
        return None
    if course.state == "play":
        return Clock(*running_minute(last, now_ms), running=True, since_ms=course.since_ms)
    return Clock(*_standing_at(course, last, now_ms), running=False, since_ms=course.since_ms)


def _standing_at(course: Course, last: Period, now_ms: int) -> tuple[int, int | None]:
    """Return the minute at which the clock of a match stands."""
    if last.number == SHOOTOUT:
        played = max((period.number for period in course.periods if period.number != SHOOTOUT), default=4)
        return ENDS_AT[max(played, 2)], None
    if last.end_minute is not None:
        return split_minute(last.number, last.end_minute[0] + (last.end_minute[1] or 0))
    end_ms = now_ms if last.end_ms is None else last.end_ms
    if course.state in ("suspended", "abandoned") and end_ms in (now_ms, course.since_ms):
        return running_minute(last, end_ms)
    return stopped_minute(last, now_ms, whole=course.state == "break" or last.number >= 2)


def clock_view(standing: MatchStanding) -> dict[str, Any] | None:
    """Return the clock as the API shows it."""
    clock = standing.clock
    if clock is None:
        return None
    return {
        "minute": clock.minute,
        "added": clock.added,
        "running": clock.running,
        "since": iso_ms(clock.since_ms) if clock.since_ms else None,
    }
