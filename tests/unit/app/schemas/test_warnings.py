"""What is understood in metadata, value by value, and what a sender is told of everything else."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas import understood
from app.schemas.batch import WARNINGS_MAX, CheckedEvents, numbered, validate
from app.schemas.event_types import BUILT_IN_TYPES
from app.schemas.events import EventSchema, Origin
from app.schemas.metadata import EMPTY, MAX_BYTES, REPLACES, UNMAPPED
from app.schemas.understood import OF_ANY, OF_START, is_blank, is_there
from app.schemas.warnings import warnings_of
from shards.clock import ReceiptClock
from shards.reads.texts import UNDERSTOOD

SCHEMA = EventSchema(clock=ReceiptClock())
OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e"
HOME, AWAY = {"id": "1", "name": "Home"}, {"id": "2", "name": "Away"}
NO_NUMBER = (True, [], {}, [47], {"minute": 45, "added": 2}, "x", "4 7", "٤٧", "nan", "1e1", "0x10", "1_0")
BLANK = (
    " ",
    "\t\n",
    "\u200b",
    "\u200b \u2060\ufeff",
    "\u3164",
    "\u2800\u00a0",
    "\u200e\u200f",
    "\ufe0f",
    "\u3164\u200b",
    "\0",
)


def told(event_type: str, metadata: object, **fields: object) -> dict[str, str]:
    """What is told of an event, as the service takes it; each field once."""
    sent = {"matchId": "m", "eventType": event_type, "teamId": "1", "metadata": metadata} | fields
    event = SCHEMA.parse(json.dumps(sent).encode(), origin=Origin())
    warnings = warnings_of(event.event_type, event.metadata)
    assert len({warning.field for warning in warnings}) == len(warnings)
    for warning in warnings:
        assert re.fullmatch(r"[\x20-\x7e]{5,900}", warning.message), warning
    return {warning.field: warning.message for warning in warnings}


CASES: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
    (
        "minute",
        (0, 47, 150, 45.0, "47", "45+2", " 90+12 ", "0", "007"),
        (-1, 151, 45.5, "45'", "45+", "+2", "45+123", "1000", "-1", "47.0", "45+2+1", *NO_NUMBER),
    ),
    ("period", (1, 2, 3, 4, 5, "2", 2.0), (0, 6, -1, 1.5, "first", *NO_NUMBER)),
    ("x", (0, 100, 47.5, -0.0, "47.5", " 3 ", "100.0", "+5"), (-0.1, 100.1, 1e300, "101", "-1", ".", "5.", *NO_NUMBER)),
    ("y", (0, 100, 33, "33"), (120, *NO_NUMBER)),
    ("player", ("X", "م", "7", 7, "\u200bX", "x" * 500, {"name": "X"}), (7.5, True, [], {}, {"name": 7.5}, *BLANK)),
    ("scorer", ("X", 7), ({}, *BLANK)),
    ("assist", ("X", 7), ({}, *BLANK)),
    ("outcome", ("scored", 1), ([], *BLANK)),
    ("reason", ("rain", 1), (False, *BLANK)),
    ("penalty", (True, False), (0, 1, "true", "yes", [], {})),
    ("card", ("yellow", "second_yellow", "red", "RED", "Second_Yellow"), ("rot", "second yellow", " red", 1, True, [])),
]
OF_STARTS: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
    ("competition", ("Liga", 1), ([], {"name": "Liga"}, *BLANK)),
    (
        "kickoff",
        ("2024-01-15T14:00:00Z", "2024-01-15T17:00+03:00", "1999-01-01T00:00:00Z"),
        ("2024-01-15T14:00:00", "2024-01-15", "soon", 1705327200, True, {}, " ", "2024-02-30T00:00:00Z"),
    ),
]


def checks(cases: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]], *, read: bool) -> list[tuple[str, Any]]:
    return [(key, value) for key, right, wrong in cases for value in (right if read else wrong)]


def test_each_key_is_in_the_tables() -> None:
    assert {key for key, *_ in CASES} == OF_ANY.keys() - {"added"}
    assert {key for key, *_ in OF_STARTS} == OF_START.keys() - {"home", "away"}
    assert {*OF_ANY, *OF_START, REPLACES} <= set(UNDERSTOOD), "highlights leave out a key that is understood"


@pytest.mark.parametrize(("key", "value"), checks(CASES, read=True))
@pytest.mark.parametrize("event_type", ["goal", "cheer", "match_start", "card"])
def test_what_is_understood_is_not_told(event_type: str, key: str, value: object) -> None:
    assert told(event_type, {key: value}) == {}


@pytest.mark.parametrize(("key", "value"), checks(CASES, read=False))
@pytest.mark.parametrize("event_type", ["goal", "cheer", "match_start", "card"])
def test_what_is_not_understood_is_told_and_kept(event_type: str, key: str, value: object) -> None:
    assert told(event_type, {key: value, "note": [{}]}).keys() == {f"$.metadata.{key}"}


@pytest.mark.parametrize(("key", "value"), checks(OF_STARTS, read=True))
def test_what_is_understood_of_a_start_is_not_told(key: str, value: object) -> None:
    assert told("match_start", {key: value}) == {}


@pytest.mark.parametrize(("key", "value"), checks(OF_STARTS, read=False))
def test_what_is_not_understood_of_a_start_is_told_and_means_nothing_elsewhere(key: str, value: object) -> None:
    assert told("match_start", {key: value}).keys() == {f"$.metadata.{key}"}
    assert told("half_start", {key: value, "home": 1.0, "away": []}) == {}


@pytest.mark.parametrize("key", [*OF_ANY, *OF_START])
@pytest.mark.parametrize("absent", [None, ""])
def test_null_and_the_empty_text_mean_that_a_key_is_absent(key: str, absent: object) -> None:
    assert told("match_start", {key: absent}) == {}


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        ({"minute": 45, "added": 2}, set()),
        ({"minute": "45", "added": "2"}, set()),
        ({"minute": 45.0, "added": 0}, set()),
        ({"minute": 45, "added": 60}, set()),
        ({"minute": 45, "added": 61}, {"$.metadata.added"}),
        ({"minute": 45, "added": -1}, {"$.metadata.added"}),
        ({"minute": 45, "added": {}}, {"$.metadata.added"}),
        ({"added": 2}, {"$.metadata.added"}),
        ({"added": -1}, {"$.metadata.added"}),
        ({"minute": "45+2", "added": "x"}, {"$.metadata.added"}),
        ({"minute": "", "added": 2}, {"$.metadata.added"}),
        ({"minute": "45+2", "added": 2}, {"$.metadata.added"}),
        ({"minute": {"minute": 45, "added": 2}}, {"$.metadata.minute"}),
    ],
)
def test_stoppage_time_stands_beside_a_minute(metadata: object, fields: set[str]) -> None:
    assert told("goal", metadata).keys() == fields


@pytest.mark.parametrize(
    ("home", "away"),
    [
        (HOME, AWAY),
        ("Home", "Away"),
        ({"id": 1}, {"id": 2}),
        ({"name": "Home"}, {"id": "2"}),
        ({"id": "1", "name": ""}, {"id": None, "name": "Away"}),
        (HOME | {"short": "HOM", "color": "#0b62c4", "coach": {}}, AWAY | {"color": "#FfF"}),
        (7, "8"),
        ({"id": 12345678901234567890123456789}, {"id": "x" * 64}),
    ],
)
def test_sides_that_are_understood_are_not_told(home: object, away: object) -> None:
    assert told("match_start", {"home": home, "away": away}) == {}


@pytest.mark.parametrize(
    ("home", "field", "says"),
    [
        ({"id": 1.0}, ".id", "1.0 has a decimal point; send it as an integer or a string"),
        ({"id": 1.0, "name": "Home"}, ".id", "decimal point"),
        ({"id": 1e300, "name": "Home"}, ".id", "has an exponent"),
        ({"id": True}, ".id", "must be a string or an integer, not true"),
        ({"id": []}, ".id", "not an array"),
        ({"id": " ", "name": "Home"}, ".id", "blank"),
        ({"id": "x" * 65, "name": "Home"}, ".id", "at most 64"),
        ({"id": "1\n2"}, ".id", "control"),
        ({"teamId": "1"}, "", "has neither an id nor a name"),
        ({"id": "", "name": None}, "", '{"id":"1","name":"Al-Hilal"}'),
        ({}, "", "neither"),
        (HOME | {"name": {}}, ".name", "must be a text"),
        (HOME | {"name": "\u200b"}, ".name", "blank, so it counts as none"),
        (HOME | {"short": []}, ".short", "must be a text"),
        (HOME | {"color": "red"}, ".color", "#0b62c4"),
        (HOME | {"color": "#12345"}, ".color", "#0b62c4"),
        ("\u200b", "", "blank, so it counts as none"),
        (1.5, "", "just a name, not 1.5"),
        (["Home"], "", "not an array"),
        (True, "", "not true"),
    ],
)
def test_a_side_that_is_not_understood_is_told_with_what_is(home: object, field: str, says: str) -> None:
    for metadata in ({"home": home, "away": AWAY}, {"home": AWAY, "away": home}):
        side = "home" if metadata["home"] is home else "away"
        found = told("match_start", metadata)
        assert found.keys() == {f"$.metadata.{side}{field}"}
        assert says in found[f"$.metadata.{side}{field}"]


@pytest.mark.parametrize(
    ("home", "away"), [("A", "A"), ({"id": 1}, {"id": "1"}), ("A", {"name": " A "}), ("1", {"id": 1})]
)
def test_two_equal_sides_are_told(home: object, away: object) -> None:
    assert "same side" in told("match_start", {"home": home, "away": away})["$.metadata.away"]


def test_of_sides_that_cannot_be_read_it_is_not_said_that_they_are_equal() -> None:
    found = told("match_start", {"home": {"id": 1.0}, "away": {"id": 1.0}})
    assert found.keys() == {"$.metadata.home.id", "$.metadata.away.id"}
    assert told("match_start", {"home": {}, "away": {}}).keys() == {"$.metadata.home", "$.metadata.away"}


def test_one_side_alone_is_told_and_none_is_not() -> None:
    assert "missing" in told("match_start", {"home": HOME})["$.metadata.away"]
    assert "missing" in told("match_start", {"away": AWAY, "home": None})["$.metadata.home"]
    assert told("match_start", {}) == told("match_start", {"competition": "Liga"}) == {}


@pytest.mark.parametrize(
    ("home", "away"),
    [
        *(("homeTeam", "awayTeam"), ("home_team", "away_team"), ("HOME", "AWAY"), ("team-home", "team-away")),
        *(("homeTeamId", "awayTeamId"), ("homeName", "awayName"), ("home_id", "away_id")),
    ],
)
def test_sides_under_another_name_are_told_with_the_right_one(home: str, away: str) -> None:
    expected = {home: "did you mean metadata.home?", away: "did you mean metadata.away?"}
    inside = told("match_start", {home: HOME, away: AWAY})
    assert {
        field.removeprefix("$.metadata."): message[-len(expected[home]) :] for field, message in inside.items()
    } == expected
    beside = told("match_start", None, **{home: HOME, away: AWAY})
    assert {field.removeprefix("$."): message[-len(expected[home]) :] for field, message in beside.items()} == expected
    assert told("match_start", {"home": HOME, "away": AWAY, home.upper() + "X": 1} | {home: 1}) == {}
    assert told("goal", {home: HOME, away: AWAY}) == {}


def test_sides_beside_the_metadata_are_told() -> None:
    found = told("match_start", None, home=HOME, away=AWAY)
    assert found == {f"$.{side}": f"is not read; did you mean metadata.{side}?" for side in ("home", "away")}
    assert told("match_start", {"home": HOME}, awayTeam=AWAY).keys() == {"$.awayTeam"}


def test_what_is_understood_only_inside_is_told_where_it_stands_beside() -> None:
    found = told("goal", None, minute=3, scorer="X", note="kept", home=HOME, unmapped=1)
    assert found == {f"$.{name}": f"is not read here; did you mean metadata.{name}?" for name in ("minute", "scorer")}
    assert told("goal", {"minute": 3}, minute=4, replaces="x").keys() == {"$.replaces"}
    assert told("match_start", None, kickoff="x").keys() == {"$.kickoff"}
    assert told("goal", None, kickoff="x") == {}


def test_a_retraction_replaces_nothing() -> None:
    assert told("retraction", {"eventId": OTHER, "replaces": OTHER}).keys() == {"$.metadata.replaces"}
    assert told("retraction", {"eventId": OTHER, "replaces": None}) == {}
    assert told("goal", {"replaces": OTHER}) == {}


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000, "[1e999]", '{"a":1e999}'])
def test_a_number_that_cannot_be_read_takes_nothing_else_with_it(number: str) -> None:
    def fields(event_type: str, metadata: str) -> set[str]:
        return {warning.field for warning in warnings_of(event_type, metadata)}

    assert fields("goal", f'{{"x":{number},"y":101,"period":2,"minute":{number}}}') == {
        *("$.metadata.x", "$.metadata.y", "$.metadata.minute")
    }
    assert fields("goal", f'{{"note":{number},"y":101}}') == {"$.metadata.y"}
    assert fields("goal", f'{{"x":{number},"{UNMAPPED}":{{"a":{number},"minute":{number}}}}}') == {
        *("$.metadata.x", "$.minute")
    }
    assert fields("match_start", f'{{"home":{number},"away":"A"}}') == {"$.metadata.home"}
    assert fields("match_start", f'{{"home":{{"id":{number}}},"away":"A"}}') in (
        {"$.metadata.home"},
        {"$.metadata.home.id"},
    )


@pytest.mark.parametrize("text", BLANK)
def test_a_text_that_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text)
    assert not is_blank(f"{text}a{text}")
    assert not is_blank(f"{text}\N{PARTY POPPER}")
    assert not is_blank(f"{text}م")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(OTHER),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.sampled_from(["id", "name"]), inner)
    ),
    max_leaves=6,
)
KEYS = [*OF_ANY, *OF_START, "homeTeam", "eventId"]


@given(
    st.sampled_from(sorted(BUILT_IN_TYPES - {"retraction"})),
    st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), json_values, max_size=5),
    st.dictionaries(st.sampled_from(KEYS), json_values, max_size=2),
)
def test_whatever_the_metadata_is_the_event_is_taken_and_each_warning_is_a_sentence(
    event_type: str, metadata: dict[str, Any], beside: dict[str, Any]
) -> None:
    """Only that which JSON does not allow is refused: NaN, Infinity and half surrogates, and what may be no text."""
    beside.pop("eventId", None)
    text = json.dumps({"matchId": "m", "eventType": event_type, "teamId": "1", "metadata": metadata} | beside)
    if re.search(r"NaN|Infinity|\\ud[89a-f]", text) or len(text) > MAX_BYTES or UNMAPPED in metadata:
        return
    event = SCHEMA.parse(text.encode(), origin=Origin())
    for warning in warnings_of(event.event_type, event.metadata):
        assert warning.field.startswith("$.")
        assert re.fullmatch(r"[\x20-\x7e]{5,900}", warning.message)


@pytest.mark.parametrize("check", [*{**OF_ANY, **OF_START}.values(), *understood.SIDE_MEMBERS.values()])
@given(value=json_values.filter(is_there))
def test_a_check_of_any_value_says_what_is_wrong_or_nothing(check: Callable[[Any], str | None], value: Any) -> None:
    message = check(value)
    assert message is None or re.fullmatch(r"[\x20-\x7e]{5,900}", message)


async def test_the_first_hundred_warnings_of_a_request_are_told_by_the_indexes_of_their_events() -> None:
    lines = [
        b'{"matchId":"m","eventType":"view","metadata":{"x":-1,"y":-1,"period":9}}',
        b'{"matchId":"m","eventType":"view","metadata":{}}',
        b'{"matchId":"m"}',
    ] * 40
    into = CheckedEvents(1)
    await validate(SCHEMA, numbered(lines, 0, blank=True), origin=Origin(), into=into)
    warnings = into.view()["warnings"]
    assert [warning["index"] for warning in warnings] == [3 * (n // 3) for n in range(WARNINGS_MAX)]
    assert warnings[0] == {
        "index": 0,
        "field": "$.metadata.period",
        "message": "must be a whole number from 1 to 5, not 9",
    }
    assert (len(into.events), into.rejected) == (80, 40)


async def test_where_nothing_is_to_be_told_there_are_no_warnings() -> None:
    into = CheckedEvents(1)
    lines = [b'{"matchId":"m","eventType":"view"}', b'{"matchId":"m","eventType":"view","metadata":{"minute":1}}']
    await validate(SCHEMA, numbered(lines, 0, blank=True), origin=Origin(), into=into)
    assert into.events[0].metadata == EMPTY
    assert into.view() == {"rejected": 0, "errors": []}
