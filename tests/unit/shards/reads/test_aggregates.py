"""Aggregates as values: what makes two of them equal, and what one holds that is told nothing more."""

import attrs
import pytest

from shards.reads.aggregates import MatchAggregates

COUNTED = MatchAggregates(
    match_id="m",
    total=1,
    first_ms=5,
    last_ms=5,
    last_received_ms=6,
    by_type_team=(("pass", "", 1),),
    by_minute=((0, 1),),
)


@pytest.mark.parametrize("field", ["as_of_ms", "counted_at", "quiet_ms"])
def test_when_it_was_counted_is_no_part_of_what_was_counted(field: str) -> None:
    assert attrs.evolve(COUNTED, **{field: 7}) == COUNTED
    assert attrs.evolve(COUNTED, total=2) != COUNTED


def test_nothing_is_left_out_of_an_answer_that_does_not_say_so() -> None:
    assert (COUNTED.other_teams, COUNTED.earlier, COUNTED.pending_events) == (0, (0, 0), 0)
    assert not COUNTED.is_crowded
    assert attrs.evolve(COUNTED, earlier=(0, 1)).is_crowded
