"""The sides of a match, of whatever was sent of them."""

import json
from typing import Any

import pytest

from shards.reads.sides import Side, Sides, match_sides

AWAY = Side("2", "B")


@pytest.mark.parametrize(
    ("home", "side"),
    [
        ({"id": "1", "name": "A"}, Side("1", "A")),
        ({"id": "1"}, Side("1", "1")),
        ({"name": "A"}, Side("A", "A")),
        ("A", Side("A", "A")),
        ({}, None),
        (None, None),
    ],
)
def test_a_side_without_an_id_or_a_name_has_the_other_and_without_both_is_none(home: Any, side: Side | None) -> None:
    text = json.dumps({"home": home, "away": {"id": "2", "name": "B"}})
    assert match_sides(text) == (Sides(side, AWAY) if side else None)
