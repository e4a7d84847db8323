"""How a match stands at every step of its course: phase, clock, score, shoot-out, status and feed."""

import attrs
import pytest

from app.engagement.clock import MatchStanding, standing_of
from app.engagement.football import match_score, match_shootout
from shards.reads.aggregates import MatchAggregates
from tests.courses.counting import aggregates_of_events
from tests.courses.reading import quiet_ms, steps_of
from tests.courses.table import COURSES

STATUSES = ("upcoming", "live", "finished")


@pytest.mark.parametrize("name", COURSES)
def test_a_match_stands_as_people_would_say(name: str) -> None:
    steps = list(steps_of(COURSES[name]))
    assert any(step.expected for step in steps)
    for number, step in enumerate(steps, start=1):
        so_far = steps[:number]
        events = [one.event for one in so_far if one.event is not None]
        latest_ms = max(one.at_ms for one in so_far)
        counted = aggregates_of_events(events, as_of_ms=latest_ms, quiet_ms=quiet_ms(so_far))
        if latest_ms == step.at_ms:
            assert set(step.expected) <= said_of(counted, standing_of(counted)), step.line


def said_of(counted: MatchAggregates, standing: MatchStanding) -> set[str]:
    """Return all that a course may expect of a match."""
    score, pens, clock = match_score(counted), match_shootout(counted), standing.clock
    minute = "--" if clock is None else f"{clock.minute}{'' if clock.added is None else f'+{clock.added}'}"
    return {
        standing.phase,
        standing.status,
        f"{minute}'" if clock is not None and clock.running else minute,
        f"by={standing.ended_by}",
        "none" if score is None else f"{score['home']}:{score['away']}",
        "pens=none" if pens is None else f"pens={pens['home']}:{pens['away']}",
        f"struck={sum(one.retracted for one in counted.highlights)}",
    }


@pytest.mark.parametrize(("speed", "minute"), [(1, 151), (60, 31)])
def test_the_clock_of_a_match_that_is_sent_faster_follows_its_events(speed: int, minute: int) -> None:
    """The events of its first half hour are sent within half a minute, two hours after they happened."""
    steps = list(steps_of(f"19:00 START speed={speed}\n19:00 half_start\n19:30 pass 1"))
    events = [step.event for step in steps if step.event is not None]
    sent_at_ms = steps[0].at_ms + 150 * 60_000
    counted = aggregates_of_events(events, as_of_ms=sent_at_ms + 500)
    clock = standing_of(attrs.evolve(counted, feed_received_ms=sent_at_ms)).clock
    assert clock is not None
    assert clock.minute + (clock.added or 0) == minute


def test_the_clock_of_a_recorded_match_goes_on_from_its_last_event() -> None:
    events = [step.event for step in steps_of("19:00 START\n19:30 pass 1") if step.event is not None]
    day_ms = 24 * 3_600_000
    received_ms = events[-1].timestamp + day_ms
    counted = aggregates_of_events(events, as_of_ms=received_ms + 3 * 60_000)
    standing = standing_of(attrs.evolve(counted, feed_received_ms=received_ms))
    assert (standing.status, standing.clock and standing.clock.minute) == ("live", 34)


def test_there_are_at_least_forty_courses() -> None:
    assert len(COURSES) >= 40
