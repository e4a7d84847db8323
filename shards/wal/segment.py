"""One segment file: writing it, reading it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from shards.wal.files import FILE_MODE, sync_directory, write_all
from shards.wal.record import HEADER_BYTES, Damage, Record, RecordScanner, decode_header, encode_header

READ_BYTES = 1 << 20


class SegmentWriter:
    """Appends to one new segment file. Any OSError leaves it unusable: close it and start another."""

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
            path.unlink(missing_ok=True)
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
        self._scanner = RecordScanner()
        self.first_seq: int | None = None
        header = decode_header(self._file.read(HEADER_BYTES))
        if header is not None:
            _, self.first_seq = header

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def damages(self) -> list[Damage]:
        """Damaged stretches found so far."""
        return self._scanner.damages

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
