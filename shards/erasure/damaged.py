"""Files that were set aside because of damage, and what stays of them when matches are erased.

Nobody can know whose the damaged bytes are. So only rows that can be read and are of other matches stay.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from shards.events import ROW_START
from shards.wal.files import replace_file
from shards.wal.record import HEADER_BYTES, RecordScanner
from shards.wal.segment import format_of
from shards.wal.segments import DAMAGED_DIRECTORY

_json = json.JSONDecoder()


def wipe_damaged(directory: Path, is_gone: Callable[[bytes], bool]) -> int:
    """Overwrite with zeros what is erased, and what cannot be read, in the files set aside of one log.

    Blocking; each file is replaced durably and all or nothing, and keeps its size. Return how many. Raises OSError.

    Args:
        directory: of the log's segments.
        is_gone: says of a whole row whether it is erased.
    """
    wiped = 0
    for path in sorted((directory / DAMAGED_DIRECTORY).glob("*")):
        before = path.read_bytes()
        after = bytearray(len(before))
        for start, end in ((0, HEADER_BYTES), *_kept(before, format_of(path), is_gone)):
            after[start:end] = before[start:end]
        if after != before:
            replace_file(path, bytes(after))
            wiped += 1
    return wiped


def _kept(data: bytes, format_: int, is_gone: Callable[[bytes], bool]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of a segment that stay: whole records, and whole rows among damaged bytes."""
    scanner = RecordScanner(format_=format_)
    start = HEADER_BYTES
    for record in scanner.feed(data[HEADER_BYTES:]):
        damage = scanner.damages[-1] if scanner.damages else None
        if damage is not None and damage.offset >= start:
            yield from _readable(data, damage.offset, damage.offset + damage.size, is_gone)
            start = damage.offset + damage.size
        if not is_gone(record.payload):
            yield start, scanner.end
        start = scanner.end
    yield from _readable(data, start, len(data), is_gone)


def _readable(data: bytes, start: int, end: int, is_gone: Callable[[bytes], bool]) -> Iterator[tuple[int, int]]:
    while (start := data.find(ROW_START, start, end)) != -1:
        # No row holds the beginning of another one, because quotes in texts are escaped.
        following = data.find(ROW_START, start + 1, end)
        row = _row_at(data[start : end if following == -1 else following])
        if row and not is_gone(row):
            yield start, start + len(row)
        start += len(row) or 1


def _row_at(data: bytes) -> bytes:
    """Return the row with which some bytes begin; empty if it is not whole."""
    text = data.decode(errors="surrogateescape")
    try:
        _, end = _json.raw_decode(text)
    except (ValueError, RecursionError):
        return b""
    return text[:end].encode(errors="surrogateescape")
