"""Files that can be replayed: what is sent of them, byte by byte, and what is left out."""

import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.sending.recording import Due, LeftOutRows, RecordingError, find_lineup, match_name, open_recording
from tests.paths import DATA

KICKOFF = datetime(2024, 1, 15, 19, tzinfo=UTC)


def entries(path: Path, *, match_id: str = "", lineup: Path | None = None):
    recording = open_recording(path, match_id=match_id, lineup=lineup, kickoff=KICKOFF)
    return recording, list(recording.entries)


def test_ndjson_rows_are_sent_as_they_are():
    recording, found = entries(DATA / "made_up.ndjson")
    lines = (DATA / "made_up.ndjson").read_bytes().split(b"\n")

    assert recording.rows == len(found) == 7
    assert found[0].event.body == lines[0]
    assert found[0].at_s == datetime(2024, 1, 15, 14, tzinfo=UTC).timestamp()
    assert sum(isinstance(entry, Due) for entry in found) == 6


def test_a_line_that_is_no_object_is_left_out_with_its_number():
    _, found = entries(DATA / "made_up.ndjson")
    (left_out,) = [entry for entry in found if isinstance(entry, LeftOutRows)]

    assert left_out.fault == "line 7: not a JSON object"


def test_an_event_without_id_gets_the_same_one_each_time_and_keeps_its_digits():
    bodies = [entries(DATA / "made_up.ndjson")[1][2].event.body for _ in range(2)]

    assert bodies[0] == bodies[1]
    assert b"123456789012345678901234567890" in bodies[0]
    assert json.loads(bodies[0])["eventId"]


def test_equal_lines_without_id_are_two_events(tmp_path):
    file = tmp_path / "twice.ndjson"
    file.write_text('{"matchId":"m","eventType":"cheer"}\n' * 2)
    _, (one, other) = entries(file)

    assert one.event.event_id != other.event.event_id


def test_a_match_id_given_replaces_the_files():
    _, found = entries(DATA / "made_up.ndjson", match_id="other")

    assert {json.loads(e.event.body)["matchId"] for e in found if isinstance(e, Due)} == {"other"}


def test_gzip_and_array_hold_the_same(tmp_path):
    lines = [line for line in (DATA / "made_up.ndjson").read_text().splitlines() if line.startswith("{")]
    zipped, array = tmp_path / "match.ndjson.gz", tmp_path / "match.json"
    zipped.write_bytes(gzip.compress("\n".join(lines).encode()))
    array.write_text("[" + ",".join(lines) + "]")

    first = [json.loads(entry.event.body) for entry in entries(zipped)[1]]
    second = [json.loads(entry.event.body) for entry in entries(array)[1]]
    for event in (*first, *second):
        event.pop("eventId") if event["eventType"] == "cheer" else None
    assert first == second


def test_a_providers_file_finds_its_line_up_and_names_its_match():
    recording, found = entries(DATA / "made_up_event.json")
    due = [entry for entry in found if isinstance(entry, Due)]

    assert recording.rows == 53
    assert recording.expected == len(due)
    assert (
        sum(bool(entry.event.source) for entry in due)
        + sum(entry.rows for entry in found if isinstance(entry, LeftOutRows))
        == recording.rows
    )
    assert "StatsBomb" in recording.notice
    assert {json.loads(entry.event.body)["matchId"] for entry in due} == {"made_up"}


def test_a_missing_line_up_says_what_to_do(tmp_path):
    shutil.copy(DATA / "made_up_event.json", tmp_path)

    with pytest.raises(RecordingError, match="--lineup"):
        entries(tmp_path / "made_up_event.json")


def test_the_providers_own_layout_is_known(tmp_path):
    for folder, part in (("events", "event"), ("lineups", "lineup")):
        (tmp_path / folder).mkdir()
        shutil.copy(DATA / f"made_up_{part}.json", tmp_path / folder / "77.json")

    assert find_lineup(tmp_path / "events" / "77.json") == tmp_path / "lineups" / "77.json"
    assert match_name(tmp_path / "events" / "77.json") == "77"


@pytest.mark.parametrize("content", ["", "hello", '"text"', "[1, 2]", '[{"a": 1}]', "[", "[{"])
def test_other_files_are_refused_with_a_sentence(tmp_path, content):
    file = tmp_path / "file.json"
    file.write_text(content)

    with pytest.raises(RecordingError, match=r"file\.json"):
        entries(file)


def test_a_truncated_gzip_is_refused_before_anything_is_sent(tmp_path):
    file = tmp_path / "match.ndjson.gz"
    file.write_bytes(gzip.compress((DATA / "made_up.ndjson").read_bytes())[:-20])

    with pytest.raises(RecordingError, match="cannot read"):
        entries(file)
