"""Dead letters: rows that only ClickHouse refuses, kept with its error, one JSON line each."""

import asyncio
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs
import msgspec

from shards.wal.segment import sync_directory

_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class DeadLetter:
    """One row put aside: ``row`` is the JSON text of the WAL record, ``code`` and ``error`` are ClickHouse's."""

    shard: int
    seq: int
    code: int
    error: str
    at: datetime
    row: str


class DeadLetterFile:
    """The dead letters of one shard. A letter is fsynced before its row counts as done with."""

    def __init__(self, path: Path, *, shard: int) -> None:
        self._path = path
        self._shard = shard

    def load(self) -> Iterator[DeadLetter]:
        """Yield the letters; a torn or damaged line is passed over with a log line. Blocking."""
        if not self._path.exists():
            return
        for number, line in enumerate(self._path.read_bytes().splitlines(), 1):
            try:
                yield msgspec.json.decode(line, type=DeadLetter)
            except msgspec.DecodeError:
                _log.warning("%s: line %d is damaged and was passed over", self._path, number)

    async def append(self, *, seq: int, row: bytes, code: int, error: str) -> None:
        """Keep a row, durably. Raises OSError."""
        letter = DeadLetter(shard=self._shard, seq=seq, code=code, error=error, at=datetime.now(UTC), row=row.decode())
        await asyncio.to_thread(self._write, msgspec.json.encode(letter) + b"\n")

    def _write(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            # A line of its own even behind one that a crash tore off.
            torn = os.fstat(fd).st_size and self._path.read_bytes()[-1:] != b"\n"
            os.write(fd, b"\n" + line if torn else line)
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_directory(self._path.parent)
