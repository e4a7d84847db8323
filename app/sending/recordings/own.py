"""Our own events in every form in which they are written down: NDJSON, an array, one object, an answer of the API.

Bodies are passed on as the text in the file, so a number keeps all its digits. NDJSON is read line by line, in bounded
memory. Of what the API answers, ``receivedAt`` and ``retracted`` are left away, because they are the service's own.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec

from app.sending.client import Outgoing
from app.sending.recordings.content import FileLine
from app.sending.recordings.recording import Due, LeftOutRows, Recording

ID_NAMESPACE: Final = uuid.UUID("5b0c1f0e-7d0a-5f7e-8a55-2f1f3a0c9d64")
"""Namespace of the ids of recorded events that carry none. It is fixed, so that a file replayed twice counts once."""

MORE_PAGES: Final = "The answer is one page of several: the events of its nextCursor are not in this file."
CUT_OFF: Final = "The file is cut off in the middle: what is whole of it is sent."

_OF_THE_SERVICE: Final = ("receivedAt", "retracted")
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])


def of_lines(lines: Iterable[FileLine], *, rows: int, match_id: str, notices: tuple[str, ...] = ()) -> Recording:
    """Return the events of lines."""
    return Recording(entries=_entries(lines, match_id), rows=rows, expected=rows, notices=notices)


def of_array(text: bytes, *, match_id: str, notices: tuple[str, ...] = ()) -> Recording:
    """Return the events of a JSON array."""
    return _of_rows(_ROWS.decode(text), match_id=match_id, notices=notices)


def of_object(text: bytes, *, match_id: str, notices: tuple[str, ...] = ()) -> Recording:
    """Return the one event of a JSON object."""
    return of_lines([FileLine(place="the object", text=text.strip())], rows=1, match_id=match_id, notices=notices)


def of_answer(text: bytes, *, match_id: str, notices: tuple[str, ...] = ()) -> Recording:
    """Return the events of an answer of the API, which has the newest first, in the order in which they happened."""
    answer = _FIELDS.decode(text)
    rows = _ROWS.decode(answer["events"])
    if bytes(answer.get("nextCursor", b"null")) != b"null":
        notices = (*notices, MORE_PAGES)
    return _of_rows(rows[::-1], match_id=match_id, notices=notices)


def _of_rows(rows: list[msgspec.Raw], *, match_id: str, notices: tuple[str, ...]) -> Recording:
    lines = (FileLine(place=f"element {number}", text=bytes(row)) for number, row in enumerate(rows))
    return of_lines(lines, rows=len(rows), match_id=match_id, notices=notices)


def _entries(lines: Iterable[FileLine], match_id: str) -> Iterator[Due | LeftOutRows]:
    for line in lines:
        try:
            fields = _FIELDS.decode(line.text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if not line.has_end and line.text.startswith(b"{"):
                yield LeftOutRows(type_name="(unreadable)", reason="the file is cut off here")
                continue
            reason = "not a JSON object"
            yield LeftOutRows(type_name="(unreadable)", reason=reason, fault=f"{line.place}: {reason}")
            continue
        yield _event(line.place, line.text, fields, match_id)


def _event(place: str, text: bytes, fields: dict[str, msgspec.Raw], match_id: str) -> Due:
    event_id = text_in(fields, "eventId")
    changes = {"matchId": match_id} if match_id else {}
    if bytes(fields.get("eventId", b"null")) == b"null":
        event_id = changes["eventId"] = str(uuid.uuid5(ID_NAMESPACE, f"{place} {text!r}"))
    kept = _without_the_services(fields)
    if changes or len(kept) < len(fields):
        text = msgspec.json.encode(kept | {k: msgspec.Raw(msgspec.json.encode(v)) for k, v in changes.items()})
    event_type = text_in(fields, "eventType") or "(no eventType)"
    event = Outgoing(event_id=event_id, event_type=event_type, body=text, source=event_type)
    return Due(event=event, at_s=_seconds(text_in(fields, "timestamp")))


def _without_the_services(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Return the fields without those that the service adds, where it added them."""
    if not all(name in fields for name in _OF_THE_SERVICE):
        return fields
    return {name: raw for name, raw in fields.items() if name not in _OF_THE_SERVICE}


def text_in(fields: Mapping[str, msgspec.Raw], name: str) -> str:
    """Return a text field; empty where it is absent, or is no text, which the service will refuse."""
    try:
        return msgspec.json.decode(fields[name], type=str)
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _seconds(timestamp: str) -> float | None:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except (ValueError, OverflowError):
        return None
