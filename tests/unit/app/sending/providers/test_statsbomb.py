"""A made-up match in StatsBomb's open-data format: every row becomes one event or is left out under a name."""

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.schemas.events import EventSchema, Origin
from app.sending.providers import statsbomb
from app.sending.providers.conversion import STILL_RUNNING, convert
from app.sending.providers.match import ProviderError, ProviderMatch
from app.sending.providers.reading import read_with_kloppy
from shards.clock import ReceiptClock
from tests.paths import DATA

KICKOFF = datetime(2024, 1, 15, 19, tzinfo=UTC)


@pytest.fixture
def rows():
    return json.loads((DATA / "made_up_event.json").read_bytes())


@pytest.fixture(scope="module")
def match() -> ProviderMatch:
    return read()


def read(rows: list[dict] | None = None, *, lineups: list[dict] | None = None) -> ProviderMatch:
    file = statsbomb.read(
        json.loads((DATA / "made_up_event.json").read_bytes()) if rows is None else rows,
        lineups or json.loads((DATA / "made_up_lineup.json").read_bytes()),
    )
    assert file.load is not None
    reading = read_with_kloppy(file.load, provider=file.provider)
    return convert(file, reading, match_id="m-1", kickoff=lambda told, length_s: KICKOFF)


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
        "pass": 3, "goal": 3, "goalkeeper": 1, "save": 1, "duel": 1, "tackle": 1, "foul": 2, "red_card": 1, "card": 1,
        "half_start": 3, "half_end": 3, "throw_in": 1, "free_kick": 1, "corner": 1, "shot": 1, "carry": 1,
        "pressure": 1, "interception": 1, "recovery": 1, "dribble": 1, "clearance": 1, "block": 1, "miscontrol": 1,
        "offside": 1, "own_goal": 1, "penalty": 1, "yellow_card": 1, "substitution": 1, "injury": 1,
        "formation_change": 1, "shootout_goal": 1, "shootout_miss": 1, "match_start": 1, "match_end": 1,
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

    assert (by_id[card_id]["eventType"], by_id[card_id]["metadata"]["card"]) == ("card", "second_yellow")
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
    schema = EventSchema(clock=ReceiptClock(), extra_types=["card"])

    for event in match.events:
        parsed = schema.parse(msgspec.json.encode(event), origin=Origin())
        assert parsed.event_id == event["eventId"]


def test_the_same_file_gives_the_same_events(match):
    assert read() == match


def test_a_file_that_kloppy_cannot_read_is_named(rows):
    del next(row for row in rows if row["type"]["name"] == "Pass")["pass"]

    with pytest.raises(ProviderError, match="kloppy cannot read this as a match of StatsBomb"):
        read(rows)


def test_the_nickname_is_the_name(rows):
    lineups = json.loads((DATA / "made_up_lineup.json").read_bytes())
    scorer = next(row for row in rows if row["type"]["name"] == "Shot" and row["shot"]["outcome"]["name"] == "Goal")
    for player in (player for team in lineups for player in team["lineup"]):
        if player["player_id"] == scorer["player"]["id"]:
            player["player_nickname"] = "Elf"
    goal = next(e for e in read(rows, lineups=lineups).events if e["eventId"] == scorer["id"])

    assert goal["metadata"]["player"] == "Elf"


def test_an_own_goal_whose_id_is_no_uuid_gets_the_same_one_each_time(rows):
    """In one of StatsBomb's own files an own goal has such an id."""
    row = next(row for row in rows if row["type"]["name"] == "Own Goal Against")
    row["id"] = "89dd4f4b-0a70-48d8-a0e7-ac4c"
    (first,), (second,) = (of_type(read(rows), "own_goal") for _ in range(2))

    assert first["eventId"] == second["eventId"]
    assert uuid.UUID(first["eventId"]).version == 5


def test_of_three_rows_with_one_id_one_is_sent_and_the_others_are_told(rows):
    passes = [row for row in rows if row["type"]["name"] == "Pass" and "type" not in row["pass"]]
    for row in passes:
        row["id"] = passes[0]["id"]
    match = read(rows)

    assert [entry.rows for entry in match.left_out if "id of an earlier row" in entry.reason] == [len(passes) - 1]
    assert sum(event["eventId"] == passes[0]["id"] for event in match.events) == 1


def test_period_penalty_and_the_minute_of_the_end_are_told(match):
    penalty = next(goal for goal in of_type(match, "goal") if goal["metadata"].get("penalty"))
    (end,) = of_type(match, "match_end")
    first_half_end = of_type(match, "half_end")[0]

    assert (penalty["metadata"]["period"], penalty["metadata"]["minute"]) == (2, 67)
    assert (end["metadata"]["minute"], end["metadata"]["period"]) == (90, 5)
    assert (first_half_end["metadata"]["minute"], first_half_end["metadata"]["added"]) == (45, 2)


def test_a_match_that_is_still_running_has_no_end(rows):
    running = [row for row in rows if row["period"] == 1 or (row["period"] == 2 and row["timestamp"] < "00:30")]
    match = read(running)

    assert of_type(match, "match_end") == []
    assert STILL_RUNNING in match.notices
    assert any("x" in event["metadata"] for event in match.events), "kloppy reads it all the same"


def test_at_half_time_the_match_is_not_over(rows):
    assert of_type(read([row for row in rows if row["period"] == 1]), "match_end") == []
