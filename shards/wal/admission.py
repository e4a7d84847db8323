"""Admission: the check for room in the log, made before anything is appended."""

import asyncio
import shutil
from collections.abc import Callable
from time import monotonic

import attrs

from shards.clock import ReceiptClock
from shards.errors import NotAccepting, Refusal, Saturated, Unavailable, WalFailed, WalFull
from shards.logger import Edges, get_logger
from shards.settings import ShardSettings
from shards.snapshot import RoomLimits
from shards.wal.committer import Committer

LOOK_EVERY_S = 0.1
WATCH_EVERY_S = 1.0
"""Seconds between two looks where nobody sends or asks, so that the end of a want of room is told, too."""

FAILED_PAUSE_S = 1.0
_NO_ORDER = "the order of events cannot be reserved, because the disk takes no checkpoint"

_log = get_logger(__name__)


@attrs.frozen
class _Want:
    """A want of room: the refusal, the setting that sets the limit, and the reason."""

    refusal: Refusal
    setting: str
    reason: str


class Room:
    """Room for events: checks the queue at every call, the disk and the log's size ten times a second at most.

    :meth:`refusal` is the one source of all that is said about whether events are taken.
    """

    def __init__(
        self, settings: ShardSettings, committer: Committer, clock: ReceiptClock, wal_bytes: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._committer = committer
        self._wal_bytes = wal_bytes
        self._looked_at = 0.0
        self._free_bytes: int | None = None
        self._want: _Want | None = None
        self._edges = Edges("")
        self._timer: asyncio.TimerHandle | None = None
        self._shut: tuple[Refusal, str] | None = None

    def open(self) -> None:
        """Take events, and look from now on whether there is room, even if nobody asks; until :meth:`shut`."""
        self._shut = None
        self._look_again()

    def shut(self, refusal: Refusal, reason: str) -> None:
        """Refuse events whatever room there is."""
        self._shut = refusal, reason
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> None:
        """Raise a subclass of :class:`Unavailable` if an append is to be refused now."""
        if (refusal := self.refusal()) is not None and not self._may_try(refusal):
            raise refusal
        if not self._committer.is_running:
            raise WalFailed("the write-ahead log is not being written at the moment", retry_after_s=2)
        if self._committer.queued_bytes >= self._settings.queue_max_bytes:
            raise Saturated("more events are waiting for the disk than may wait", retry_after_s=1)

    def refusal(self) -> Unavailable | None:
        """Return why events are not taken, even if none come; None while they are.

        The queue does not count, because it is full for milliseconds.
        """
        if self._shut is not None:
            return NotAccepting(self._shut[1], refusal=self._shut[0])
        if want := self._found_want():
            return WalFull(want.reason, retry_after_s=5, refusal=want.refusal)
        if problem := self._committer.problem:
            return WalFailed(problem, retry_after_s=2)
        return None if self._clock.reserved_ns else WalFailed(_NO_ORDER, retry_after_s=2)

    @property
    def limits(self) -> RoomLimits:
        """The limits, and how much is left."""
        self._found_want()
        return RoomLimits(
            wal_max_bytes=self._settings.wal_max_bytes,
            disk_min_free_bytes=self._settings.wal_min_free_bytes,
            disk_free_bytes=self._free_bytes,
        )

    def _look_again(self) -> None:
        self._found_want()
        self._timer = asyncio.get_running_loop().call_later(WATCH_EVERY_S, self._look_again)

    def _may_try(self, refusal: Unavailable) -> bool:
        """Say whether an append is let through although the last write failed, because the disk may take it by now."""
        committer = self._committer
        failed = isinstance(refusal, WalFailed) and bool(committer.error) and bool(self._clock.reserved_ns)
        return failed and monotonic() - committer.failed_at >= FAILED_PAUSE_S

    def _found_want(self) -> _Want | None:
        now = monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._want = self._look()
            self._tell(self._want)
        return self._want

    def _look(self) -> _Want | None:
        settings = self._settings
        if self._wal_bytes() >= settings.wal_max_bytes:
            reason = "the write-ahead log has reached FANFINITY_WAL_MAX_BYTES"
            return _Want("log_full", "FANFINITY_WAL_MAX_BYTES", reason)
        try:
            self._free_bytes = shutil.disk_usage(settings.data_dir).free
        except OSError as error:
            self._free_bytes = None
            reason = f"the data directory cannot be read: {error.strerror}"
            return _Want("disk_short", "FANFINITY_DATA_DIR", reason)
        if self._free_bytes < settings.wal_min_free_bytes:
            reason = "the disk has less room left than FANFINITY_WAL_MIN_FREE_BYTES"
            return _Want("disk_short", "FANFINITY_WAL_MIN_FREE_BYTES", reason)
        return None

    def _tell(self, want: _Want | None) -> None:
        before = self._edges.told
        if not self._edges.is_news(want.setting if want else ""):
            return
        figures = {"wal_bytes": self._wal_bytes(), "wal_bytes_max": self._settings.wal_max_bytes}
        figures |= {"free_bytes": self._free_bytes or 0, "free_bytes_min": self._settings.wal_min_free_bytes}
        if want is not None:
            _log.warning("events refused", setting=want.setting, reason=want.reason, room=figures)
        else:
            _log.warning("events taken again", setting=before, room=figures)
