"""Dead letters: rows that only ClickHouse refuses, kept with its error, and what was done with each by hand.

Each shard has one file, which only grows: a JSON line for each letter (:class:`DeadLetter`), and one more for each that
was settled by hand (:class:`Settlement`). Every line is fsynced before it counts; a torn line is passed over.
"""

import asyncio
import heapq
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar
from zlib import crc32

import attrs
import msgspec

from shards.events import current_row
from shards.logger import get_logger
from shards.wal.files import LineFile

_log = get_logger(__name__)

Action = Literal["requeued", "discarded"]
RowRef = tuple[int, int]
"""A row of the log: shard and sequence number."""
Place = tuple[int, str]
"""Place of a letter in the order of all: when it was put aside, in µs since the epoch, and its id."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """One row put aside: ``row`` is the JSON text of the WAL record, ``code`` and ``error`` are ClickHouse's.

    In the file the row may be as the release before wrote it; whatever reads or compares it takes the present form.
    """

    shard: int
    seq: int
    code: int
    error: str
    at: datetime
    row: str

    @property
    def at_us(self) -> int:
        """Time when it was put aside, in µs since the epoch."""
        return round(self.at.timestamp() * 1_000_000)


@attrs.frozen(kw_only=True)
class Settlement:
    """Action taken on a letter by hand. A requeued letter was appended again with the text ``row``, as ``again``.

    ``again`` is None for a letter that was discarded, or that an older release requeued.
    """

    letter: str
    action: Action
    at: datetime
    row: str = ""
    again: RowRef | None = None


@attrs.frozen(kw_only=True)
class FiledLetter:
    """A letter as it is found in the file; ``settlement`` is None while it is open."""

    id: str
    letter: DeadLetter
    settlement: Settlement | None

    @property
    def place(self) -> Place:
        """Place in the order of all letters."""
        return self.letter.at_us, self.id


@attrs.define
class _LetterEntry:
    """Offsets in the file, in bytes, of a letter and of the line that settles it; and what is needed to find it."""

    id: str
    seq: int
    at_us: int
    row_crc: int
    offset: int
    settled_offset: int | None = None
    again: RowRef | None = None

    @property
    def place(self) -> Place:
        return self.at_us, self.id


class DeadLetterFile:
    """The dead letters of one shard. A letter is fsynced before its row counts as done with.

    Memory holds each letter's place in the file, not its text. The id of a letter, ``<shard>-<sequence number>``, never
    changes. If a number comes twice, because the log was lost but not the letters, the later id has a suffix.
    """

    def __init__(self, path: Path, *, shard: int) -> None:
        self._file = LineFile(path)
        self._shard = shard
        self._lock = threading.Lock()
        self._entries: dict[str, _LetterEntry] = {}
        self._settled: dict[Action, int] = {"requeued": 0, "discarded": 0}

    @property
    def requeued(self) -> int:
        """Letters that were appended again by hand."""
        return self._settled["requeued"]

    @property
    def discarded(self) -> int:
        """Letters that were given up by hand."""
        return self._settled["discarded"]

    def __contains__(self, letter_id: str) -> bool:
        return letter_id in self._entries

    def recover(self) -> None:
        """Read the file. Blocking; called once, before anything else. Raises OSError."""
        for offset, line in self._lines():
            if isinstance(line, DeadLetter):
                self._enter(line, offset)
            else:
                self._enter_settlement(line, offset)

    def _lines(self) -> Iterator[tuple[int, DeadLetter | Settlement]]:
        if not self._file.path.exists():
            return
        offset = 0
        with self._file.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    if line.strip():
                        yield offset, _decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    _log.warning("dead letter line damaged", path=str(self._file.path), line=number)
                offset += len(line)

    def _enter(self, letter: DeadLetter, offset: int) -> None:
        row_crc = crc32(current_row(letter.row.encode()))
        letter_id, copies = f"{letter.shard}-{letter.seq}", 1
        while (known := self._entries.get(letter_id)) is not None:
            if known.row_crc == row_crc:
                return  # written again after a failed write that had left a whole line
            copies += 1
            letter_id = f"{letter.shard}-{letter.seq}-{copies}"
        self._entries[letter_id] = _LetterEntry(letter_id, letter.seq, letter.at_us, row_crc, offset)

    def _enter_settlement(self, settlement: Settlement, offset: int) -> None:
        entry = self._entries.get(settlement.letter)
        if entry is None:
            path, letter = str(self._file.path), settlement.letter
            _log.warning("settlement without its dead letter", path=path, letter=letter, action=settlement.action)
        elif entry.settled_offset is None:
            entry.settled_offset = offset
            entry.again = settlement.again
            self._settled[settlement.action] += 1

    def seqs(self) -> set[int]:
        """Return the sequence numbers whose rows were put aside."""
        return {entry.seq for entry in self._entries.values()}

    def requeued_as(self, seq: int) -> RowRef | None:
        """Return the row that a letter was appended again as; None if it was not, or that is unknown."""
        entry = self._entries.get(f"{self._shard}-{seq}")
        return entry.again if entry else None

    def rows_after(self, seq: int) -> set[tuple[int, int]]:
        """Return number and CRC-32 of the rows beyond ``seq`` that were put aside."""
        return {(entry.seq, entry.row_crc) for entry in self._entries.values() if entry.seq > seq}

    def count_upto(self, seq: int) -> int:
        """Return how many letters have a sequence number of at most ``seq``."""
        return sum(entry.seq <= seq for entry in self._entries.values())

    async def put_aside(self, *, seq: int, row: bytes, code: int, error: str) -> None:
        """Keep a row, durably. Raises OSError."""
        letter = DeadLetter(shard=self._shard, seq=seq, code=code, error=error, at=datetime.now(UTC), row=row.decode())
        await asyncio.to_thread(self._put_aside, letter)

    def _put_aside(self, letter: DeadLetter) -> None:
        with self._lock:
            self._enter(letter, self._file.append(msgspec.json.encode(letter) + b"\n"))

    async def settle(self, letter_id: str, action: Action, *, row: bytes = b"", again: RowRef | None = None) -> None:
        """Note durably what was done with a letter. Raises OSError."""
        settlement = Settlement(letter=letter_id, action=action, at=datetime.now(UTC), row=row.decode(), again=again)
        await asyncio.to_thread(self._settle, settlement)

    def _settle(self, settlement: Settlement) -> None:
        with self._lock:
            self._enter_settlement(settlement, self._file.append(msgspec.json.encode(settlement) + b"\n"))

    def read(self, letter_id: str) -> FiledLetter:
        """Return a letter and what was done with it. Blocking; raises KeyError (no such letter), OSError."""
        entry = self._entries[letter_id]
        with self._file.path.open("rb") as file:
            return self._read(file.fileno(), entry)

    def newest(self, *, limit: int, before: Place | None, settled: bool) -> list[FiledLetter]:
        """Return letters, newest first, from behind ``before``. Blocking; raises OSError.

        Args:
            limit: most letters to return.
            before: the place of the last letter of the page before; None for the first page.
            settled: include letters that were settled by hand.
        """
        wanted = (
            entry
            for entry in list(self._entries.values())
            if (settled or entry.settled_offset is None) and (before is None or entry.place < before)
        )
        entries = heapq.nlargest(limit, wanted, key=lambda entry: entry.place)
        if not entries:
            return []
        with self._file.path.open("rb") as file:
            return [self._read(file.fileno(), entry) for entry in entries]

    @staticmethod
    def _read(fd: int, entry: _LetterEntry) -> FiledLetter:
        settled_offset = entry.settled_offset
        settlement = None if settled_offset is None else _current(_settlement.decode(_line_at(fd, settled_offset)))
        letter = _current(_letter.decode(_line_at(fd, entry.offset)))
        return FiledLetter(id=entry.id, letter=letter, settlement=settlement)


_letter = msgspec.json.Decoder(DeadLetter)
_settlement = msgspec.json.Decoder(Settlement)

_Line = TypeVar("_Line", DeadLetter, Settlement)
_PIECE_BYTES = 64 << 10


def _decode(line: bytes) -> DeadLetter | Settlement:
    try:
        return _letter.decode(line)
    except msgspec.ValidationError:
        return _settlement.decode(line)


def _current(line: _Line) -> _Line:
    """Return the line with its row as this release writes it."""
    return attrs.evolve(line, row=current_row(line.row.encode()).decode())


def _line_at(fd: int, offset: int) -> bytes:
    line = b""
    while piece := os.pread(fd, _PIECE_BYTES, offset + len(line)):
        line += piece
        if b"\n" in piece:
            break
    return line.partition(b"\n")[0]
