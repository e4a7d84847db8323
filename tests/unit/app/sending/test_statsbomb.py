"""A made-up match in StatsBomb's open-data format: every row becomes one event or is left out under a name."""

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.schemas.events import EventSchema, Origin
from app.sending.statsbomb import ProviderError, ProviderMatch, read_statsbomb
from shards.clock import ReceiptClock
from tests.paths import DATA

KICKOFF = datetime(2024, 1, 15, 19, tzinfo=UTC)


@pytest.fixture(scope="module")
def rows():
    return json.loads((DATA / "made_up_event.json").read_bytes())


@pytest.fixture(scope="module")
def match() -> ProviderMatch:
    return read()


def read(events: bytes | None = None) -> ProviderMatch:
    return read_statsbomb(
        events or (DATA / "made_up_event.json").read_bytes(),
        (DATA / "made_up_lineup.json").read_bytes(),
        match_id="m-1",
        kickoff=KICKOFF,
    )


def of_type(match: ProviderMatch, event_type: str) -> list[dict]:
    return [event for event in match.events if event["eventType"] == event_type]


def test_every_row_is_an_event_or_left_out(match, rows):
    """Nothing of the file disappears without a word, and nothing is counted twice."""
    from_rows = [event for event in match.events if event["eventId"] not in match.added]
    left_out = sum(entry.rows for entry in match.left_out)

    assert match.rows == len(rows) == len(from_rows) + left_out
    assert {event["eventId"] for event in from_rows} <= {row["id"] for row in rows}
    assert len({event["eventId"] for event in match.events}) == len(match.events)


def test_rows_become_the_documented_types(match):
    assert Counter(event["eventType"] for event in match.events) == {
        "pass": 3, "goal": 3, "goalkeeper": 2, "duel": 2, "foul": 2, "red_card": 2, "half_start": 3, "half_end": 3,
        "throw_in": 1, "free_kick": 1, "corner": 1, "shot": 1, "carry": 1, "pressure": 1, "interception": 1,
        "recovery": 1, "dribble": 1, "clearance": 1, "block": 1, "miscontrol": 1, "offside": 1, "own_goal": 1,
        "penalty": 1, "yellow_card": 1, "substitution": 1, "injury": 1, "formation_change": 1,
        "shootout_goal": 1, "shootout_miss": 1, "match_start": 1, "match_end": 1,
    }  # fmt: skip


def test_left_out_rows_are_named(match):
    assert {(entry.type_name, entry.rows) for entry in match.left_out} == {
        ("Half Start", 3), ("Half End", 3), ("Starting XI", 2), ("Ball Receipt*", 1), ("Dribbled Past", 1),
        ("Foul Won", 1), ("Dispossessed", 1), ("Own Goal For", 1), ("Bad Behaviour", 1), ("Error", 1),
    }  # fmt: skip
    assert all(entry.reason for entry in match.left_out)


def test_one_own_goal_is_one_event_of_the_scorers_team(match):
    (own_goal,) = of_type(match, "own_goal")

    assert (own_goal["teamId"], own_goal["metadata"]["player"]) == ("22", "Sampleton Player 5")


def test_sides_are_those_of_the_first_row_not_of_the_line_up_file(match):
    """The line-up file names the away team first."""
    start = match.events[0]

    assert start["eventType"] == "match_start"
    assert start["metadata"]["home"] == {"id": "11", "name": "Testville"}
    assert start["metadata"]["away"] == {"id": "22", "name": "Sampleton"}


def test_a_foul_with_a_card_and_a_penalty_adds_both(match, rows):
    foul = next(row for row in rows if row.get("foul_committed", {}).get("penalty"))
    card_id, penalty_id = (str(uuid.uuid5(uuid.UUID(foul["id"]), name)) for name in ("card", "penalty"))
    by_id = {event["eventId"]: event for event in match.events}

    assert by_id[card_id]["eventType"] == "red_card"
    assert by_id[card_id]["playerId"] == str(foul["player"]["id"])
    assert by_id[penalty_id]["teamId"] == "11", "the penalty is the other team's"
    assert {card_id, penalty_id} <= match.added


def test_times_run_through_the_periods(match):
    """A period starts when the one before has ended and the pause is over."""
    starts = [event["timestamp"] for event in of_type(match, "half_start")]
    second = timedelta(minutes=46, seconds=15.25) + timedelta(minutes=15)
    shootout = second + timedelta(minutes=48) + timedelta(minutes=5)

    assert [datetime.fromisoformat(start) - KICKOFF for start in starts] == [timedelta(), second, shootout]
    assert [e["timestamp"] for e in match.events] == sorted(e["timestamp"] for e in match.events)
    assert match.events[-1]["eventType"] == "match_end"


def test_a_goal_names_minute_scorer_assist_and_place(match):
    metadata = of_type(match, "goal")[0]["metadata"]

    assert (metadata["minute"], metadata["player"]) == (21, "Sampleton Player 11")
    assert metadata["assist"] == "Sampleton Player 9"
    assert 80 < metadata["x"] <= 100


def test_every_event_is_valid_for_the_service(match):
    schema = EventSchema(clock=ReceiptClock())

    for event in match.events:
        parsed = schema.parse(msgspec.json.encode(event), origin=Origin())
        assert parsed.event_id == event["eventId"]


def test_the_same_file_gives_the_same_events(match):
    assert read() == match


@pytest.mark.parametrize("content", [b"[]", b"[{}]", b'[{"id": 1}]'])
def test_a_file_kloppy_cannot_read_is_named(content):
    with pytest.raises(ProviderError, match="kloppy cannot read"):
        read(content)
