"""Acts of operators: who did what, kept in a file of its own, so that it can be told later.

``<data dir>/acts.ndjson`` has a JSON object for each act, durable before the act is done; one that cannot be kept is
not done. When the file is full, ``acts.1.ndjson`` takes its place, and what was there goes.
"""

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from shards import LineFile

FILE_NAME: Final = "acts.ndjson"
BEFORE_NAME: Final = "acts.1.ndjson"
FILE_MAX_BYTES: Final = 4 << 20
TEXT_MAX_CHARS: Final = 200


class Act(msgspec.Struct, frozen=True):
    """One act: when, by whom, from which address, in which request, and what was done to what."""

    at: str
    who: str
    address: str
    request_id: str = msgspec.field(name="requestId")
    act: str
    subject: str


_act = msgspec.json.Decoder(Act)
_log = structlog.stdlib.get_logger(__name__)


class Acts:
    """The acts of one data directory, which must be locked."""

    def __init__(self, data_dir: Path) -> None:
        self._before = data_dir / BEFORE_NAME
        self._file = LineFile(data_dir / FILE_NAME)
        self._unreadable = 0
        # Held by the threads and not by who waits for them, because these may leave while a thread is at work.
        self._lock = threading.Lock()

    async def keep(self, *, who: str, address: str, request_id: str, act: str, subject: str) -> None:
        """Make an act durable, before it is done. Raises OSError: then it must not be done."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        texts = (text[:TEXT_MAX_CHARS] for text in (who, address, request_id, act, subject))
        await asyncio.to_thread(self._append, msgspec.json.encode(Act(now, *texts)) + b"\n")

    async def latest(self, limit: int) -> list[dict[str, Any]]:
        """Return acts, the latest first, without lines that cannot be read. Raises OSError."""
        return await asyncio.to_thread(self._latest, limit)

    def _append(self, line: bytes) -> None:
        with self._lock:
            path = self._file.path
            if path.exists() and path.stat().st_size + len(line) > FILE_MAX_BYTES:
                path.replace(self._before)
                self._file = LineFile(path)
            self._file.append(line)

    def _latest(self, limit: int) -> list[dict[str, Any]]:
        with self._lock:
            before = self._before.read_bytes() if self._before.exists() else b""
            lines = (before + self._file.read()).splitlines()
        acts: list[dict[str, Any]] = []
        unreadable = 0
        for line in reversed(lines):
            if len(acts) == limit:
                break
            try:
                acts.append(msgspec.to_builtins(_act.decode(line)))
            except (msgspec.DecodeError, UnicodeDecodeError):
                unreadable += 1
        self._report(unreadable)
        return acts

    def _report(self, unreadable: int) -> None:
        """Log how many lines cannot be read, when there are more than before."""
        if unreadable > self._unreadable:
            self._unreadable = unreadable
            path, effect = str(self._file.path), "they are passed over"
            _log.warning("acts not readable", path=path, count=unreadable, effect=effect)
