"""The rules of an event, one by one, through `EventSchema.parse`."""

import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.schemas.events import EventSchema, Origin
from app.schemas.faults import InvalidEventError
from app.schemas.metadata import levels
from shards.clock import ReceiptClock
from shards.events import Event

MATCH = {"matchId": "m1", "eventType": "view"}
ID = "3f2b1c00-0000-4000-8000-00000000abcd"


@pytest.fixture
def schema() -> EventSchema:
    return EventSchema(clock=ReceiptClock(), extra_types=("wave",))


def parse(schema: EventSchema, event: object, *, index: int = 0, **origin: Any) -> Event:
    text = event if isinstance(event, bytes) else json.dumps(event).encode()
    return schema.parse(text, index=index, origin=Origin(**origin))


def faults(schema: EventSchema, event: object, **origin: Any) -> dict[str, str]:
    with pytest.raises(InvalidEventError) as caught:
        parse(schema, event, **origin)
    fields = [fault.field for fault in caught.value.faults]
    assert len(fields) == len(set(fields)), "a field was reported twice"
    return {fault.field: fault.message for fault in caught.value.faults}


def test_a_full_event_is_normalized(schema: EventSchema) -> None:
    event = parse(
        schema,
        {
            "eventId": ID.upper(),
            "matchId": "مباراة 1",
            "eventType": "goal",
            "timestamp": "2024-01-15T17:00:00.1239+03:00",
            "teamId": 1,
            "playerId": "77",
            "metadata": {"minute": 12},
        },
    )
    assert event.event_id == ID
    assert event.match_id == "مباراة 1"
    assert event.timestamp == 1705327200123
    assert (event.team_id, event.player_id) == ("1", "77")
    assert json.loads(event.metadata) == {"minute": 12}


def test_what_is_absent_is_filled_in(schema: EventSchema) -> None:
    first, second = parse(schema, MATCH), parse(schema, MATCH)
    assert uuid.UUID(first.event_id).version == 7
    assert first.event_id != second.event_id
    assert first.timestamp == first.received_ns // 1_000_000
    assert (first.team_id, first.player_id, first.metadata) == ("", "", "{}")
    assert second.order_ns > first.order_ns


def test_what_is_absent_is_filled_in_by_the_wall_clock_though_the_order_is_ahead_of_it() -> None:
    clock = ReceiptClock()
    schema = EventSchema(clock=clock)
    clock.raise_to(ahead := clock.now_ns() + 3_600 * 10**9)
    before_ns = clock.now_ns()
    first, second = parse(schema, MATCH), parse(schema, MATCH)
    assert (first.order_ns, second.order_ns) == (ahead + 1, ahead + 2)
    for event in (first, second):
        assert before_ns <= event.received_ns <= clock.now_ns()
        assert event.timestamp == event.received_ns // 1_000_000


def test_null_means_absent_in_optional_fields(schema: EventSchema) -> None:
    optional = ("eventId", "timestamp", "teamId", "playerId", "metadata")
    event = parse(schema, MATCH | dict.fromkeys(optional))
    assert (event.team_id, event.player_id, event.metadata) == ("", "", "{}")
    assert uuid.UUID(event.event_id)
    assert faults(schema, {"matchId": None, "eventType": None}).keys() == {"$.matchId", "$.eventType"}
    assert faults(schema, {"matchId": "m", "eventType": "goal", "teamId": None}).keys() == {"$.teamId"}


def test_an_idempotency_key_makes_ids_that_come_again(schema: EventSchema) -> None:
    ids = [parse(schema, MATCH, index=index, idempotency_key="k").event_id for index in (0, 1, 0)]
    assert ids[0] == ids[2] != ids[1]
    assert uuid.UUID(ids[0]).version == 5
    assert parse(schema, MATCH, idempotency_key="other").event_id != ids[0]
    assert parse(schema, MATCH | {"eventId": ID}, idempotency_key="k").event_id == ID


@pytest.mark.parametrize("text", [ID, ID.upper(), f"{{{ID}}}", f"urn:uuid:{ID}", ID.replace("-", ""), f"URN:UUID:{ID}"])
def test_a_uuid_in_any_spelling_becomes_canonical(schema: EventSchema, text: str) -> None:
    assert parse(schema, MATCH | {"eventId": text}).event_id == ID


@pytest.mark.parametrize("value", ["", "x", ID[:-1], f"{ID}0", "0" * 36, f"{ID}\n", 7, True, {}, []])
def test_other_event_ids_are_refused(schema: EventSchema, value: object) -> None:
    assert "UUID" in faults(schema, MATCH | {"eventId": value})["$.eventId"]


@pytest.mark.parametrize("digits", ["0", "-5", "123456789012345678901234567890", "9" * 64])
def test_integers_keep_their_digits_as_ids(schema: EventSchema, digits: str) -> None:
    text = b'{"matchId":"m","eventType":"goal","teamId":%b,"playerId":%b}' % ((digits.encode(),) * 2)
    event = parse(schema, text)
    assert (event.team_id, event.player_id) == (digits, digits)


@pytest.mark.parametrize("field", ["teamId", "playerId"])
@pytest.mark.parametrize(
    "literal",
    ["true", "1.0", "1e3", '"a\\u0000"', '"a\\nb"', '"\\u0085"', "{}", "[]", '"%s"' % ("x" * 65), "9" * 65],
)
def test_other_team_and_player_ids_are_refused(schema: EventSchema, field: str, literal: str) -> None:
    text = f'{{"matchId":"m","eventType":"view","{field}":{literal}}}'.encode()
    assert faults(schema, text).keys() == {f"$.{field}"}


@pytest.mark.parametrize("field", ["teamId", "playerId"])
@pytest.mark.parametrize(
    ("literal", "message"),
    [
        ("217.0", "217.0 has a decimal point; send it as an integer or a string"),
        ("-1.50", "-1.50 has a decimal point; send it as an integer or a string"),
        ("1.5e3", "1.5e3 has a decimal point; send it as an integer or a string"),
        ("1e3", "1e3 has an exponent; send it as an integer or a string"),
        (f"0.{'3' * 99}", f"0.{'3' * 58}... has a decimal point; send it as an integer or a string"),
        ("true", "must be a string or an integer, not a boolean"),
        ("{}", "must be a string or an integer, not an object"),
    ],
)
def test_a_team_or_player_id_that_is_refused_says_how_to_send_it(
    schema: EventSchema, field: str, literal: str, message: str
) -> None:
    text = f'{{"matchId":"m","eventType":"view","{field}":{literal}}}'.encode()
    assert faults(schema, text) == {f"$.{field}": message}


@pytest.mark.parametrize("value", ["", "x" * 129, "a\x00b", "a\x7f", "a\x9f", 5, 1.5, True, None, [], {}])
def test_bad_match_ids_are_refused(schema: EventSchema, value: object) -> None:
    assert faults(schema, {"matchId": value, "eventType": "view"}).keys() == {"$.matchId"}


def test_the_longest_match_id_counts_characters(schema: EventSchema) -> None:
    assert parse(schema, {"matchId": "é" * 128, "eventType": "view"}).match_id == "é" * 128


def test_path_and_body_must_agree_on_the_match(schema: EventSchema) -> None:
    assert parse(schema, {"eventType": "view"}, match_id='m"1').match_id == 'm"1'
    assert parse(schema, {"eventType": "view", "matchId": "m"}, match_id="m").match_id == "m"
    assert faults(schema, {"eventType": "view", "matchId": "n"}, match_id="m").keys() == {"$.matchId"}


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2024-01-15T14:00:00Z", 1705327200000),
        ("2024-01-15t14:00:00z", 1705327200000),
        ("2024-01-15 14:00:00+00:00", 1705327200000),
        ("2024-01-15T14:00Z", 1705327200000),
        ("20240115T140000Z", 1705327200000),
        ("2024-01-15T14:00:00,5Z", 1705327200500),
        ("2024-01-15T14:00:00.999999999Z", 1705327200999),
        ("2024-01-15T09:30:00-0430", 1705327200000),
        ("2000-01-01T00:00:00Z", 946684800000),
        ("1999-12-31T23:30:00-01:00", 946686600000),
    ],
)
def test_times_with_an_offset(schema: EventSchema, text: str, milliseconds: int) -> None:
    assert parse(schema, MATCH | {"timestamp": text}).timestamp == milliseconds


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("2024-01-15T14:00:00", "offset"),
        ("2024-01-15", "ISO 8601"),
        ("yesterday", "ISO 8601"),
        ("", "ISO 8601"),
        (1705327200, "ISO 8601"),
        (True, "ISO 8601"),
        ("2024-02-30T00:00:00Z", "existing"),
        ("2024-01-15T25:00:00Z", "existing"),
        ("2024-01-15T14:00:00+99:00", "existing"),
        ("0000-01-15T14:00:00Z", "existing"),
        ("0001-01-01T00:00:00+14:00", "2000"),
        ("1999-12-31T23:59:59.999Z", "2000"),
        ("9999-12-31T23:59:59-14:00", "future"),
        ("٢٠٢٤-01-15T14:00:00Z", "ISO 8601"),
    ],
)
def test_other_times_are_refused(schema: EventSchema, value: object, hint: str) -> None:
    assert hint in faults(schema, MATCH | {"timestamp": value})["$.timestamp"]


def test_times_may_lie_a_day_ahead_and_no_more(schema: EventSchema) -> None:
    now = datetime.now(UTC)
    parse(schema, MATCH | {"timestamp": (now + timedelta(hours=23, minutes=59)).isoformat()})
    late = (now + timedelta(hours=24, minutes=1)).isoformat()
    assert "24 hours" in faults(schema, MATCH | {"timestamp": late})["$.timestamp"]


@pytest.mark.parametrize("nobody", [None, ""])
def test_an_empty_id_of_a_team_or_player_is_an_absent_one(schema: EventSchema, nobody: str | None) -> None:
    event = parse(schema, {"matchId": "m", "eventType": "view", "teamId": nobody, "playerId": nobody})
    assert (event.team_id, event.player_id) == ("", "")
    assert "required" in faults(schema, {"matchId": "m", "eventType": "goal", "teamId": nobody})["$.teamId"]


def test_team_events_need_a_team_others_do_not(schema: EventSchema) -> None:
    assert len(schema.types.known) == 8 + 32 + 7 + 1 + 1
    for event_type in schema.types.known - {"retraction"}:
        event = {"matchId": "m", "eventType": event_type}
        if schema.types.needs_team(event_type):
            assert faults(schema, event).keys() == {"$.teamId"}
            assert parse(schema, event | {"teamId": "1"}).event_type == event_type
        else:
            assert parse(schema, event).event_type == event_type
    assert "wave" in schema.types.known


@pytest.mark.parametrize("value", ["", "Goal", "goal ", "golazo", "x" * 5000, 3, None])
def test_unknown_event_types_are_refused_and_the_known_ones_named(schema: EventSchema, value: object) -> None:
    message = faults(schema, {"matchId": "m", "eventType": value})["$.eventType"]
    assert len(message) < 1000
    if isinstance(value, str):
        assert "own_goal" in message


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (f'{{"eventId":"{ID}","eventId":"{ID}"}}', "eventId twice"),
        (f'{{"eventId":"{ID}","x":[1e999]}}', "1e999"),
        (f'{{"eventId":"{ID}","x":{{"y":18446744073709551616}}}}', "as a string"),
        (f'{{"eventId":"{ID}","x":-9223372036854775809}}', "as a string"),
        (f'{{"eventId":"{ID}","x":{"9" * 5000}}}', "as a string"),
    ],
)
def test_a_retraction_that_clickhouse_would_not_understand_is_refused(
    schema: EventSchema, metadata: str, says: str
) -> None:
    for text in (f'"metadata":{metadata}', f'"metadata":{{"eventId":"{ID}"}},"unknown":{metadata}'):
        event = f'{{"matchId":"m","eventType":"retraction",{text}}}'
        if "unknown" in text and "twice" in says:
            continue
        with pytest.raises(InvalidEventError, match=says) as refused:
            schema.parse(event.encode(), origin=Origin())
        assert [fault.field for fault in refused.value.faults] == ["$.metadata"]


def test_a_retraction_may_say_why(schema: EventSchema) -> None:
    metadata = f'{{"why":"offside","n":[18446744073709551615,-9223372036854775808,1.5e300],"eventId":"{ID}"}}'
    event = f'{{"matchId":"m","eventType":"retraction","metadata":{metadata}}}'
    assert schema.parse(event.encode(), origin=Origin()).metadata == metadata


def test_a_retraction_names_the_event_withdrawn(schema: EventSchema) -> None:
    event = {"matchId": "m", "eventType": "retraction"}
    assert parse(schema, event | {"metadata": {"eventId": ID}}).event_type == "retraction"
    for metadata in ({}, None, {"eventId": None}, {"eventId": ""}, {"eventId": "x"}, {"eventId": 5}):
        assert faults(schema, event | {"metadata": metadata}).keys() == {"$.metadata.eventId"}


def test_metadata_keeps_its_text(schema: EventSchema) -> None:
    metadata = '{ "n": 123456789012345678901234567890, "f": 1.10, "e": 1e999, "s": "\\u00e9",\n "a": "é" }'
    event = parse(schema, b'{"matchId":"m","eventType":"view","metadata":%b}' % metadata.encode())
    assert event.metadata == metadata


def test_unknown_fields_are_kept_under_a_reserved_key(schema: EventSchema) -> None:
    text = b'{"matchId":"m","eventType":"view","zo\\"ne":123456789012345678901234567890,"metadata":%b,"b":{"c":1.0}}'
    for metadata, start in ((b"{}", '{"'), (b"{ }", '{"'), (b"null", '{"'), (b'{"a":1}', '{"a":1,')):
        kept = parse(schema, text % metadata).metadata
        assert kept.startswith(start)
        assert json.loads(kept)["_unmapped"] == {'zo"ne': 123456789012345678901234567890, "b": {"c": 1.0}}
        assert "1.0" in kept
    assert json.loads(parse(schema, MATCH | {"_unmapped": 1}).metadata) == {"_unmapped": {"_unmapped": 1}}


@pytest.mark.parametrize("key", ["_unmapped", "\\u005funmapped"])
def test_the_reserved_key_is_refused(schema: EventSchema, key: str) -> None:
    text = f'{{"matchId":"m","eventType":"view","metadata":{{"{key}":1}}}}'.encode()
    assert "reserved" in faults(schema, text)["$.metadata"]
    inside = f'{{"matchId":"m","eventType":"view","metadata":{{"a":{{"{key}":1}},"b":"{key}"}}}}'.encode()
    assert parse(schema, inside)


@pytest.mark.parametrize("value", [[], "x", 1, True])
def test_metadata_is_an_object(schema: EventSchema, value: object) -> None:
    assert "object" in faults(schema, MATCH | {"metadata": value})["$.metadata"]


def test_metadata_is_bounded_in_bytes_with_what_is_kept_in_it(schema: EventSchema) -> None:
    largest = {"a": "x" * (16 * 1024 - len('{"a":""}'))}
    text = json.dumps(MATCH | {"metadata": largest}, separators=(",", ":")).encode()
    assert len(parse(schema, text).metadata) == 16 * 1024
    assert "16384" in faults(schema, text.replace(b"xx", b"xxx", 1))["$.metadata"]
    assert "16384" in faults(schema, MATCH | {"extra": "x" * 17_000})["$.metadata"]


def test_very_many_unknown_fields_are_refused(schema: EventSchema) -> None:
    assert "5000 unknown fields" in faults(schema, MATCH | {str(number): 0 for number in range(5000)})["$.metadata"]


def nested(depth: int) -> Any:
    value: Any = "[{"
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value


def test_metadata_is_bounded_in_levels(schema: EventSchema) -> None:
    assert parse(schema, MATCH | {"metadata": {"a": nested(15), "b": [[]] * 50, "c": "[[[[" * 50}})
    assert "16 levels" in faults(schema, MATCH | {"metadata": {"a": nested(16)}})["$.metadata"]
    assert parse(schema, MATCH | {"x": nested(14)})
    assert "16 levels" in faults(schema, MATCH | {"x": nested(15)})["$.metadata"]


@pytest.mark.parametrize(
    ("text", "depth"), [(b"{}", 1), (b'{"a":"}{[\\"["}', 1), (b'{"a":[],"b":[{}]}', 3), (b'{"\\\\":[]}', 2)]
)
def test_levels_are_counted_outside_of_strings(text: bytes, depth: int) -> None:
    assert levels(text) == depth


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b"", "JSON"),
        (b"not json", "JSON"),
        (b'{"a":1', "JSON"),
        (b'{"a":1}{"b":2}', "JSON"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\\udc00\\ud800"}', "surrogate"),
        (b'{"a":"x\x00"}', "JSON"),
        (b'{"a":01}', "JSON"),
        (b"[]", "object"),
        (b"7", "object"),
        (b"null", "object"),
        (b'{"a":"\xff"}', "UTF-8"),
        ('{"a":1}'.encode("utf-16"), "UTF-8"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "deep"),
        (b'{"a":"' + b"1" * 300_000 + b'"}', "65536"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a":' * 13_000, "deep"),
    ],
)
def test_texts_that_are_no_object(schema: EventSchema, text: bytes, hint: str) -> None:
    found = faults(schema, text)
    assert found.keys() == {"$"}
    assert hint in found["$"]


def test_paired_surrogates_are_a_character(schema: EventSchema) -> None:
    assert parse(schema, b'{"matchId":"\\ud83d\\ude00","eventType":"view"}').match_id == "😀"


def test_every_fault_is_listed_in_ascii(schema: EventSchema) -> None:
    event = {
        "eventId": "é",
        "matchId": "",
        "eventType": "goal",
        "timestamp": "sömetime",
        "playerId": False,
        "metadata": [],
    }
    found = faults(schema, event)
    assert found.keys() == {f"$.{field}" for field in [*event, "teamId"] if field != "eventType"}
    for message in found.values():
        assert re.fullmatch(r"[\x20-\x7e]+", message)


def test_the_given_id_is_reported_with_the_faults(schema: EventSchema) -> None:
    with pytest.raises(InvalidEventError) as caught:
        parse(schema, {"eventId": ID.upper()})
    assert caught.value.event_id == ID


def test_of_a_key_given_twice_the_last_stands(schema: EventSchema) -> None:
    assert parse(schema, b'{"matchId":"a","eventType":"view","matchId":"b"}').match_id == "b"
