"""Which events a query for pages asks for."""

import pytest

from shards.events import Event
from shards.reads.pages.statements import EventQuery


@pytest.mark.parametrize(("at_ms", "wanted"), [(9, False), (10, True), (19, True), (20, False)])
def test_the_first_moment_of_a_range_is_in_it_and_the_last_is_not(at_ms: int, wanted: bool) -> None:
    query = EventQuery(match_id="m", from_ms=10, to_ms=20, limit=100)
    assert query.wants(Event("m", "id", "pass", at_ms, "1", "", "{}", 1, 1)) is wanted
