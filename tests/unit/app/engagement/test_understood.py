"""What is told as not understood is what is not understood: the sender's side and the reader's agree on every value."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.schemas.understood import (
    added_fault,
    card_fault,
    coordinate_fault,
    kickoff_fault,
    minute_fault,
    period_fault,
    person_fault,
)
from app.schemas.values import card_of, coordinate, minute_of, moment_of, name_in, period_of, whole_number

TEXTS = [
    "45+2",
    " 47 ",
    "45 + 2",
    "47.0",
    "",
    "\u200b",
    "1e3",
    "+5",
    "151",
    "\u0664\u0665",
    "second_yellow",
    "RED",
    "red ",
]
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.integers(),
    st.floats(-5, 205),
    st.just(math.inf),
    st.sampled_from([45.0, 47.5, 100.0]),
    st.sampled_from(TEXTS),
    st.text(max_size=6),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["name", "id"]), st.one_of(st.text(max_size=4), st.integers()), max_size=2),
)


@given(VALUES)
def test_whoever_is_not_told_of_a_value_is_understood(value: Any) -> None:
    if value is None or value == "":
        return
    assert (minute_fault(value) is None) == (minute_of({"minute": value}) is not None)
    assert (period_fault(value) is None) == (period_of({"period": value}) is not None)
    assert (coordinate_fault(value) is None) == (coordinate(value) is not None)
    assert (person_fault(value) is None) == (name_in(value) != "")
    assert (added_fault(value) is None) == (whole_number(value, 0, 60) is not None)
    if card_fault(value) is not None:
        assert card_of("card", {"card": value}) == (1, 0)


def test_a_colour_is_read_in_any_case() -> None:
    assert [card_of("card", {"card": name}) for name in ("Yellow", "SECOND_YELLOW", "red")] == [(1, 0), (1, 1), (0, 1)]
    assert card_of("red_card", {}) == (0, 1)


@given(st.one_of(st.datetimes().map(str), st.sampled_from(["2026-11-27T19:00:00Z", "2026-11-27T19:00+03:00", "19:00"])))
def test_a_kickoff_that_is_understood_is_read(text: str) -> None:
    if kickoff_fault(text) is None:
        assert moment_of(text) is not None
