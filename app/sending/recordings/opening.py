"""Opens a recording: decides by its content what a file is, and reads it as such."""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from app.sending.client import Outgoing
from app.sending.providers.conversion import Kickoff, convert
from app.sending.providers.match import Document, ProviderError, ProviderFile, ProviderMatch
from app.sending.providers.reading import INSTALL_HINT, Reading, read_with_kloppy
from app.sending.recordings import kinds, own
from app.sending.recordings.beside import FilesBeside, parse
from app.sending.recordings.content import Survey, content_of, lines_of, stem_of, survey
from app.sending.recordings.recording import Due, LeftOutRows, Recording, RecordingError
from app.sending.recordings.whole import Parsed, parse_json

WITHOUT_KLOPPY: Final = "kloppy cannot read what there is of the match: places are missing."

_LINES_TRIED: Final = 1000
_TEXTS: Final = (
    (re.compile(rb"(?:Period,Frame|,+(?:Home|Away),)"), "tracking data of Metrica"),
    (re.compile(rb"\d+:[-\d.,;]+:?"), "tracking data, in text"),
    (re.compile(rb"\d{9,};\d"), "tracking data of Stats Perform (MA25)"),
)


def open_recording(path: Path, *, match_id: str, beside: Sequence[Path], kickoff: Kickoff) -> Recording:
    """Return the recording at ``path``.

    Args:
        path: the file; its content decides the format.
        match_id: of all events; empty: the file's own, or for a provider's file without one its name.
        beside: files that belong to a provider's file; others are looked for in its folder.
        kickoff: tells when a provider's match begins.

    Raises:
        RecordingError: it is in no known format, or a file that belongs to it is missing.
        ProviderError: the provider's format cannot be read.
    """
    looked = survey(path)
    first = parse_json(looked.first)
    line_kind = kinds.kind_of(first.document) if isinstance(first.document, dict) and not first.is_cut_off else None
    if line_kind is kinds.OWN:
        cut = (own.CUT_OFF,) if looked.is_cut_off else ()
        return own.of_lines(lines_of(path), rows=looked.rows, match_id=match_id, notices=cut)
    if line_kind is kinds.STATSBOMB:
        parsed = _rows_of_lines(path, looked)
        return _provider(path, kinds.STATSBOMB, parsed, match_id=match_id, beside=beside, kickoff=kickoff)
    return _of_document(path, looked, match_id=match_id, beside=beside, kickoff=kickoff)


def _rows_of_lines(path: Path, looked: Survey) -> Parsed:
    """Return a provider's rows of a file that has one a line."""
    rows: list[Document] = []
    for line in lines_of(path):
        parsed = parse_json(line.text)
        if parsed.is_cut_off or not isinstance(parsed.document, dict):
            if line.has_end:
                raise RecordingError(f"{path}: {line.place} is not a JSON object: {parsed.fault or 'it is cut off'}")
            return Parsed(document=rows, is_cut_off=True)
        rows.append(parsed.document)
    return Parsed(document=rows, is_cut_off=looked.is_cut_off)


def _of_document(path: Path, looked: Survey, *, match_id: str, beside: Sequence[Path], kickoff: Kickoff) -> Recording:
    """Return the recording of a file that is one document; or, where it is none, of its lines that are events."""
    content = content_of(path)
    parsed = parse(content)
    kind = kinds.kind_of(parsed.document)
    if kind is None and _has_own_lines(path):
        return own.of_lines(lines_of(path), rows=looked.rows, match_id=match_id)
    if kind is None and parsed.document == [] and not parsed.is_cut_off:
        return Recording(entries=(), rows=0, expected=0)
    if kind is None:
        raise RecordingError(_not_known(path, looked.first, parsed))
    if kind.read is not None:
        return _provider(path, kind, parsed, match_id=match_id, beside=beside, kickoff=kickoff)
    if kind in (kinds.OWN, kinds.OWN_EVENTS, kinds.OWN_ANSWER):
        return _own(path, kind, content, parsed, match_id=match_id)
    if kind.name in kinds.BESIDE:
        raise RecordingError(f"{path} is {kind.name}, which holds no events: replay the event file that it belongs to")
    raise RecordingError(f"{path} is {kind.name}; replay takes {kinds.KNOWN}")


def _own(path: Path, kind: kinds.FileKind, content: bytes, parsed: Parsed, *, match_id: str) -> Recording:
    text = parsed.text if parsed.is_cut_off else content
    notices = (own.CUT_OFF,) if parsed.is_cut_off else ()
    read = {kinds.OWN: own.of_object, kinds.OWN_EVENTS: own.of_array, kinds.OWN_ANSWER: own.of_answer}[kind]
    try:
        return read(text, match_id=match_id, notices=notices)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(f"{path} is {kind.name}, but cannot be read: {error}") from error


def _provider(
    path: Path, kind: kinds.FileKind, parsed: Parsed, *, match_id: str, beside: Sequence[Path], kickoff: Kickoff
) -> Recording:
    if kind.read is None:
        raise RecordingError(f"{path} is {kind.name}, which holds no events")
    try:
        documents = FilesBeside(path, parsed.document, beside).find(kind)
        file = kind.read(parsed.document, *documents)
        reading, notice = _places(file, is_whole=not parsed.is_cut_off)
        named = match_id or file.match_id or match_name(path)
        match = convert(file, reading, match_id=named, kickoff=kickoff, cut_off=parsed.is_cut_off)
        notices = (*match.notices, *((own.CUT_OFF,) if parsed.is_cut_off else ()), *((notice,) if notice else ()))
        return _recording(match, notices, has_kickoff=_tells_kickoff(file))
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ProviderError(f"{path} is {kind.name}, but a row of it cannot be read ({reason})") from error


def _tells_kickoff(file: ProviderFile) -> bool:
    return file.kickoff is not None or any(row.at is not None for row in file.rows)


def _places(file: ProviderFile, *, is_whole: bool) -> tuple[Reading, str]:
    """Return what kloppy reads. A match that is not over is sent all the same where it can read nothing of that."""
    if file.load is None:
        return Reading(), ""
    try:
        return read_with_kloppy(file.load, provider=file.provider), ""
    except ProviderError as error:
        if str(error) == INSTALL_HINT or (is_whole and file.is_over):
            raise
        return Reading(), WITHOUT_KLOPPY


def _recording(match: ProviderMatch, notices: tuple[str, ...], *, has_kickoff: bool) -> Recording:
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
        notices=notices,
        has_own_times=False,
        has_kickoff=has_kickoff,
    )


def match_name(path: Path) -> str:
    """Return the match id in a provider's file name, as ``statsbomb_1`` in ``statsbomb_1_event.json``."""
    return stem_of(path).removesuffix("_events").removesuffix("_event")


def _outgoing(event: dict[str, Any], *, added: bool) -> Outgoing:
    return Outgoing(
        event_id=event["eventId"],
        event_type=event["eventType"],
        body=msgspec.json.encode(event),
        source="" if added else event["metadata"]["providerType"],
    )


def _has_own_lines(path: Path) -> bool:
    """Say whether one of the first lines is an event of ours: then the file is NDJSON with a fault in it."""
    lines = (line.text for line in islice(lines_of(path), _LINES_TRIED))
    return any(text.startswith(b"{") and kinds.kind_of(parse_json(text).document) is kinds.OWN for text in lines)


def _not_known(path: Path, first: bytes, parsed: Parsed) -> str:
    """Say what a file is that is nothing known."""
    line = kinds.kind_of(parse_json(first).document)
    if line is not None:
        what = f"{path} is {line.name}"
    elif parsed.is_cut_off:
        what = f"{path} is cut off before anything in it says what it is"
    elif parsed.document is not None:
        form = "JSON" if not hasattr(parsed.document, "tag") else "XML"
        what = f"{path} is {form}, but neither events of ours nor of a provider that is known here"
    elif named := next((name for pattern, name in _TEXTS if pattern.match(first)), ""):
        what = f"{path} is {named}"
    elif first[:1] in b"[{<":
        form = "XML" if first[:1] == b"<" else "JSON"
        what = f"{path} looks like {form}, but cannot be read as such: {parsed.fault}"
    else:
        what = f"{path} is a text, but neither JSON nor XML"
    return f"{what}; replay takes {kinds.KNOWN}"
