"""Ids and times as text: which spellings name one, and which do not."""

import json
import re
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas.faults import FieldError
from app.schemas.fields import milliseconds_of, parse_event_id
from app.schemas.metadata import check_retraction

NIL = "00000000-0000-0000-0000-000000000000"
MAX = "ffffffff-ffff-ffff-ffff-ffffffffffff"
CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def event_id(text: str) -> str:
    return parse_event_id(msgspec.Raw(json.dumps(text).encode()))


def retraction_of(event_id: str) -> dict[str, msgspec.Raw]:
    return {"metadata": msgspec.Raw(json.dumps({"eventId": event_id}).encode())}


@given(st.uuids())
def test_every_uuid_but_the_nil_one_is_an_event_id_in_each_usual_spelling(found: uuid.UUID) -> None:
    for text in (str(found), str(found).upper(), found.hex, found.urn, f"{{{found}}}"):
        assert event_id(text) == str(found)
    check_retraction(retraction_of(str(found)))


def test_the_uuid_of_ones_is_an_event_id() -> None:
    assert event_id(MAX) == MAX


@pytest.mark.parametrize("text", [NIL, "0" * 32, f"urn:uuid:{NIL}", f"{{{NIL}}}"])
def test_the_nil_uuid_is_no_event_id_in_any_spelling(text: str) -> None:
    with pytest.raises(FieldError, match="nil UUID"):
        event_id(text)


def test_the_nil_uuid_cannot_be_withdrawn() -> None:
    with pytest.raises(FieldError, match="nil UUID"):
        check_retraction(retraction_of(NIL))


@given(st.uuids(), st.lists(st.integers(0, 32), min_size=1, max_size=6))
def test_hyphens_stand_in_their_places_or_nowhere(found: uuid.UUID, places: list[int]) -> None:
    digits = list(found.hex)
    for place in sorted(places, reverse=True):
        digits.insert(place, "-")
    text = "".join(digits)
    if CANONICAL.fullmatch(text):
        assert event_id(text) == str(found)
        return
    for spelling in (text, f"{{{text}}}", f"urn:uuid:{text}"):
        with pytest.raises(FieldError, match="not a UUID"):
            event_id(spelling)
    with pytest.raises(FieldError):
        check_retraction(retraction_of(text))


@given(
    day=st.dates(date(2000, 1, 2), date(9999, 12, 30)),
    offset_minutes=st.integers(-23 * 60 - 59, 23 * 60 + 59),
    fraction=st.integers(0, 999),
    basic=st.booleans(),
)
def test_a_leap_second_is_the_next_one_whatever_the_offset(
    day: date, offset_minutes: int, fraction: int, basic: bool
) -> None:
    midnight = datetime.combine(day, time(), UTC)
    local = (midnight - timedelta(seconds=1)).astimezone(timezone(timedelta(minutes=offset_minutes)))
    text = local.strftime("%Y%m%dT%H%M60" if basic else "%Y-%m-%dT%H:%M:60")
    found = milliseconds_of(f"{text}.{fraction:03}{local.strftime('%z')}")
    assert found == round(midnight.timestamp()) * 1000 + fraction


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.25Z"),
        ("2016-12-31T23:59:60,9999z", "2017-01-01T00:00:00.999Z"),
        ("2017-01-01T02:59:60+03:00", "2017-01-01T00:00:00Z"),
        ("2016-12-31T18:29:60-0530", "2017-01-01T00:00:00Z"),
        ("20161231T235960Z", "2017-01-01T00:00:00Z"),
    ],
)
def test_leap_seconds(text: str, same_as: str) -> None:
    assert milliseconds_of(text) == milliseconds_of(same_as)


@pytest.mark.parametrize(
    "text", ["2024-01-15T12:30:60Z", "2016-12-31T23:59:60+03:00", "2017-01-01T00:00:60Z", "2016-12-31T23:58:60.5Z"]
)
def test_a_sixtieth_second_at_another_time_is_no_leap_second(text: str) -> None:
    with pytest.raises(FieldError, match="leap second"):
        milliseconds_of(text)


@pytest.mark.parametrize("text", ["2016-12-31T23:59:61Z", "2016-12-31T23:60:60Z", "2016-02-30T23:59:60Z"])
def test_no_other_second_beyond_the_minute_exists(text: str) -> None:
    with pytest.raises(FieldError, match="existing"):
        milliseconds_of(text)
