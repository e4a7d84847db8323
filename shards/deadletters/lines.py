"""Lines of a file of dead letters: what each kind says, and how it is read."""

import os
from contextlib import suppress
from datetime import datetime
from typing import Literal, TypeVar

import attrs
import msgspec

from shards.events import current_row

Action = Literal["requeued", "discarded"]
RowRef = tuple[int, int]
"""A row of the log: shard and sequence number."""


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
class LogEnd:
    """The log was found to end at a number: the rows of the letters above this line, if beyond it, are lost."""

    log_ends_at: int
    at: datetime


@attrs.frozen(kw_only=True)
class ErasedLetter:
    """What stays of a letter whose match was erased: its id, so that no other gets it, and what was done with it.

    ``action`` is None for one that was open.
    """

    erased: str
    seq: int
    at: datetime
    action: Action | None = None
    again: RowRef | None = None


Line = DeadLetter | Settlement | LogEnd | ErasedLetter
_Row = TypeVar("_Row", DeadLetter, Settlement)

_LETTER = msgspec.json.Decoder(DeadLetter)
_SETTLEMENT = msgspec.json.Decoder(Settlement)
_ERASED = msgspec.json.Decoder(ErasedLetter)
_LOG_END = msgspec.json.Decoder(LogEnd)

_PIECE_BYTES = 64 << 10


def decode_line(line: bytes) -> Line:
    """Return what a line says. Raises msgspec.DecodeError and UnicodeDecodeError for a damaged one."""
    for decoder in (_LETTER, _SETTLEMENT, _ERASED):
        with suppress(msgspec.ValidationError):
            return decoder.decode(line)
    return _LOG_END.decode(line)


def letter_at(fd: int, offset: int) -> DeadLetter:
    """Return the letter whose line begins at an offset in the file, in bytes. Blocking; raises OSError."""
    return _current(_LETTER.decode(_line_at(fd, offset)))


def settlement_at(fd: int, offset: int) -> Settlement:
    """Return the settlement whose line begins at an offset in the file, in bytes. Blocking; raises OSError."""
    return _current(_SETTLEMENT.decode(_line_at(fd, offset)))


def _current(line: _Row) -> _Row:
    """Return the line with its row as this release writes it."""
    return attrs.evolve(line, row=current_row(line.row.encode()).decode())


def _line_at(fd: int, offset: int) -> bytes:
    line = b""
    while piece := os.pread(fd, _PIECE_BYTES, offset + len(line)):
        line += piece
        if b"\n" in piece:
            break
    return line.partition(b"\n")[0]
