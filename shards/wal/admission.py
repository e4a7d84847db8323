"""Admission: the check for room in the log, made before anything is appended."""

import shutil
from collections.abc import Callable
from time import monotonic

from shards.clock import ReceiptClock
from shards.errors import Saturated, WalFailed, WalFull
from shards.settings import ShardSettings
from shards.wal.committer import Committer

LOOK_EVERY_S = 0.1
FAILED_PAUSE_S = 1.0
_NO_ORDER = "the order of events cannot be reserved, because the disk takes no checkpoint"


class Room:
    """Room for events: checks the queue at every call, the disk and the log's size ten times a second at most."""

    def __init__(
        self, settings: ShardSettings, committer: Committer, clock: ReceiptClock, wal_bytes: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._committer = committer
        self._wal_bytes = wal_bytes
        self._looked_at = 0.0
        self._full = ""

    def check(self) -> None:
        """Raise :class:`Saturated`, :class:`WalFull` or :class:`WalFailed` if an append is to be refused now."""
        now = monotonic()
        if self._committer.queued_bytes >= self._settings.queue_max_bytes:
            raise Saturated("more events are waiting for the disk than may wait", retry_after_s=1)
        if not self._committer.is_running:
            raise WalFailed("the write-ahead log is not being written at the moment", retry_after_s=2)
        if self._committer.error and now - self._committer.failed_at < FAILED_PAUSE_S:
            raise WalFailed("the write-ahead log cannot be written", retry_after_s=2)
        if not self._clock.reserved_ns:
            raise WalFailed(_NO_ORDER, retry_after_s=2)
        if full := self._found_full():
            raise WalFull(full, retry_after_s=5)

    @property
    def problem(self) -> str:
        """Reason why the write-ahead log cannot take events now, even if none come; empty while it can."""
        return self._found_full() or self._committer.problem or ("" if self._clock.reserved_ns else _NO_ORDER)

    def _found_full(self) -> str:
        now = monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._full = self._look()
        return self._full

    def _look(self) -> str:
        if self._wal_bytes() >= self._settings.wal_max_bytes:
            return "the write-ahead log has reached FANFINITY_WAL_MAX_BYTES"
        try:
            free = shutil.disk_usage(self._settings.data_dir).free
        except OSError as error:
            return f"the data directory cannot be read: {error.strerror}"
        if free < self._settings.wal_min_free_bytes:
            return "the disk has less room left than FANFINITY_WAL_MIN_FREE_BYTES"
        return ""
