"""One match of every provider, against a count of the plain file that knows nothing of kloppy and of our readers."""

import gzip
import json
import shutil
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from app.schemas.events import EventSchema, Origin
from app.sending.providers.conversion import STILL_RUNNING
from app.sending.recordings.opening import open_recording
from app.sending.recordings.own import CUT_OFF
from app.sending.recordings.recording import Due, LeftOutRows, Recording
from shards.clock import ReceiptClock
from tests.unit.app.sending.providers import counting

KICKOFF = datetime(2024, 1, 15, 19, tzinfo=UTC)

SAMPLES = {
    "statsbomb_event.json": counting.statsbomb,
    "statsbomb_3788741_event.json": counting.statsbomb,
    "statsbomb_15986_event.json": counting.statsbomb,
    "opta_f24.xml": counting.f24,
    "opta_f73.xml": counting.f24,
    "statsperform_event_ma3.xml": counting.ma3_xml,
    "statsperform_event_ma3.json": counting.ma3_json,
    "wyscout_events_v2.json": counting.wyscout_v2,
    "wyscout_events_v3.json": counting.wyscout_v3,
    "datafactory_events.json": counting.datafactory,
    "sportec_events.xml": counting.sportec,
    "impect_events.json": counting.impect,
    "metrica_events.json": counting.metrica,
}
BESIDE = {
    "statsbomb_event.json": ["statsbomb_lineup.json"],
    "opta_f24.xml": ["opta_f7.xml"],
    "statsperform_event_ma3.xml": ["statsperform_event_ma1.xml"],
    "statsperform_event_ma3.json": ["statsperform_event_ma1.json"],
    "wyscout_events_v2.json": [],
    "wyscout_events_v3.json": [],
    "datafactory_events.json": [],
    "sportec_events.xml": ["sportec_meta.xml"],
    "impect_events.json": ["impect_lineups.json", "impect_squads.json", "impect_players.json"],
    "metrica_events.json": ["epts_metrica_metadata.xml"],
}
CARDS = {"yellow": ("yellow_card", None), "red": ("red_card", None), "second_yellow": ("card", "second_yellow")}


def opened(path: Path) -> tuple[Recording, list[dict[str, Any]], int]:
    """The recording, its events, and how many rows are left out."""
    recording = open_recording(path, match_id="", beside=(), kickoff=lambda told, length_s: told or KICKOFF)
    found = list(recording.entries)
    left_out = sum(entry.rows for entry in found if isinstance(entry, LeftOutRows))
    return recording, [json.loads(entry.event.body) for entry in found if isinstance(entry, Due)], left_out


@cache
def opened_sample(name: str) -> tuple[Recording, list[dict[str, Any]], int]:
    return opened(counting.sample(name))


@pytest.fixture(scope="module", params=SAMPLES)
def match(request: pytest.FixtureRequest) -> tuple[counting.Counted, Recording, list[dict[str, Any]], int]:
    path = counting.sample(request.param)
    return (SAMPLES[request.param](path), *opened_sample(request.param))


def test_every_row_of_the_file_is_sent_or_named_as_left_out(match):
    counted, recording, _, left_out = match
    sent = sum(bool(entry.event.source) for entry in recording.entries if isinstance(entry, Due))

    assert counted.rows == recording.rows == sent + left_out


def test_goals_own_goals_cards_and_the_shootout_are_those_of_the_file(match):
    counted, _, events, _ = match
    of = {kind: Counter(e["teamId"] for e in events if e["eventType"] == kind) for kind in ("goal", "own_goal")}
    shown = Counter(
        (event["teamId"], event["eventType"], event["metadata"].get("card"))
        for event in events
        if event["eventType"] in ("yellow_card", "red_card", "card")
    )
    kicks = Counter(
        (event["teamId"], event["eventType"] == "shootout_goal")
        for event in events
        if event["eventType"].startswith("shootout_")
    )

    assert of == {"goal": counted.goals, "own_goal": counted.own_goals}
    assert shown == Counter({(team, *CARDS[colour]): n for (team, colour), n in counted.cards.items()})
    assert kicks == counted.shootout


def test_events_are_sent_under_their_types(match):
    counted, _, events, _ = match
    types = Counter(event["eventType"] for event in events)

    assert {name: types[name] for name in counted.types} == counted.types


def test_the_match_begins_and_ends_with_the_file(match):
    counted, _, events, _ = match
    first = next(event for event in events if event["eventType"] in ("pass", "free_kick", "throw_in"))
    start, end = events[0], events[-1]
    minute = int(counted.first_s // 60) + 1

    assert (start["eventType"], end["eventType"]) == ("match_start", "match_end")
    assert (first["metadata"]["minute"], first["metadata"]["period"]) == (minute, 1)
    assert {side["id"] for side in (start["metadata"]["home"], start["metadata"]["away"])} >= {
        event["teamId"] for event in events if "teamId" in event
    }
    assert events == sorted(events, key=lambda event: event["timestamp"])
    ends = [e["metadata"] for e in events if e["eventType"] == "half_end"]
    last = 15 if ends[-1]["period"] in (3, 4) else 45
    if ends[-1]["period"] < 5:
        assert ends[-1].get("added", 0) == max(0, int(counted.last_s // 60) + 1 - last)


def test_every_event_is_valid_for_the_service_and_has_an_id_of_its_own(match):
    _, _, events, _ = match
    schema = EventSchema(clock=ReceiptClock(), extra_types=["card"])

    for event in events:
        assert schema.parse(msgspec.json.encode(event), origin=Origin()).event_id == event["eventId"]
    assert len({event["eventId"] for event in events}) == len(events)


def test_places_lie_on_the_pitch_and_attempts_before_the_goal_that_is_attacked(match):
    _, _, events, _ = match
    places = [(e["metadata"]["x"], e["metadata"]["y"]) for e in events if "x" in e["metadata"]]
    attempts = [e["metadata"]["x"] for e in events if e["eventType"] in ("shot", "goal") and "x" in e["metadata"]]

    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in places)
    assert len(attempts) < 5 or sum(attempts) / len(attempts) > 75


def test_goals_name_their_scorer_and_minute(match):
    _, _, events, _ = match
    goals = [event["metadata"] for event in events if event["eventType"] in ("goal", "own_goal")]

    assert all(goal["player"] and 1 <= goal["minute"] <= 120 and goal["period"] in (1, 2, 3, 4) for goal in goals)


@pytest.mark.parametrize(
    ("name", "event_type", "expected"),
    [
        ("opta_f24.xml", "goal", {"minute": 23, "penalty": True, "player": "Godsway Donyoh"}),
        ("opta_f24.xml", "shootout_goal", {"minute": 120, "period": 5, "player": "Mohammed Kudus"}),
        ("statsperform_event_ma3.json", "goal", {"minute": 74, "penalty": True, "player": "D. Kinsombi"}),
        ("statsperform_event_ma3.xml", "card", {"minute": 72, "card": "second_yellow", "player": "M. Ritzmaier"}),
        ("statsbomb_event.json", "own_goal", {"minute": 90, "player": "Fernando Pacheco"}),
        ("statsbomb_15986_event.json", "goal", {"period": 1}),
        ("wyscout_events_v2.json", "yellow_card", {"player": "M. Albrighton", "minute": 17}),
        ("wyscout_events_v3.json", "goal", {"minute": 13, "player": "D. Kulusevski"}),
        ("datafactory_events.json", "own_goal", {"minute": 19, "player": "Andrew Burhans"}),
        ("sportec_events.xml", "goal", {"minute": 58, "player": "N. Petersen", "assist": "V. Grifo"}),
        ("impect_events.json", "goal", {"minute": 16, "player": "Robert Johnson", "outcome": "Goal"}),
        ("metrica_events.json", "goal", {"minute": 19, "player": "Player 27"}),
    ],
)
def test_details_are_kept(name, event_type, expected):
    _, events, _ = opened_sample(name)
    metadata = next(event["metadata"] for event in events if event["eventType"] == event_type)

    assert metadata | expected == metadata


@pytest.mark.parametrize("name", BESIDE)
def test_gzipped_and_in_a_folder_of_its_own_it_is_the_same(tmp_path, name):
    for file in (name, *BESIDE[name]):
        (tmp_path / f"{file}.gz").write_bytes(gzip.compress(counting.sample(file).read_bytes(), compresslevel=1))

    assert opened(tmp_path / f"{name}.gz")[1] == opened_sample(name)[1]


@pytest.mark.parametrize("name", BESIDE)
def test_of_a_file_that_is_cut_off_what_is_whole_is_sent_and_no_end(tmp_path, name):
    for file in BESIDE[name]:
        shutil.copy(counting.sample(file), tmp_path)
    content = counting.sample(name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 3 // 4])
    whole, all_events, _ = opened_sample(name)
    recording, events, left_out = opened(tmp_path / name)
    sent = sum(bool(entry.event.source) for entry in recording.entries if isinstance(entry, Due))

    assert CUT_OFF in recording.notices
    assert not [notice for notice in recording.notices if "kloppy" in notice], "places are there"
    assert "match_end" not in {event["eventType"] for event in events}
    assert whole.rows / 2 < recording.rows == sent + left_out < whole.rows
    assert {e["eventId"] for e in events} - {e["eventId"] for e in all_events} <= added(events)


def added(events: list[dict[str, Any]]) -> set[str]:
    """Ids of the events that are made of what is there: the halves, and substitutions of the line-ups."""
    return {e["eventId"] for e in events if e["eventType"] in ("match_start", "half_start", "half_end", "substitution")}


def running_ma3(folder: Path) -> Path:
    """Stats Perform's files as they are an hour into the match: MA1 has no end of the half, MA3 no rows of later."""
    lineups = json.loads(counting.sample("statsperform_event_ma1.json").read_bytes())
    lineups["liveData"]["matchDetails"]["matchStatus"] = "Playing"
    del lineups["liveData"]["matchDetails"]["period"][1]["end"]
    events = json.loads(counting.sample("statsperform_event_ma3.json").read_bytes())
    live = events["liveData"]
    live["event"] = [row for row in live["event"] if row["periodId"] in (1, 2, 16) and row["timeMin"] < 60]
    (folder / "ma1.json").write_text(json.dumps(lineups))
    (folder / "ma3.json").write_text(json.dumps(events))
    return folder / "ma3.json"


def running_sportec(folder: Path) -> Path:
    """Sportec's files before the final whistle: no result, no length of the halves."""
    information = ElementTree.parse(counting.sample("sportec_meta.xml"))
    for general in information.iter("General"):
        del general.attrib["Result"]
    for element in information.findall("MatchInformation"):
        for other in element.findall("OtherGameInformation"):
            element.remove(other)
    events = ElementTree.parse(counting.sample("sportec_events.xml"))
    whistles = [event for event in events.getroot() if event.find("FinalWhistle") is not None]
    events.getroot().remove(whistles[-1])
    information.write(folder / "information.xml", encoding="utf-8")
    events.write(folder / "events.xml", encoding="utf-8")
    return folder / "events.xml"


def running_impect(folder: Path) -> Path:
    """Impect's rows of the first half, with line-ups that know of later substitutions."""
    rows = [row for row in json.loads(counting.sample("impect_events.json").read_bytes()) if row["periodId"] == 1]
    (folder / "rows.json").write_text(json.dumps(rows[:-20]))
    shutil.copy(counting.sample("impect_lineups.json"), folder)
    return folder / "rows.json"


@pytest.mark.parametrize("running", [running_ma3, running_sportec, running_impect])
def test_a_match_that_is_still_running_is_sent_with_its_places_and_without_an_end(tmp_path, running):
    recording, events, left_out = opened(running(tmp_path))
    sent = sum(bool(entry.event.source) for entry in recording.entries if isinstance(entry, Due))

    assert recording.notices == (STILL_RUNNING,)
    assert recording.rows == sent + left_out
    assert "match_end" not in {event["eventType"] for event in events}
    assert any("x" in event["metadata"] for event in events)


@pytest.mark.parametrize(("name", "needed"), [(n, files[0]) for n, files in BESIDE.items() if files])
def test_without_the_file_that_belongs_to_it_one_sentence_says_which(tmp_path, name, needed):
    shutil.copy(counting.sample(name), tmp_path)
    kinds = {
        "statsbomb_lineup.json": "a StatsBomb line-up file",
        "opta_f7.xml": "an Opta F7 file",
        "statsperform_event_ma1.xml": "a Stats Perform MA1 file",
        "statsperform_event_ma1.json": "a Stats Perform MA1 file",
        "sportec_meta.xml": "a Sportec match-information file",
        "impect_lineups.json": "an Impect line-up file",
        "epts_metrica_metadata.xml": "a metadata file in FIFA's EPTS format",
    }

    with pytest.raises(Exception, match=f"it needs {kinds[needed]} of the same match.*--with FILE"):
        opened(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("metrica_home.csv", "tracking data of Metrica"),
        ("epts_metrica_tracking.txt", "tracking data"),
        ("pff_3812.jsonl", "tracking data of PFF"),
        ("second_spectrum_fake_data.jsonl", "tracking data of Second Spectrum"),
        ("signality_p1_raw_data_subset.json", "tracking data of Signality"),
        ("skillcorner_v3_raw_data.jsonl", "tracking data of SkillCorner"),
        ("sportec_positional.xml", "tracking data of Sportec"),
        ("statsperform_tracking_ma25.txt", "tracking data of Stats Perform"),
        ("tracab_raw.dat", "tracking data"),
        ("tracab_raw.json", "tracking data of TRACAB"),
        ("tracab_meta.xml", "metadata of tracking data of TRACAB"),
        ("hawkeye_meta.json", "metadata of tracking data of HawkEye"),
        ("statsbomb_3788741_360.json", "a StatsBomb 360 file"),
        ("code_xml.xml", "coded video of Sportscode"),
    ],
)
def test_tracking_data_are_named_as_such(name, told):
    with pytest.raises(Exception, match=f"is {told}"):
        opened_sample(name)
