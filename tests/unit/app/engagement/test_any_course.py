"""Any whistles in any order: a match always stands somehow, and what is said of it fits together."""

import json
import uuid
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from app.engagement.axis import sections_of
from app.engagement.clock import standing_of
from app.engagement.minutes import ENDS_AT
from app.engagement.views import match_summary, metrics_view
from shards.events import Event
from tests.courses.counting import aggregates_of_events

KICK_OFF_MS = 1_795_806_000_000
TYPES = (
    *("match_start", "half_start", "half_end", "match_end", "suspended", "resumed", "abandoned", "postponed"),
    *("shootout_goal", "shootout_miss", "goal", "card", "cheer", "retraction"),
)
TURNS = ("suspended", "resumed", "abandoned", "postponed", "match_end", "shootout_goal", "half_start")
"""Those that lead from one state to another, and back."""

RUNNING = {"first_half", "second_half", "extra_time"}


@st.composite
def courses(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = []
    for number in range(draw(st.integers(1, 12))):
        metadata: dict[str, object] = {}
        event_type = draw(st.sampled_from(TYPES) | st.sampled_from(TURNS))
        if draw(st.booleans()):
            metadata["period"] = draw(st.integers(0, 6))
        if draw(st.booleans()):
            metadata["minute"] = draw(st.sampled_from([0, 1, 45, 47, "45+2", "90+5", 120, 150, "x"]))
        if event_type == "retraction" and events:
            metadata["eventId"] = draw(st.sampled_from(events)).event_id
        elif events and draw(st.integers(0, 9)) == 0:
            metadata["replaces"] = draw(st.sampled_from(events)).event_id
        at_ms = KICK_OFF_MS + draw(st.integers(-200, 300)) * 60_000 + draw(st.sampled_from([0, 1, 59_999]))
        received = (KICK_OFF_MS + number) * 1_000_000
        team = draw(st.sampled_from(["1", "2"])) if event_type not in TYPES[:8] else ""
        names = [str(uuid.uuid4()), event_type]
        events.append(Event("m", *names, at_ms, team, "", json.dumps(metadata), received, received + number))
    return events


@settings(max_examples=300)
@given(courses(), st.integers(-300, 3000), st.integers(0, 3000))
def test_a_match_always_stands_somehow(events: list[Event], as_of_minutes: int, quiet_minutes: int) -> None:
    as_of_ms, quiet_ms = KICK_OFF_MS + as_of_minutes * 60_000, quiet_minutes * 60_000
    counted = aggregates_of_events(events, as_of_ms=as_of_ms, quiet_ms=quiet_ms)
    standing = standing_of(counted)
    assert (standing.ended_by is not None) == (standing.status == "finished")
    if standing.clock is not None:
        assert standing.clock.minute >= 0
        assert standing.clock.added is None or (standing.clock.added > 0 and standing.clock.minute in ENDS_AT.values())
        assert standing.clock.running == (standing.phase in RUNNING)
    numbers = [period.number for period in standing.course.periods]
    assert numbers == sorted(set(numbers))
    assert json.dumps(metrics_view(counted), default=str)
    assert match_summary(counted)["phase"] == standing.phase
    sections = sections_of(standing, first_ms=counted.first_ms, last_ms=counted.last_ms)
    for before, after in pairwise(sections):
        assert before.end_ms == after.start_ms
    assert all(section.start_ms < section.end_ms for section in sections)
