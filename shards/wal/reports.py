"""Submissions to the committer, and their reports in the event loop: everybody who waits is answered."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import takewhile
from time import monotonic

import attrs

from shards.errors import WalFailed, public_text
from shards.logger import get_logger
from shards.observer import Observer
from shards.wal.log import ShardLog

_log = get_logger(__name__)

Durable = Callable[[int, Sequence[bytes]], None]


@attrs.define(slots=True, eq=False, repr=False)
class Submission:
    """Rows of one request for one shard, ``size`` in bytes. Not shown by its contents, which must be in no log.

    ``durable`` is called in the event loop with the first sequence number and the rows. ``first_seq`` is 0 until they
    are durable. A cut has no rows: ``cut_upto`` is as in :meth:`shards.wal.log.ShardLog.cut`, and ``first_seq`` becomes
    the number behind it.
    """

    log: ShardLog
    rows: Sequence[bytes]
    size: int
    future: asyncio.Future[int]
    durable: Durable
    is_cut: bool = False
    cut_upto: int | None = None
    first_seq: int = 0
    error: BaseException | None = None

    @classmethod
    def cut(cls, log: ShardLog, future: asyncio.Future[int], *, upto: int | None) -> "Submission":
        """Return a cut."""
        return cls(log, (), 0, future, lambda first_seq, rows: None, is_cut=True, cut_upto=upto)

    @property
    def is_settled(self) -> bool:
        """Whether the rows are durable, or have failed."""
        return self.first_seq > 0 or self.error is not None


class Reports:
    """Those who wait for the committer. Used in the event loop; the thread only reads ``error``.

    Attributes:
        queued_bytes: bytes of their rows.
        error: reason of the last failure; empty once a write went well.
        failed_at: when it came, on the monotonic clock.
    """

    def __init__(self, observer: Observer, *, synced: bool) -> None:
        """Wait for nothing yet. ``synced``: what is durable was synced, too."""
        self._observer = observer
        self._synced = synced
        self._waiting: dict[Submission, None] = {}
        self.queued_bytes = 0
        self.error = ""
        self.failed_at = 0.0

    def expect(self, submission: Submission) -> None:
        """Note that somebody waits."""
        self._waiting[submission] = None
        self.queued_bytes += submission.size

    def note_writable(self) -> None:
        """Forget the last failure."""
        if self.error:
            _log.info("write-ahead log writable again")
        self.error = ""

    def report_all(self) -> None:
        """Answer everybody, because there is no thread: what is not durable by now has failed."""
        self.report(tuple(self._waiting), 0.0)

    def report(self, group: Sequence[Submission], seconds: float) -> None:
        """Answer a group that took so many seconds to write, and those before it whose report was lost."""
        records = bytes_ = failed = 0
        first = next(iter(group), None)
        lost = takewhile(lambda one: one is not first and one.is_settled, self._waiting)
        for submission in (*lost, *group):
            if submission not in self._waiting:
                continue
            if self._answer(submission):
                records += len(submission.rows)
                bytes_ += submission.size
            else:
                failed += 1
        if records:
            if not failed:
                self.note_writable()
            self._observer.appended(records=records, bytes_=bytes_)
            if self._synced:
                self._observer.synced(records=records, bytes_=bytes_, seconds=seconds)

    def _answer(self, submission: Submission) -> bool:
        """Answer one of those who wait; say whether its rows are durable and taken in."""
        del self._waiting[submission]
        self.queued_bytes -= submission.size
        if submission.error is not None:
            self._fail(submission, submission.error)
        elif not submission.first_seq:
            self._refuse(submission)
        else:
            try:
                submission.durable(submission.first_seq, submission.rows)
            except Exception as error:  # noqa: BLE001 - of any kind: the others of the group wait too
                self._fail(submission, error)
            else:
                if not submission.future.done():
                    submission.future.set_result(submission.first_seq)
                return True
        return False

    def _fail(self, submission: Submission, error: BaseException) -> None:
        if not self.error:
            _log.error("write-ahead log not writable", shard=submission.log.shard, error=public_text(error))
        self.error = public_text(error)
        self.failed_at = monotonic()
        self._refuse(submission)

    def _refuse(self, submission: Submission) -> None:
        if not submission.future.done():
            submission.future.set_exception(WalFailed("the write-ahead log cannot be written", retry_after_s=2))
            submission.future.exception()  # marks it as seen: the handler may be gone
