"""Recorded matches: a file read as the events to send and the rows left out.

Known formats: our own events as NDJSON or as one JSON array, and a provider's match (:mod:`app.sending.statsbomb`);
each plain or gzipped. NDJSON is read line by line, in bounded memory. Bodies are passed on as the text in the
file, so a number keeps all its digits.
"""

import gzip
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, cast

import attrs
import msgspec

from app.sending.client import Outgoing
from app.sending.statsbomb import read_statsbomb

ID_NAMESPACE: Final = uuid.UUID("5b0c1f0e-7d0a-5f7e-8a55-2f1f3a0c9d64")
"""Namespace of the ids of recorded events that carry none. It is fixed, so that a file replayed twice counts once."""

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RecordingError(Exception):
    """The file cannot be replayed; the message says why and what to do."""


@attrs.frozen(kw_only=True)
class Due:
    """An event to send. ``at_s``: when it happened, s since the epoch; None where the file does not say."""

    event: Outgoing
    at_s: float | None


@attrs.frozen(kw_only=True)
class LeftOutRows:
    """Rows that are not sent. ``fault`` names the place where the file itself is wrong, else empty."""

    type_name: str
    reason: str
    rows: int = 1
    fault: str = ""


@attrs.frozen(kw_only=True)
class Recording:
    """A file's content. Every row of it is one :class:`Due` or counted in one :class:`LeftOutRows`.

    An event that no row stands for has an empty ``source``.

    Attributes:
        entries: the rows, and events added to them; can be gone through once.
        rows: rows in the file.
        expected: events to send, as far as is known before the file has been gone through.
        notice: a line that must be shown with the data, or empty.
        has_times: whether the file itself says at what time of day things happened.
    """

    entries: Iterable[Due | LeftOutRows]
    rows: int
    expected: int
    notice: str = ""
    has_times: bool = True


def open_recording(path: Path, *, match_id: str, lineup: Path | None, kickoff: datetime) -> Recording:
    """Return the recording at ``path``.

    Args:
        path: the file; its content decides the format.
        match_id: of all events; empty: the file's own, or one made of the name of a provider's file.
        lineup: a provider's line-ups; None to look for them beside the file.
        kickoff: used where the file gives no time of day.

    Raises:
        RecordingError: it is in no known format, or a file that belongs to it is missing.
        ProviderError: the provider's format cannot be read.
    """
    first, rows = _survey(path)
    if first == b"{":
        return Recording(entries=_entries(_lines(path), match_id), rows=rows, expected=rows)
    if first != b"[":
        raise RecordingError(f"{path} holds neither NDJSON nor a JSON array of events")
    return _read_array(path, match_id=match_id, lineup=lineup, kickoff=kickoff)


def _survey(path: Path) -> tuple[bytes, int]:
    """Go through the whole file: return its first byte that is no space, and how many lines are not empty."""
    first, rows = b"", 0
    with _reading(path) as file:
        for line in file:
            if text := line.removeprefix(_BOM).strip():
                first = first or text[:1]
                rows += 1
    return first, rows


def _read_array(path: Path, *, match_id: str, lineup: Path | None, kickoff: datetime) -> Recording:
    content = _content(path)
    try:
        rows = msgspec.json.decode(content, type=list[msgspec.Raw])
        first = _FIELDS.decode(rows[0]) if rows else {}
    except msgspec.DecodeError as error:
        raise RecordingError(f"{path} is not a JSON array of objects: {error}") from error
    if not rows or "eventType" in first:
        texts = ((f"element {number}", bytes(row)) for number, row in enumerate(rows))
        return Recording(entries=_entries(texts, match_id), rows=len(rows), expected=len(rows))
    if not {"type", "period", "possession"} <= first.keys():
        raise RecordingError(
            f"{path}: its first element is neither an event of ours (no eventType) nor a StatsBomb event"
        )
    return _read_provider(content, path, match_id=match_id, lineup=lineup, kickoff=kickoff)


def _read_provider(content: bytes, path: Path, *, match_id: str, lineup: Path | None, kickoff: datetime) -> Recording:
    lineup = lineup or find_lineup(path)
    match = read_statsbomb(content, _content(lineup), match_id=match_id or match_name(path), kickoff=kickoff)
    left_out = [LeftOutRows(type_name=r.type_name, reason=r.reason, rows=r.rows) for r in match.left_out]
    due = [
        Due(
            event=_outgoing(event, added=event["eventId"] in match.added),
            at_s=datetime.fromisoformat(event["timestamp"]).timestamp(),
        )
        for event in match.events
    ]
    return Recording(
        entries=[*left_out, *due],
        rows=match.rows,
        expected=len(due),
        notice=match.notice,
        has_times=False,
    )


def match_name(path: Path) -> str:
    """Return the match id in a provider's file name, as ``statsbomb_1`` in ``statsbomb_1_event.json``."""
    stem = path.name.split(".")[0]
    return stem.removesuffix("_events").removesuffix("_event")


def find_lineup(path: Path) -> Path:
    """Return the line-up file that belongs to a provider's event file, by its name.

    ``X_event.json`` has ``X_lineup.json`` beside it; in the provider's own layout ``events/N.json`` has
    ``../lineups/N.json``.
    """
    beside = path.with_name(path.name.replace("_event", "_lineup", 1))
    candidates = [beside] if beside != path else [path.parent.parent / "lineups" / path.name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise RecordingError(f"no line-up file at {candidates[0]}; name it with --lineup")


def _open(path: Path) -> IO[bytes]:
    file = path.open("rb")
    if file.read(2) == b"\x1f\x8b":
        file.close()
        return cast(IO[bytes], gzip.open(path))
    file.seek(0)
    return file


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """Open the file; an error of the disk or of gzip becomes a RecordingError."""
    try:
        with _open(path) as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error


def _content(path: Path) -> bytes:
    with _reading(path) as file:
        return file.read().removeprefix(_BOM)


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    with _reading(path) as file:
        for number, line in enumerate(file, start=1):
            if text := line.removeprefix(_BOM).strip():
                yield f"line {number}", text


def _entries(texts: Iterable[tuple[str, bytes]], match_id: str) -> Iterator[Due | LeftOutRows]:
    for place, text in texts:
        try:
            fields = _FIELDS.decode(text)
        except (msgspec.DecodeError, RecursionError):
            reason = "not a JSON object"
            yield LeftOutRows(type_name="(unreadable)", reason=reason, fault=f"{place}: {reason}")
            continue
        yield _own_event(place, text, fields, match_id)


def _own_event(place: str, text: bytes, fields: dict[str, msgspec.Raw], match_id: str) -> Due:
    event_id = _text(fields, "eventId")
    changes = {}
    if match_id:
        changes["matchId"] = match_id
    if bytes(fields.get("eventId", b"null")) == b"null":
        event_id = changes["eventId"] = str(uuid.uuid5(ID_NAMESPACE, f"{place} {text!r}"))
    if changes:
        text = msgspec.json.encode(fields | {k: msgspec.Raw(msgspec.json.encode(v)) for k, v in changes.items()})
    event_type = _text(fields, "eventType") or "(no eventType)"
    event = Outgoing(event_id=event_id, event_type=event_type, body=text, source=event_type)
    return Due(event=event, at_s=_seconds(_text(fields, "timestamp")))


def _outgoing(event: dict[str, Any], *, added: bool) -> Outgoing:
    return Outgoing(
        event_id=event["eventId"],
        event_type=event["eventType"],
        body=msgspec.json.encode(event),
        source="" if added else event["metadata"]["providerType"],
    )


def _text(fields: dict[str, msgspec.Raw], name: str) -> str:
    """Return a text field; empty where it is absent, or is no text, which the service will refuse."""
    try:
        return msgspec.json.decode(fields[name], type=str)
    except (KeyError, msgspec.DecodeError):
        return ""


def _seconds(timestamp: str) -> float | None:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except (ValueError, OverflowError):
        return None
