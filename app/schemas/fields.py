"""One parse function for each kind of field: raw JSON value in, normalized value (or a `FieldError`) out.

`null` in an optional field means the same as leaving it out. So does `""` where a team or a player is named, because
clients of typed languages send it.
"""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NewType

import msgspec

from app.schemas.event_types import EventTypes
from app.schemas.faults import FieldError, shown

MatchId = NewType("MatchId", str)
EventId = NewType("EventId", str)
EventType = NewType("EventType", str)
Identifier = NewType("Identifier", str)
Timestamp = NewType("Timestamp", int)
"""Milliseconds since the epoch."""

NO_EVENT_ID = EventId("")
NO_IDENTIFIER = Identifier("")
NO_TIMESTAMP = Timestamp(0)
"""The value of an absent time; it lies before any that is allowed."""

_CANONICAL = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
CANONICAL_UUID = re.compile(_CANONICAL)
NIL_UUID = "00000000-0000-0000-0000-000000000000"
"""What an id that was never set looks like, so that all events of such a client would be one; where a row has to name
an event and names none, the store holds it, too.
"""
UUID_EXAMPLE = "0190a6e4-7c1e-7d3a-9b5f-2f6f0c4d8e21"
MATCH_ID_MAX_CHARS = 128
IDENTIFIER_MAX_CHARS = 64
NUMBER_SHOWN_CHARS = 60
FUTURE_MAX = timedelta(hours=24)

_NULL = b"null"
_NOBODY = (_NULL, b'""')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECOND_MS = 1000
_DAY_MS = 86_400 * _SECOND_MS
_EARLIEST_MS = (datetime(2000, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_FUTURE_MAX_MS = FUTURE_MAX // _MILLISECOND
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_INTEGER = re.compile(rb"-?[0-9]+")
_NUMBER = re.compile(rb"[-0-9]")
_OTHER_UUID = re.compile(rf"(?i:urn:uuid:){_CANONICAL}|\{{{_CANONICAL}\}}|[0-9a-fA-F]{{32}}")
_ISO_8601 = re.compile(
    r"[0-9]{4}(-?)[0-9]{2}\1[0-9]{2}[T ][0-9]{2}(:?)[0-9]{2}(?:\2(?P<second>[0-9]{2})(?:[.,][0-9]+)?)?"
    r"(?P<offset>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?",
    re.IGNORECASE,
)
_TIMESTAMP_FORM = "ISO 8601 with Z or an offset, such as 2024-01-15T14:00:00.000Z"

_text = msgspec.json.Decoder(str)


def is_absent(raw: msgspec.Raw | None) -> bool:
    """Say whether an optional field was left out, or sent as null."""
    return raw is None or bytes(raw) == _NULL


def is_object_or_absent(raw: msgspec.Raw | None) -> bool:
    """Say whether a value is an object, or an absent one."""
    return is_absent(raw) or bytes(raw or b"")[:1] == b"{"


def names_nobody(raw: msgspec.Raw | None) -> bool:
    """Say whether the id of a team or of a player is absent."""
    return raw is None or bytes(raw) in _NOBODY


def text_of(raw: msgspec.Raw | None) -> str | None:
    """Return the string a raw value holds, None where it is absent or no string."""
    if raw is None:
        return None
    try:
        return _text.decode(raw)
    except msgspec.DecodeError:
        return None


def checked_match_id(text: str) -> MatchId:
    """Check a match id, from a body or from a path."""
    if not text:
        raise FieldError("must not be empty")
    if len(text) > MATCH_ID_MAX_CHARS:
        raise FieldError(f"has {len(text)} characters; at most {MATCH_ID_MAX_CHARS} are allowed")
    if _CONTROL.search(text) or not _encodable(text):
        raise FieldError("must not contain control characters or unpaired surrogates")
    return MatchId(text)


def parse_match_id(raw: msgspec.Raw, _: object = None) -> MatchId:
    """Parse the routing key."""
    return checked_match_id(_string(raw, "a string of 1 to 128 characters"))


def parse_event_id(raw: msgspec.Raw, _: object = None) -> EventId:
    """Parse a UUID in any of its usual spellings into canonical lower-case text; empty where absent."""
    if raw_is_null(raw):
        return NO_EVENT_ID
    text = _string(raw, "a UUID string")
    if CANONICAL_UUID.fullmatch(text):
        event_id = text.lower()
    elif _OTHER_UUID.fullmatch(text):
        event_id = str(uuid.UUID(text.lower()))
    else:
        raise FieldError(f"{shown(text)} is not a UUID; send one such as {UUID_EXAMPLE}")
    return EventId(not_nil(event_id))


def not_nil(event_id: str) -> str:
    """Return a canonical UUID unless it is the nil one, for which FieldError is raised."""
    if event_id == NIL_UUID:
        raise FieldError("is the nil UUID, as an id that was never set; give each event an id of its own")
    return event_id


def parse_identifier(raw: msgspec.Raw, _: object = None) -> Identifier:
    """Parse a team's or a player's id: a string, or an integer whose digits are kept; empty where absent."""
    value = bytes(raw)
    if value in _NOBODY:
        return NO_IDENTIFIER
    if _INTEGER.fullmatch(value):
        text = value.decode()
    elif value[:1] == b'"':
        text = _text.decode(value)
    elif _NUMBER.match(value):
        raise FieldError(odd_number_fault(value.decode()))
    else:
        raise FieldError(f"must be a string or an integer, not {_kind(value)}")
    return checked_identifier(text)


def odd_number_fault(digits: str) -> str:
    """Say what is wrong with a JSON number that is no integer, as 217.0, where an id has to be."""
    number = digits if len(digits) <= NUMBER_SHOWN_CHARS else f"{digits[:NUMBER_SHOWN_CHARS]}..."
    oddity = "a decimal point" if "." in digits else "an exponent"
    return f"{number} has {oddity}; send it as an integer or a string"


def checked_identifier(text: str) -> Identifier:
    """Check a team's or a player's id, from a body or from a query."""
    if not text:
        raise FieldError("must not be empty; leave it out instead")
    if len(text) > IDENTIFIER_MAX_CHARS:
        raise FieldError(f"has {len(text)} characters; at most {IDENTIFIER_MAX_CHARS} are allowed")
    if _CONTROL.search(text) or not _encodable(text):
        raise FieldError("must not contain control characters or unpaired surrogates")
    return Identifier(text)


def event_type_parser(types: EventTypes) -> Callable[[msgspec.Raw, object], EventType]:
    """Return the parse function for the types of this deployment."""
    known = ", ".join(sorted(types.known))

    def parse_event_type(raw: msgspec.Raw, _: object = None) -> EventType:
        text = _string(raw, "the name of an event type")
        if text not in types.known:
            raise FieldError(f"{shown(text)} is not a known event type; known are: {known}")
        return EventType(text)

    return parse_event_type


def timestamp_parser(now_ns: Callable[[], int]) -> Callable[[msgspec.Raw, object], Timestamp]:
    """Return the parse function for times not more than `FUTURE_MAX` ahead of ``now_ns()``."""

    def parse_timestamp(raw: msgspec.Raw, _: object = None) -> Timestamp:
        if raw_is_null(raw):
            return NO_TIMESTAMP
        milliseconds = milliseconds_of(_string(raw, f"a string, {_TIMESTAMP_FORM}"))
        if milliseconds < _EARLIEST_MS:
            raise FieldError("lies before the year 2000")
        if milliseconds > now_ns() // 1_000_000 + _FUTURE_MAX_MS:
            raise FieldError("lies more than 24 hours in the future; check the clock or the offset")
        return Timestamp(milliseconds)

    return parse_timestamp


def raw_is_null(raw: msgspec.Raw) -> bool:
    """Say whether a value is JSON's null."""
    return bytes(raw) == _NULL


def milliseconds_of(text: str) -> int:
    """Return the moment that an ISO 8601 text names, in ms since the epoch. FieldError: it names none, or no offset.

    A leap second, ``23:59:60`` in UTC, is the second after it, with its fraction, because Unix time has no other.
    """
    match = _ISO_8601.fullmatch(text)
    if match is None:
        raise FieldError(f"{shown(text)} is not a time; send {_TIMESTAMP_FORM}")
    if match["offset"] is None:
        raise FieldError(f"{shown(text)} has no offset; send {_TIMESTAMP_FORM}")
    leap = match["second"] == "60"
    start, end = match.span("second")
    try:
        moment = datetime.fromisoformat((f"{text[:start]}59{text[end:]}" if leap else text).upper())
    except ValueError:
        raise FieldError(f"{shown(text)} names no existing date, time or offset; send {_TIMESTAMP_FORM}") from None
    milliseconds = (moment - _EPOCH) // _MILLISECOND
    if not leap:
        return milliseconds
    if (milliseconds + _SECOND_MS) % _DAY_MS >= _SECOND_MS:
        raise FieldError(f"{shown(text)} is no leap second: these are at 23:59:60 UTC")
    return milliseconds + _SECOND_MS


def _string(raw: msgspec.Raw, wanted: str) -> str:
    value = bytes(raw)
    if value[:1] != b'"':
        raise FieldError(f"must be {wanted}, not {_kind(value)}")
    return _text.decode(value)


def _kind(value: bytes) -> str:
    names = {
        b"{": "an object",
        b"[": "an array",
        b"t": "a boolean",
        b"f": "a boolean",
        b"n": "null",
        b'"': "a string",
    }
    return names.get(value[:1], "a number")


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
