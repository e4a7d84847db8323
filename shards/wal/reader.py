"""Reading a log in order while it grows."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from shards.logger import get_logger
from shards.runs import Run, contains
from shards.wal.record import Record
from shards.wal.segment import SegmentReader
from shards.wal.segments import SegmentList

_log = get_logger(__name__)


class ReadableLog(Protocol):
    """The part of a log that a reader needs.

    Attributes:
        segments: its files.
        generation: changes when records that a reader holds may be invalid.
    """

    segments: SegmentList
    generation: int


class LogReader:
    """Reads a log in order, from behind a sequence number, while it grows. Blocking; one thread at a time."""

    def __init__(self, log: ReadableLog, *, after_seq: int) -> None:
        self._log = log
        self._after = after_seq
        self._generation = log.generation
        self._reader: SegmentReader | None = None
        self._ordinal = -1
        self._ready: deque[Record] = deque()
        self._last = after_seq

    def skip_to(self, seq: int) -> None:
        """Go on behind ``seq`` if that lies ahead."""
        if seq > self._after:
            self.close()
            self._after = self._last = seq

    def read(self, *, upto_seq: int | None, max_rows: int, max_bytes: int, but: Sequence[Run] = ()) -> list[Record]:
        """Return the next records, none beyond ``upto_seq``, and none of those in ``but``.

        An empty list means that there are none yet.
        """
        # Intricate because every row comes through this loop: a call for each condition makes it 7 % slower.
        if self._generation != self._log.generation:
            self._generation = self._log.generation
            self.close()
        records: list[Record] = []
        size = 0
        while len(records) < max_rows and size < max_bytes and (self._ready or self._fill()):
            record = self._ready[0]
            if upto_seq is not None and record.seq > upto_seq:
                break
            self._ready.popleft()
            if record.seq > self._after:
                self._after = record.seq
                if not (but and contains(but, record.seq)):
                    records.append(record)
                    size += len(record.payload)
        return records

    def _fill(self) -> bool:
        while True:
            if self._reader is None and not self._open():
                return False
            assert self._reader is not None  # noqa: S101 - for the type checker
            # Asked before the file is read, because a segment that has a follower grows no more.
            follower = self._log.segments.following(self._ordinal)
            piece = self._reader.piece()
            if piece is not None:
                self._ready.extend(_before_follower(piece, follower))
                if self._ready:
                    self._last = self._ready[-1].seq
                    return True
            elif follower is None:
                return False
            else:
                self._finish(records_missing=follower[2] > self._last + 1)
                self._reader, self._ordinal = SegmentReader(follower[0]), follower[1]

    def _open(self) -> bool:
        found = self._log.segments.segment_of(self._after + 1)
        if found is None:
            return False
        self._reader, self._ordinal = SegmentReader(found[0]), found[1]
        return True

    def _finish(self, *, records_missing: bool = False) -> None:
        if self._reader is None:
            return
        for damage in self._reader.damages:
            _log.error(
                "segment damaged",
                path=str(self._reader.path),
                offset_bytes=damage.offset,
                size_bytes=damage.size,
                effect="the file is kept",
            )
        if self._reader.damages or records_missing:
            self._log.segments.mark_damaged(self._ordinal)
        self._reader.close()
        self._reader = None

    def close(self) -> None:
        """Close the open segment; a later :meth:`read` goes on where this one ended."""
        self._finish()
        self._ready.clear()


def _before_follower(piece: Iterator[Record], follower: tuple[Path, int, int] | None) -> Iterator[Record]:
    """Return the records before the following segment's first number, because those from it on were abandoned."""
    if follower is None:
        return piece
    first_seq = follower[2]
    return (record for record in piece if record.seq < first_seq)
