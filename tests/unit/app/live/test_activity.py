"""Which matches go on, as far as this process accepted them: the same as the reads say of the same events."""

import time

import pytest

from app.engagement.clock import standing_of
from app.live.activity import WHISTLES_MAX, Activity
from shards.events import Event
from tests.courses.counting import aggregates_of_events
from tests.courses.reading import steps_of
from tests.courses.table import COURSES


@pytest.mark.parametrize("name", COURSES)
def test_a_course_that_was_accepted_lately_is_live_where_the_reads_say_so(name: str) -> None:
    """Quiet is counted from the receipt, and all of it was just received."""
    events = [step.event for step in steps_of(COURSES[name]) if step.event is not None]
    activity = Activity()
    activity.note("m", events)
    counted = aggregates_of_events(events, as_of_ms=max(event.timestamp for event in events))
    is_live = standing_of(counted).status == "live"
    if events[-1].timestamp <= time.time_ns() // 1_000_000:
        assert activity.active() == is_live


def test_whistles_without_end_leave_the_newest() -> None:
    activity, now_ms = Activity(), time.time_ns() // 1_000_000
    whistles = [
        Event("m", str(number), "half_start", now_ms - 10_000 + number, "", "", '{"period":1}', 1, number)
        for number in range(10 * WHISTLES_MAX)
    ]
    activity.note("m", whistles)
    assert activity.active() == 1
    activity.note("m", [Event("m", "end", "match_end", now_ms, "", "", "{}", 1, 1)])
    assert activity.active() == 0
    activity.note("m", [Event("m", "back", "retraction", now_ms, "", "", '{"eventId":"end"}', 1, 2)])
    assert activity.active() == 0, "that is no id"


def test_a_start_that_is_dated_ahead_is_no_match_that_goes_on() -> None:
    activity, now_ms = Activity(), time.time_ns() // 1_000_000
    activity.note("m", [Event("m", "s", "match_start", now_ms + 3_600_000, "", "", "{}", 1, 1)])
    assert activity.active() == 0
    assert not activity.is_news("m")
