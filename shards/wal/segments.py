"""The segment files of one log, oldest first, and what is known of each."""

import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from shards.logger import get_logger
from shards.runs import Run, both
from shards.wal.checkpoint import FILE_NAME as CHECKPOINT
from shards.wal.files import make_directory, report_foreign, rewrite_file, sync_directory
from shards.wal.journal import FILE_NAME as JOURNAL
from shards.wal.record import HEADER_BYTES
from shards.wal.segment import SegmentReader, Tail, tail_of

_log = get_logger(__name__)

DAMAGED_DIRECTORY = "damaged"
_SEGMENT_NAME = re.compile(r"[0-9]{12}\.wal", re.ASCII)


@attrs.define
class Segment:
    """One file: ``ordinal`` is its number among all segments ever made, ``size`` is in bytes.

    A ``damaged`` file has damage in its middle, and is set aside instead of being removed.
    """

    path: Path
    ordinal: int
    first_seq: int
    size: int
    damaged: bool = False


class SegmentList:
    """The segments of one directory. The committer thread adds to them; the shard's flusher reads and removes them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.first_was_set_aside = False
        """Whether the oldest file could not be used at all, so that records before the first segment are missing."""
        self._segments: list[Segment] = []
        self._unused: list[Path] = []
        self._lock = threading.Lock()
        self._ordinal = 0

    def __bool__(self) -> bool:
        return bool(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Segment]:
        with self._lock:
            return iter(tuple(self._segments))

    @property
    def first(self) -> Segment:
        """The oldest segment."""
        return self._segments[0]

    @property
    def last(self) -> Segment:
        """The newest segment, which may still be written to."""
        return self._segments[-1]

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        with self._lock:
            return sum(segment.size for segment in self._segments)

    def recover(self, *, done_upto: int) -> None:
        """List the directory's segments; a file that cannot be used is set aside. Blocking; raises OSError.

        Args:
            done_upto: the number up to which the checkpoint says that all records are done with.
        """
        report_foreign(self.directory, is_ours)
        paths = sorted(path for path in self.directory.iterdir() if is_segment(path.name))
        for path in paths:
            self._ordinal = int(path.stem)
            self._take(path, done_upto=done_upto, is_last=path == paths[-1])

    def _take(self, path: Path, *, done_upto: int, is_last: bool) -> None:
        size = path.stat().st_size
        with SegmentReader(path) as reader:
            header = reader.header
            first = None if header else next(reader.records(), None)
        if header is not None:
            self._segments.append(Segment(path, self._ordinal, header.first_seq, size))
        elif first is not None:
            effect = "its whole records are used, and the file is kept"
            _log.error("segment header damaged", path=str(path), effect=effect)
            # The first segment may have lost records too: numbers that no checkpoint covers count as missing.
            first_seq = first.seq if self._segments else min(first.seq, done_upto + 1)
            self._segments.append(Segment(path, self._ordinal, first_seq, size, damaged=True))
        elif size <= HEADER_BYTES and is_last:
            path.unlink()  # created, but the crash came before its header: it never held a record
        else:
            kept = self._set_aside(path)
            _log.error("segment set aside", path=str(path), kept_in=str(kept), reason="damaged from its start")
            self.first_was_set_aside = self.first_was_set_aside or not self._segments

    def tail(self, *, proven: int) -> Tail | None:
        """Return the end of the last segment; None: there is no segment. Blocking; raises OSError.

        Args:
            proven: last number that anything but the last segment shows to be durable.
        """
        if not self._segments:
            return None
        last = self._segments[-1]
        return tail_of(last.path, proven=max(proven, last.first_seq - 1))

    def settle(self, tail: Tail) -> None:
        """Make the end of a segment durable, before it counts. Blocking; raises OSError.

        Records that no sync is known to cover are written again: a process may have been killed before their sync, or
        their sync may have failed, and then another one would prove nothing. What was torn is cut off, unless whole
        records are there: these have to be somewhere else first.
        """
        if tail.is_durable:
            return
        rewrite_file(tail.path, start=tail.start, end=None if tail.strays else tail.end)
        if tail.strays:
            return
        with self._lock:
            for segment in self._segments:
                if segment.path == tail.path:
                    segment.size = tail.end

    def next_path(self) -> Path:
        """Return the path of the next file; never the same twice, because the rest of a failed file may be there."""
        self._ordinal += 1
        return self.directory / f"{self._ordinal:012d}.wal"

    def discard(self, path: Path) -> None:
        """Remove the rest of a file that never became a segment; if the disk refuses, later, with those done with.

        A start would take it for a segment whose records are lost, if those before and behind it are gone by then.
        """
        self._unused.append(path)
        self._remove_unused()

    def _remove_unused(self) -> None:
        with suppress(OSError):
            while self._unused:
                self._unused[-1].unlink(missing_ok=True)
                self._unused.pop()

    def add(self, path: Path, *, first_seq: int, size: int) -> None:
        """Take in the file that :meth:`next_path` named last."""
        with self._lock:
            self._segments.append(Segment(path, self._ordinal, first_seq, size))

    def segment_of(self, seq: int) -> tuple[Path, int] | None:
        """Return path and ordinal of the segment that holds a number, else of the first one; None: there is none."""
        with self._lock:
            holding = [segment for segment in self._segments if segment.first_seq <= seq][-1:]
            found = holding or self._segments[:1]
            return (found[0].path, found[0].ordinal) if found else None

    def following(self, ordinal: int) -> tuple[Path, int, int] | None:
        """Return path, ordinal and first sequence number of the segment after ``ordinal``; None: there is none."""
        with self._lock:
            for segment in self._segments:
                if segment.ordinal > ordinal:
                    return segment.path, segment.ordinal, segment.first_seq
            return None

    def mark_damaged(self, ordinal: int) -> None:
        """Mark a segment that has damage in its middle, so that it is kept, not deleted."""
        with self._lock:
            for segment in self._segments:
                segment.damaged = segment.damaged or segment.ordinal == ordinal

    def mark_holding(self, runs: Sequence[Run]) -> None:
        """Mark the segments that hold, or should hold, one of these numbers as damaged."""
        with self._lock:
            ends = [*(segment.first_seq for segment in self._segments[1:]), sys.maxsize]
            for segment, end in zip(self._segments, ends, strict=False):
                segment.damaged = segment.damaged or bool(both(runs, ((segment.first_seq, end - 1),)))

    def remove_done(self, upto: int, *, one_by_one: bool) -> None:
        """Remove segments, from the oldest on, that hold nothing beyond ``upto``; the last one always stays.

        Raises OSError; the next call tries again.

        Args:
            upto: number up to which all is done with.
            one_by_one: make each removal durable before the next, because no checkpoint tells that they are done with.
                After a power failure a segment in the middle could be gone otherwise, and count as damaged.
        """
        self._remove_unused()
        while len(self._segments) > 1 and self._segments[1].first_seq <= upto + 1:
            segment = self._segments[0]
            if segment.damaged:
                self._set_aside(segment.path)
            else:
                segment.path.unlink(missing_ok=True)
            if one_by_one:
                sync_directory(self.directory)
            with self._lock:
                self._segments.remove(segment)

    def _set_aside(self, path: Path) -> Path:
        kept = self.directory / DAMAGED_DIRECTORY
        make_directory(kept)
        target = kept / f"{path.stem}-{os.urandom(4).hex()}.wal"
        with suppress(FileNotFoundError):  # moved before, by a try whose sync failed
            path.replace(target)
        sync_directory(kept)
        return target


def is_ours(name: str) -> bool:
    """Say whether a name in a shard's directory is one that this package writes."""
    return is_segment(name) or name.removesuffix(".new") in (CHECKPOINT, JOURNAL) or name == DAMAGED_DIRECTORY


def is_segment(name: str) -> bool:
    """Say whether a file's name is that of a segment."""
    return _SEGMENT_NAME.fullmatch(name) is not None
