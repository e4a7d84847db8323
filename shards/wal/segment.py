"""One segment file: writing it, reading it."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import attrs

from shards.wal.files import FILE_MODE, sync_directory, write_all
from shards.wal.record import HEADER_BYTES, Damage, Record, RecordScanner, decode_header, encode_header

READ_BYTES = 1 << 20


class SegmentWriter:
    """Appends to one new segment file. Any OSError leaves it unusable: close it and start another.

    A file whose header or name could not be made durable may be left; nothing in it counts. The header is durable
    before the name, because a start that finds a file without one, with another behind it, cannot know whether records
    are lost.
    """

    def __init__(self, path: Path, *, shard: int, first_seq: int) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        self.size = 0
        self.next_seq = first_seq
        try:
            self._write(encode_header(shard, first_seq))
            os.fsync(self._fd)
            sync_directory(path.parent)
        except OSError:
            self.close()
            raise

    def write_records(self, data: bytes, *, count: int) -> None:
        """Write ``count`` encoded records, numbered from :attr:`next_seq` on; durable only after :meth:`sync`."""
        self._write(data)
        self.next_seq += count

    def _write(self, data: bytes) -> None:
        write_all(self._fd, data)
        self.size += len(data)

    def sync(self) -> None:
        """Make the written records durable. Raises OSError."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file without a sync."""
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)


class SegmentReader:
    """Reads one segment from its start, in pieces, while it may still be growing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        try:
            self.header = decode_header(self._file.read(HEADER_BYTES))
            self.format = self.header.format if self.header else self._probable_format()
        except OSError:
            self._file.close()
            raise
        self._scanner = RecordScanner(format_=self.format)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _probable_format(self) -> int:
        """Return the format of a file whose header is damaged: the one in which it holds a whole record."""
        for format_ in (2, 1):
            self._file.seek(HEADER_BYTES)
            if any(True for _ in RecordScanner(format_=format_).feed(self._file.read())):
                break
        self._file.seek(HEADER_BYTES)
        return format_

    @property
    def damages(self) -> list[Damage]:
        """Damaged stretches found so far."""
        return self._scanner.damages

    @property
    def end(self) -> int:
        """Offset behind the last record that was read, in bytes."""
        return self._scanner.end

    def piece(self) -> Iterator[Record] | None:
        """Return the records that the next piece of the file completes; None at the end of the file."""
        data = self._file.read(READ_BYTES)
        return self._scanner.feed(data) if data else None

    def records(self) -> Iterator[Record]:
        """Yield all records up to the present end of the file."""
        while (piece := self.piece()) is not None:
            yield from piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def format_of(path: Path) -> int:
    """Return the format of a segment, the probable one if its header is damaged. Blocking; raises OSError."""
    with SegmentReader(path) as reader:
        return reader.format


@attrs.frozen(kw_only=True)
class Tail:
    """The end of a log's last segment, as a start finds it.

    Attributes:
        path: the segment.
        start: offset behind the last record that is known to be durable, 0 if there is none: then not even the header
            is.
        end: offset behind the last record that counts.
        size: size of the file. Bytes behind ``end`` are a torn end.
        last_seq: number of the last record that counts, or is known to be durable.
        strays: payloads of the whole records behind ``end``: one before them is missing.
    """

    path: Path
    start: int
    end: int
    size: int
    last_seq: int
    strays: tuple[bytes, ...] = ()

    @property
    def is_durable(self) -> bool:
        """Whether nothing has to be written or cut off before the segment counts."""
        return self.start == self.end == self.size


def tail_of(path: Path, *, proven: int) -> Tail:
    """Find the end of a log in its last segment. Blocking; raises OSError.

    Records behind the last durable number count as far as they follow each other without a gap: whole, but perhaps not
    on the disk yet. What comes behind a gap belongs to a group that no sync covered, because a group is written only
    when all before it is durable.

    Args:
        path: the segment.
        proven: last number that anything else shows to be durable.
    """
    with SegmentReader(path) as reader:
        proven, proven_end, last_whole, waiting = _read_to_end(reader, proven)
        header = reader.header
    size, tells_proof = path.stat().st_size, header is not None and header.format > 1
    if header is not None and tells_proof and header.first_seq <= proven and last_whole < proven:
        # What is missing at the end was durable: damage, which stays as it is for whoever looks into it.
        return Tail(path=path, start=size, end=size, size=size, last_seq=proven)
    end, last_seq = max(proven_end, HEADER_BYTES), proven
    while waiting and waiting[0][1].seq == last_seq + 1:
        end, last_seq = waiting[0][0], waiting.popleft()[1].seq
    strays = tuple(record.payload for _, record in waiting)
    return Tail(
        path=path,
        start=proven_end if tells_proof else 0,
        end=end,
        size=size,
        last_seq=last_seq,
        strays=strays,
    )


def _read_to_end(reader: SegmentReader, proven: int) -> tuple[int, int, int, deque[tuple[int, Record]]]:
    """Return the last durable number, the end of its record, the last number, and the records behind the durable ones.

    Each of these comes with the end of its bytes.
    """
    proven_end = last_whole = 0
    waiting: deque[tuple[int, Record]] = deque()
    for record in reader.records():
        proven, last_whole = max(proven, record.proven), record.seq
        waiting.append((reader.end, record))
        while waiting and waiting[0][1].seq <= proven:
            proven_end = waiting.popleft()[0]
    return proven, proven_end, last_whole, waiting
