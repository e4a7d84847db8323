"""Group commit: one thread writes and syncs for all shards.

One thread is faster than one a shard, because it needs fewer syncs and hand-overs (figures in the design). Rows that
queue up during a sync, or between two groups, become the next group, so its size follows the load.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic, sleep

import attrs

from shards.errors import InvariantBroken, WalFailed
from shards.logger import get_logger
from shards.observer import Observer
from shards.settings import WalSync
from shards.wal.log import ShardLog

_log = get_logger(__name__)

SYNC_INTERVAL_S = 1.0

GAP_S = 0.002
"""Least seconds between the starts of two groups, while groups hold several appends of a log. Without it a disk that
syncs faster than requests arrive would make the two threads hand over the interpreter for every request."""

Durable = Callable[[int, Sequence[bytes]], None]


@attrs.define(slots=True, eq=False)
class Submission:
    """Rows of one request for one shard, ``size`` in bytes.

    ``durable`` is called in the event loop with the first sequence number and the rows.
    """

    log: ShardLog
    rows: Sequence[bytes]
    size: int
    future: asyncio.Future[int]
    durable: Durable
    first_seq: int = 0
    error: OSError | InvariantBroken | None = None


class Committer:
    """Takes submissions from the event loop, makes them durable in groups, and reports back to the loop.

    An append belongs to this class from :meth:`submit` on: a cancelled handler takes nothing back.
    """

    def __init__(self, *, sync: WalSync, observer: Observer) -> None:
        self._sync = sync
        self._observer = observer
        self._queue: SimpleQueue[Submission | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsynced: dict[ShardLog, tuple[int, int]] = {}  # records and bytes that no sync covers yet
        self._failed: set[ShardLog] = set()
        self._synced_at = monotonic()
        self._began = 0.0
        self._crowded = False
        self.queued_bytes = 0
        self.error = ""
        self.failed_at = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="wal-committer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Commit what is queued, then end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            await asyncio.sleep(0)  # lets the last group's report run

    def submit(self, log: ShardLog, rows: Sequence[bytes], durable: Durable) -> asyncio.Future[int]:
        """Queue rows; the future gives the first row's sequence number once all are durable, or raises WalFailed."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        size = sum(map(len, rows))
        self.queued_bytes += size
        self._queue.put(Submission(log, rows, size, future, durable))
        return future

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            if group:
                self._commit(group)
            self._sync_by_interval()
            self._reopen_failed()
        for log in self._unsynced:
            log.sync()

    def _next_group(self) -> list[Submission] | None:
        """Return the queued submissions, after a wait for the first; empty: something else may be due; None: end."""
        try:
            first = self._queue.get(timeout=SYNC_INTERVAL_S if self._sync == "interval" or self._failed else None)
        except Empty:
            return []
        if first is not None:
            self._keep_gap()
        group: list[Submission] = []
        while first is not None:
            group.append(first)
            try:
                first = self._queue.get_nowait()
            except Empty:
                self._crowded = len(group) > len({submission.log for submission in group})
                return group
        if group:
            self._commit(group)
        return None

    def _keep_gap(self) -> None:
        """Begin a group; while groups are crowded, wait until `GAP_S` have passed since the last one began."""
        if self._crowded and (early_s := self._began + GAP_S - monotonic()) > 0:
            sleep(early_s)
        self._began = monotonic()

    def _commit(self, group: list[Submission]) -> None:
        started = monotonic()
        by_log: dict[ShardLog, list[Submission]] = {}
        for submission in group:
            by_log.setdefault(submission.log, []).append(submission)
        for log, submissions in by_log.items():
            try:
                self._write(log, submissions)
                log.acknowledge()
                self._failed.discard(log)
            except (OSError, InvariantBroken) as error:
                self.failed_at = monotonic()  # noted here, because this thread looks at it before the report is read
                log.abandon()
                self._unsynced.pop(log, None)
                self._failed.add(log)
                for submission in submissions:
                    submission.error = error
        self._in_loop(partial(self._report, group, monotonic() - started))

    def _write(self, log: ShardLog, submissions: list[Submission]) -> None:
        seq = log.append([row for submission in submissions for row in submission.rows])
        for submission in submissions:
            submission.first_seq = seq
            seq += len(submission.rows)
        if self._sync == "always":
            log.sync()
        else:
            records, bytes_ = self._unsynced.get(log, (0, 0))
            records += sum(len(submission.rows) for submission in submissions)
            self._unsynced[log] = records, bytes_ + sum(submission.size for submission in submissions)

    def _sync_by_interval(self) -> None:
        if self._sync != "interval" or monotonic() - self._synced_at < SYNC_INTERVAL_S:
            return
        self._synced_at = monotonic()
        unsynced, self._unsynced = self._unsynced, {}
        for log, (records, bytes_) in unsynced.items():
            started = monotonic()
            try:
                log.sync()
            except OSError as error:
                effect = "the last second of acknowledged events may be lost"
                _log.exception("sync failed", shard=log.shard, error=str(error), effect=effect)
                log.abandon()
            else:
                seconds = monotonic() - started
                self._in_loop(partial(self._observer.synced, records=records, bytes_=bytes_, seconds=seconds))

    def _reopen_failed(self) -> None:
        """Try whether the disk takes writes again, because nothing else does while events are refused."""
        if not self._failed or monotonic() - self.failed_at < SYNC_INTERVAL_S:
            return
        try:
            for log in self._failed:
                log.reopen()
        except OSError:
            return
        self._failed.clear()
        self._in_loop(self._note_writable)

    def _in_loop(self, call: Callable[[], None]) -> None:
        assert self._loop is not None  # noqa: S101 - for the type checker
        self._loop.call_soon_threadsafe(call)

    def _note_writable(self) -> None:
        if self.error:
            _log.info("write-ahead log writable again")
        self.error = ""

    def _report(self, group: list[Submission], seconds: float) -> None:
        records = bytes_ = 0
        for submission in group:
            self.queued_bytes -= submission.size
            if submission.error is not None:
                self._fail(submission, submission.error)
                continue
            try:
                submission.durable(submission.first_seq, submission.rows)
            except InvariantBroken as error:
                self._fail(submission, error)
                continue
            records += len(submission.rows)
            bytes_ += submission.size
            if not submission.future.done():
                submission.future.set_result(submission.first_seq)
        if records:
            self._note_writable()
            self._observer.appended(records=records, bytes_=bytes_)
            if self._sync == "always":
                self._observer.synced(records=records, bytes_=bytes_, seconds=seconds)

    def _fail(self, submission: Submission, error: OSError | InvariantBroken) -> None:
        if not self.error:
            _log.error("write-ahead log not writable", shard=submission.log.shard, error=str(error))
        self.error = getattr(error, "strerror", None) or str(error)
        self.failed_at = monotonic()
        if not submission.future.done():
            submission.future.set_exception(WalFailed("the write-ahead log cannot be written", retry_after_s=2))
            submission.future.exception()  # marks it as seen: the handler may be gone
