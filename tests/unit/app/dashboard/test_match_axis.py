"""The curve on the axis of match minutes: everything is drawn, breaks are folded, marks stand over their bars."""

import attrs
import pytest

from app.dashboard.feed import marks
from app.dashboard.match_axis import FOLDED_SLOTS, MINUTES_MAX, match_curve
from app.dashboard.timeline import Timeline
from app.engagement.clock import standing_of
from shards.reads.aggregates import MatchAggregates
from tests.courses.counting import aggregates_of_events
from tests.courses.reading import steps_of

WHOLE = """
    18:30 prediction
    19:00 START
    19:05 goal 1
    19:47 half_end
    19:50 cheer
    19:55 cheer
    20:03 half_start
    20:10 goal 2
    20:50 half_end
    20:50 match_end
    20:55 cheer
"""


def counted(course: str) -> MatchAggregates:
    steps = list(steps_of(course))
    events = [step.event for step in steps if step.event is not None]
    return aggregates_of_events(events, as_of_ms=max(step.at_ms for step in steps))


def drawn(match: MatchAggregates) -> Timeline:
    return match_curve(match.by_minute, standing_of(match))


def test_everything_is_drawn_where_it_belongs() -> None:
    match = counted(WHOLE)
    timeline = drawn(match)
    assert sum(bar.count for bar in timeline.bars) == match.total
    assert timeline.left_out == 0
    assert [(bar.label, bar.count) for bar in timeline.bars] == [
        ("Before", 1),
        ("1\u2032", 1),
        ("6\u2032", 1),
        ("HT", 3),
        ("46\u2032", 1),
        ("53\u2032", 1),
        ("After", 3),
    ]
    assert all(bar.x >= 0 and bar.x + bar.width <= 100 and 0 < bar.height <= 100 for bar in timeline.bars)


def test_a_break_is_as_wide_as_three_minutes_and_as_high_as_its_mean_minute() -> None:
    timeline = drawn(counted(WHOLE))
    [half_time] = [bar for bar in timeline.bars if bar.label == "HT"]
    assert half_time.width == pytest.approx(100 * (FOLDED_SLOTS - 0.2) / timeline.minutes, abs=0.01)
    assert half_time.height == pytest.approx(100 / 1.5, abs=0.01)


def test_a_goal_long_after_the_start_has_its_mark() -> None:
    """Case A6: kick-off, goals two hours apart, kicks, and no other whistle."""
    match = counted("""
        19:00 START
        19:05 goal 1
        21:10 goal 2
        21:40 shootout_goal 1
        21:42 shootout_miss 2
        21:44 match_end
    """)
    timeline = drawn(match)
    assert timeline.left_out == 0
    assert len(marks(match.highlights, timeline)) == 2
    assert sum(bar.count for bar in timeline.bars) == match.total


def test_labels_leave_each_other_room_and_name_the_break() -> None:
    labels = [label.label for label in drawn(counted(WHOLE)).axis]
    assert labels == ["0\u2032", "15\u2032", "30\u2032", "HT", "60\u2032", "75\u2032"]


def test_a_match_without_an_axis_and_an_endless_one_are_drawn_by_the_time_of_day() -> None:
    fans = counted("19:00 cheer\n19:02 cheer")
    assert [bar.label for bar in drawn(fans).bars] == ["19:00", "19:02"]
    endless = counted(f"19:00 START\n+1 {19 + MINUTES_MAX // 600}:00 pass 1")
    assert drawn(endless).sections == ()


def test_a_match_of_which_nothing_counts_is_drawn_empty() -> None:
    match = attrs.evolve(counted("19:00 cheer"), by_minute=(), total=0)
    assert drawn(match).bars == ()
