"""The courses of matches over both stores: what decides how a match stands is what a plain count in Python finds."""

import attrs

from app.engagement.clock import standing_of
from app.engagement.football import match_score, match_shootout
from shards.reads.matches import MatchReads
from shards.stores.base import Store
from tests.contract.reads.counting import Unconfirmed, insert
from tests.courses.counting import aggregates_of_events
from tests.courses.reading import quiet_ms, steps_of
from tests.courses.table import COURSES


async def test_every_course_is_told_from_what_is_stored_and_what_is_pending(store: Store) -> None:
    courses = {name: list(steps_of(course, match_id=name)) for name, course in COURSES.items()}
    events = {name: [step.event for step in steps if step.event is not None] for name, steps in courses.items()}
    await insert(store, *(event for of_match in events.values() for event in of_match[::2]))
    unconfirmed = Unconfirmed()
    unconfirmed.hold(*(event for of_match in events.values() for event in of_match[1::2]))
    reads = MatchReads(store, unconfirmed)
    answers = await reads.aggregates(list(COURSES))
    for name, steps in courses.items():
        at_ms, quiet = max(step.at_ms for step in steps), quiet_ms(steps)
        expected = aggregates_of_events(events[name], as_of_ms=at_ms, quiet_ms=quiet)
        found = attrs.evolve(answers[name], as_of_ms=at_ms, quiet_ms=quiet)
        assert found.course == expected.course, name
        assert standing_of(found) == standing_of(expected), name
        assert (match_score(found), match_shootout(found)) == (match_score(expected), match_shootout(expected)), name
        assert [(one.event_id, one.retracted) for one in found.highlights] == [
            (one.event_id, one.retracted) for one in expected.highlights
        ], name
