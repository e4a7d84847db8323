"""Acts of operators: who did what, kept in a file of its own, so that it can be told later.

``<data dir>/acts.ndjson`` has a JSON object for each act, durable before the act is done; one that cannot be kept is
not done. When the file is full, ``acts.1.ndjson`` takes its place, and what was there goes.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

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


class Acts:
    """The acts of one data directory, which must be locked."""

    def __init__(self, data_dir: Path) -> None:
        self._before = data_dir / BEFORE_NAME
        self._file = LineFile(data_dir / FILE_NAME)
        self._lock = asyncio.Lock()

    async def keep(self, *, who: str, address: str, request_id: str, act: str, subject: str) -> None:
        """Make an act durable, before it is done. Raises OSError: then it must not be done."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        texts = (text[:TEXT_MAX_CHARS] for text in (who, address, request_id, act, subject))
        line = msgspec.json.encode(Act(now, *texts)) + b"\n"
        async with self._lock:
            await asyncio.to_thread(self._append, line)

    async def latest(self, limit: int) -> list[dict[str, Any]]:
        """Return acts, the latest first. Raises OSError."""
        async with self._lock:
            lines = await asyncio.to_thread(self._lines)
        return [msgspec.to_builtins(_act.decode(line)) for line in reversed(lines[-limit:])]

    def _append(self, line: bytes) -> None:
        if len(self._file.read()) + len(line) > FILE_MAX_BYTES:
            self._file.path.replace(self._before)
            self._file = LineFile(self._file.path)
        self._file.append(line)

    def _lines(self) -> list[bytes]:
        before = self._before.read_bytes() if self._before.exists() else b""
        return (before + self._file.read()).splitlines()
