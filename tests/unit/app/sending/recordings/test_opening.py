"""Files that can be replayed: what is sent of them, byte by byte, and what is left out."""

import gzip
import json
import random
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sending.providers.match import ProviderError
from app.sending.recordings import kinds
from app.sending.recordings.opening import match_name, open_recording
from app.sending.recordings.own import CUT_OFF, MORE_PAGES
from app.sending.recordings.recording import Due, LeftOutRows, RecordingError
from tests.paths import DATA

KICKOFF = datetime(2024, 1, 15, 19, tzinfo=UTC)


def entries(path: Path, *, match_id: str = "", beside: Sequence[Path] = ()):
    recording = open_recording(path, match_id=match_id, beside=beside, kickoff=lambda told, length_s: told or KICKOFF)
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
    assert any("StatsBomb" in notice for notice in recording.notices)
    assert {json.loads(entry.event.body)["matchId"] for entry in due} == {"made_up"}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_line_up_beside_it_is_found_plain_or_gzipped(tmp_path, suffix):
    for part in ("event", "lineup"):
        content = (DATA / f"made_up_{part}.json").read_bytes()
        (tmp_path / f"made_up_{part}.json{suffix}").write_bytes(gzip.compress(content) if suffix else content)

    assert entries(tmp_path / f"made_up_event.json{suffix}")[0].rows == 53


def test_a_missing_line_up_says_what_to_do(tmp_path):
    shutil.copy(DATA / "made_up_event.json", tmp_path)

    with pytest.raises(RecordingError, match=r"needs a StatsBomb line-up file of the same match.*--with FILE"):
        entries(tmp_path / "made_up_event.json")


def test_a_line_up_that_is_named_is_taken(tmp_path):
    shutil.copy(DATA / "made_up_event.json", tmp_path)

    assert entries(tmp_path / "made_up_event.json", beside=[DATA / "made_up_lineup.json"])[0].rows == 53


def test_a_named_file_that_does_not_belong_here_is_refused(tmp_path):
    other = tmp_path / "other.json"
    lineups = json.loads((DATA / "made_up_lineup.json").read_bytes())
    for team in lineups:
        team["team_id"] += 1000
    other.write_text(json.dumps(lineups))

    with pytest.raises(RecordingError, match=r"other\.json is a StatsBomb line-up file of another match"):
        entries(DATA / "made_up_event.json", beside=[other])
    with pytest.raises(RecordingError, match=r"made_up\.ndjson is not known here, and .* needs a StatsBomb line-up"):
        entries(DATA / "made_up_event.json", beside=[DATA / "made_up.ndjson"])


def test_of_several_line_ups_the_one_of_the_same_match_is_taken(tmp_path):
    for part in ("event", "lineup"):
        shutil.copy(DATA / f"made_up_{part}.json", tmp_path / f"z_{part}.json")
    others = json.loads((DATA / "made_up_lineup.json").read_bytes())
    for team in others:
        team["team_id"] += 1000
    (tmp_path / "z_lineup_of_another.json").write_text(json.dumps(others))

    assert entries(tmp_path / "z_event.json")[0].rows == 53


def test_the_providers_own_layout_is_known(tmp_path):
    for folder, part in (("events", "event"), ("lineups", "lineup")):
        (tmp_path / folder).mkdir()
        shutil.copy(DATA / f"made_up_{part}.json", tmp_path / folder / "77.json")

    assert entries(tmp_path / "events" / "77.json")[0].rows == 53
    assert match_name(tmp_path / "events" / "77.json") == "77"


def test_rows_of_a_provider_as_ndjson_are_the_same_match(tmp_path):
    rows = json.loads((DATA / "made_up_event.json").read_bytes())
    (tmp_path / "made_up.ndjson").write_text("\n".join(map(json.dumps, rows)))
    shutil.copy(DATA / "made_up_lineup.json", tmp_path)

    assert bodies(tmp_path / "made_up.ndjson") == bodies(DATA / "made_up_event.json")


def test_of_rows_as_ndjson_a_faulty_one_is_named_and_the_last_may_be_cut_off(tmp_path):
    lines = [json.dumps(row) for row in json.loads((DATA / "made_up_event.json").read_bytes())]
    shutil.copy(DATA / "made_up_lineup.json", tmp_path)
    file = tmp_path / "rows.ndjson"
    file.write_text("\n".join([*lines[:30], lines[30][:40]]))
    recording, _ = entries(file)
    file.write_text("\n".join([*lines[:30], lines[30][:40], *lines[31:]]))

    assert (recording.rows, CUT_OFF in recording.notices) == (30, True)
    with pytest.raises(RecordingError, match="line 31 is not a JSON object"):
        entries(file)


@pytest.mark.parametrize("name", ["\ud800", "A\u0000B", "x" * 100_000])
def test_a_name_that_no_text_has_is_sent_or_refused_in_one_sentence(tmp_path, name):
    rows = json.loads((DATA / "made_up_event.json").read_bytes())
    rows[-1]["type"]["name"] = name
    shutil.copy(DATA / "made_up_lineup.json", tmp_path)
    (tmp_path / "odd.json").write_text(json.dumps(rows))

    assert "\n" not in refusal(tmp_path / "odd.json")


def bodies(path: Path) -> list[dict]:
    return [json.loads(entry.event.body) for entry in entries(path)[1] if isinstance(entry, Due)]


def test_one_pretty_printed_object_is_one_event(tmp_path):
    event = {"matchId": "m", "eventType": "goal", "teamId": "1", "metadata": {"minute": 3, "player": "Ä"}}
    file = tmp_path / "one.json"
    file.write_text(json.dumps(event, indent=2))
    recording, (due,) = entries(file)

    assert recording.rows == 1
    body = json.loads(due.event.body)
    assert body.pop("eventId") == due.event.event_id
    assert body == event


ANSWER = {
    "matchId": "m",
    "events": [
        {"eventId": f"00000000-0000-4000-8000-00000000000{n}", "matchId": "m", "eventType": "cheer", "teamId": None,
         "playerId": None, "timestamp": f"2024-01-15T19:0{n}:00Z", "metadata": {"n": n},
         "receivedAt": "2024-01-15T19:10:00Z", "retracted": False}
        for n in (3, 2, 1)
    ],
    "pendingEvents": 0,
    "nextCursor": None,
}  # fmt: skip


@pytest.mark.parametrize("indent", [None, 2])
def test_an_answer_of_the_service_is_replayed_in_the_order_of_play(tmp_path, indent):
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(ANSWER, indent=indent))
    recording, found = entries(file)

    assert recording.rows == 3
    assert [json.loads(due.event.body)["metadata"]["n"] for due in found] == [1, 2, 3]
    assert not {"receivedAt", "retracted"} & json.loads(found[0].event.body).keys()
    assert recording.notices == ()


def test_an_answer_that_goes_on_elsewhere_says_so(tmp_path):
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(ANSWER | {"nextCursor": "abc"}))

    assert entries(file)[0].notices == (MORE_PAGES,)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"hello", "is a text, but neither JSON nor XML"),
        (b'"text"', "is JSON, but neither events of ours nor of a provider"),
        (b"[1, 2]", "is JSON, but neither"),
        (b'[{"a": 1}]', "is JSON, but neither"),
        (b"{}", "is JSON, but neither"),
        (b"[", "is cut off before anything in it says what it is"),
        (b"[{", "is cut off before"),
        (b"[{}}", "looks like JSON, but cannot be read as such"),
        (b"<a><b></a>", "looks like XML, but cannot be read as such"),
        (b"<a/>", "is XML, but neither"),
        (b"<html><body/></html>", "is an HTML page"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a PNG image"),
        (b"PK\x03\x04\x14\0", "is a ZIP archive; unpack it first"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"\xff\xfe[\0", "is text in UTF-16; save it as UTF-8"),
        (b"a\0b", "is not text"),
        (b"\x1f\x8b", "ends too early"),
        (b"\x1f\x8bgarbage", "cannot read"),
        (b"[" * 100_000, "is nested too deep|is cut off"),
        (b",,,Home,,Home\n", "is tracking data of Metrica"),
        (
            b'{"frameIdx": 1, "homePlayers": []}\n{"frameIdx": 2, "homePlayers": []}',
            "is tracking data of Second Spectrum",
        ),
        (b'[{"event_uuid": "a", "visible_area": []}]', "is a StatsBomb 360 file"),
        (
            b'[{"team_id": 1, "lineup": []}]',
            "is a StatsBomb line-up file, which holds no events: replay the event file",
        ),
        (b"<SoccerFeed/>", "is an Opta F7 file, which holds no events: replay the event file"),
        (b"<PutDataRequest><Positions/></PutDataRequest>", "is tracking data of Sportec"),
    ],
)
def test_a_file_that_is_none_is_named_for_what_it_is_in_one_sentence(tmp_path, content, told):
    file = tmp_path / "file.json"
    file.write_bytes(content)

    with pytest.raises(RecordingError, match=told) as caught:
        entries(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_known_is_told_what_is(tmp_path):
    file = tmp_path / "file.json"
    file.write_text("{}")

    with pytest.raises(RecordingError) as caught:
        entries(file)
    assert kinds.KNOWN in str(caught.value)


def test_of_ndjson_cut_off_in_its_gzip_stream_the_whole_lines_are_sent(tmp_path):
    """Numbers that do not compress, so that much of the text is in what is left of the stream."""
    lines = [
        f'{{"matchId":"m","eventType":"cheer","metadata":{{"r":{random.Random(n).random()}}}}}' for n in range(500)
    ]
    file = tmp_path / "match.ndjson.gz"
    packed = gzip.compress("\n".join(lines).encode())
    file.write_bytes(packed[: len(packed) // 2])
    recording, found = entries(file)

    assert recording.notices == (CUT_OFF,)
    assert [entry for entry in found if isinstance(entry, LeftOutRows) and entry.fault] == []
    assert 100 < sum(isinstance(entry, Due) for entry in found) < 400
    assert recording.rows == len(found)


def test_a_gzip_file_of_several_members_is_read_to_its_end(tmp_path):
    lines = (DATA / "made_up.ndjson").read_bytes().splitlines(keepends=True)
    file = tmp_path / "match.ndjson.gz"
    file.write_bytes(b"".join(gzip.compress(line) for line in lines))

    assert entries(file)[0].rows == entries(DATA / "made_up.ndjson")[0].rows


def test_of_an_array_cut_off_in_the_middle_what_is_whole_is_sent(tmp_path):
    events = [
        {
            "matchId": "m",
            "eventType": "cheer",
            "metadata": {"text": 'a, ] } " b', "n": [n]},
            "big": 123456789012345678901234567890,
        }
        for n in range(20)
    ]
    text = json.dumps(events)
    file = tmp_path / "match.json"
    for length in range(len(text) // 2, len(text) - 1, 7):
        file.write_text(text[:length])
        recording, found = entries(file)
        sent = [json.loads(due.event.body)["metadata"]["n"] for due in found]

        assert recording.notices == (CUT_OFF,)
        assert sent == [[n] for n in range(len(sent))]
        assert b"123456789012345678901234567890" in found[0].event.body
        assert len(sent) >= text[:length].count("890}, ")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"",
            b"[",
            b"{",
            b"<",
            b"\x1f\x8b\x08",
            b'[{"type":1,"period":1,"possession":1',
            b'{"events":[{"matchPeriod":"1H"',
            b"<Games><Game><Event ",
            b'{"liveData":{"event":[],"x":',
        ]
    ),
)
def test_whatever_the_bytes_it_is_read_or_named_in_one_sentence(tmp_path, content, head):
    file = tmp_path / "any"
    file.write_bytes(head + content)
    assert "\n" not in refusal(file)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_providers_file_with_anything_in_it_is_read_or_named_in_one_sentence(tmp_path, data):
    """One value of one row is replaced by another of any kind."""
    rows = json.loads((DATA / "made_up_event.json").read_bytes())
    row = rows[data.draw(st.integers(0, len(rows) - 1))]
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(
        st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}))
    )
    file = tmp_path / "any_event.json"
    file.write_text(json.dumps(rows))
    shutil.copy(DATA / "made_up_lineup.json", tmp_path / "any_lineup.json")
    if told := refusal(file):
        assert "\n" not in told
        return
    recording, found = entries(file)
    rows_of = [entry.rows if isinstance(entry, LeftOutRows) else bool(entry.event.source) for entry in found]
    assert sum(rows_of) == recording.rows == len(rows)


def refusal(path: Path) -> str:
    """What is said of a file that is not read; empty where it is."""
    try:
        list(entries(path)[1])
    except (RecordingError, ProviderError) as error:
        return str(error)
    return ""
