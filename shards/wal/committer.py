"""Group commit: one thread writes and syncs for all shards.

One thread is faster than one a shard, because it needs fewer syncs and hand-overs (figures in the design). Rows that
queue up during a sync, or between two groups, become the next group, so its size follows the load.

**Whatever fails, nobody waits for ever.** What goes wrong with a log abandons its segment and fails those who wait for
it. What ends the thread fails everybody; a new thread is started after a pause, because each log is then either at the
end of its acknowledged records or abandoned before it is written to again.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic, sleep

from shards.logger import get_logger
from shards.observer import Observer
from shards.settings import WalSync
from shards.tasks.watch import Watch, Watched
from shards.wal.log import ShardLog
from shards.wal.reports import Durable, Reports, Submission

_log = get_logger(__name__)

SYNC_INTERVAL_S = 1.0

GAP_S = 0.002
"""Least seconds between the starts of two groups, while groups hold several appends of a log. Without it a disk that
syncs faster than requests arrive would make the two threads hand over the interpreter for every request."""


class Committer:
    """Takes submissions from the event loop, makes them durable in groups, and reports back to the loop.

    An append belongs to this class from :meth:`submit` on: a cancelled handler takes nothing back.
    """

    def __init__(self, *, sync: WalSync, observer: Observer, watch: Watch | None = None) -> None:
        self._sync = sync
        self._observer = observer
        self._watch = watch or Watch(observer)
        self._queue: SimpleQueue[Submission | None] = SimpleQueue()
        self._reports = Reports(observer, synced=sync == "always")
        self._watched: Watched | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_ended: asyncio.Future[None] | None = None
        self._closing = self._closed = False
        self._unsynced: dict[ShardLog, tuple[int, int]] = {}  # records and bytes that no sync covers yet
        self._failed: set[ShardLog] = set()
        self._untrusted: set[ShardLog] = set()  # logs that could not be abandoned yet
        self._synced_at = monotonic()
        self._began = 0.0
        self._crowded = False
        self._failed_at = 0.0

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._reports.queued_bytes

    @property
    def error(self) -> str:
        """Reason of the last failure; empty once a write went well."""
        return self._reports.error

    @property
    def failed_at(self) -> float:
        """Time of the last failure on the monotonic clock."""
        return self._reports.failed_at

    @property
    def is_running(self) -> bool:
        """Whether there is a thread that takes what is submitted."""
        return self._thread_ended is not None

    @property
    def problem(self) -> str:
        """Reason why the log cannot be written; empty while it can."""
        if self.error or self.is_running:
            return self.error
        ended = self._watched.ended if self._watched is not None else None
        return f"its thread has ended ({ended.reason}) and is started anew" if ended is not None else ""

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._start_thread()
        self._watched = self._watch.keep_running("wal-committer", self._keep_thread)

    async def _keep_thread(self) -> None:
        """Start a thread unless there is one, and return when it has ended; raises what has ended it."""
        if self._thread_ended is None and not self._closing:
            self._start_thread()
        if self._thread_ended is not None:
            await asyncio.shield(self._thread_ended)

    def _start_thread(self) -> None:
        threading.Thread(target=self._run, name="wal-committer", daemon=True).start()
        self._thread_ended = asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Commit what is queued, then end the thread; whoever waits after that is told that it failed."""
        self._closing = True
        if self._watched is not None:
            self._queue.put(None)
            if (ended := self._thread_ended) is not None:
                await asyncio.wait({ended})
            await self._watched.close()
        self._closed = True
        self._answer_waiting()

    def submit(self, log: ShardLog, rows: Sequence[bytes], durable: Durable) -> asyncio.Future[int]:
        """Queue rows; the future gives the first row's sequence number once all are durable, or raises WalFailed."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._expect(Submission(log, rows, sum(map(len, rows)), future, durable))
        return future

    async def cut(self, log: ShardLog, *, upto: int | None = None) -> int:
        """Cut a log behind all that was submitted (:meth:`shards.wal.log.ShardLog.cut`); return the number before.

        Raises WalFailed.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._expect(Submission.cut(log, future, upto=upto))
        return await future - 1

    def _expect(self, submission: Submission) -> None:
        self._reports.expect(submission)
        if self._closed:
            self._answer_waiting()
        else:
            self._queue.put(submission)

    def _run(self) -> None:
        assert self._loop is not None  # noqa: S101 - for the type checker
        ended_by: BaseException | None = None
        try:
            while (group := self._next_group()) is not None:
                if group:
                    self._commit(group)
                self._sync_by_interval()
                self._reopen_failed()
            for log in tuple(self._unsynced):
                self._sync_late(log)
        except BaseException as error:  # noqa: BLE001 - nobody would hear of it
            ended_by = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._note_thread_ended, ended_by)

    def _note_thread_ended(self, error: BaseException | None) -> None:
        ended, self._thread_ended = self._thread_ended, None
        if error is not None:
            self._answer_waiting()
        if ended is None:
            return
        if error is None:
            ended.set_result(None)
        else:
            is_plain = isinstance(error, Exception) and not isinstance(error, StopIteration)
            # Others would end the event loop, or cannot be raised by a task.
            ended.set_exception(error if is_plain else RuntimeError(type(error).__name__))
            ended.exception()  # marks it as seen: the task that waits for it may have been cancelled

    def _answer_waiting(self) -> None:
        with suppress(Empty):
            while True:
                self._queue.get_nowait()  # else another thread would write it
        self._reports.report_all()

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
                first_seq = self._write(log, submissions)
            except BaseException as error:  # noqa: BLE001 - whatever it was, what was written is not trusted
                self._give_up(log, submissions, error)
            else:
                self._failed.discard(log)
                for submission in submissions:
                    if not submission.is_cut:
                        submission.first_seq = first_seq
                        first_seq += len(submission.rows)
                self._cut(log, [submission for submission in submissions if submission.is_cut])
        self._in_loop(partial(self._reports.report, group, monotonic() - started))

    def _write(self, log: ShardLog, submissions: list[Submission]) -> int:
        """Make the rows of a log's submissions durable; return the first one's number."""
        if log in self._untrusted:
            self._abandon(log)
        seq = 0
        if rows := [row for submission in submissions for row in submission.rows]:
            seq = log.append(rows)
            if self._sync == "always":
                log.sync()
            else:
                records, bytes_ = self._unsynced.get(log, (0, 0))
                size = sum(submission.size for submission in submissions)
                self._unsynced[log] = records + len(rows), bytes_ + size
            log.acknowledge()
        return seq

    def _cut(self, log: ShardLog, cuts: Sequence[Submission]) -> None:
        """Cut a log, behind rows that are durable whatever becomes of it."""
        try:
            for cut in cuts:
                cut.first_seq = log.cut(upto=cut.cut_upto) + 1
        except BaseException as error:  # noqa: BLE001 - whatever it was, the segment is not trusted
            self._give_up(log, cuts, error)

    def _give_up(self, log: ShardLog, submissions: Sequence[Submission], error: BaseException) -> None:
        """Fail a log's submissions, and abandon its segment, now or before it is written to again."""
        for submission in submissions:
            submission.error = error
        self._failed_at = monotonic()
        self._failed.add(log)
        self._untrusted.add(log)
        if not isinstance(error, OSError) and not self.error:
            _log.error("committer failed", shard=log.shard, error=type(error).__name__, exc_info=error)
        with suppress(Exception):
            self._abandon(log)

    def _abandon(self, log: ShardLog) -> None:
        log.abandon()
        self._unsynced.pop(log, None)
        self._untrusted.discard(log)

    def _sync_by_interval(self) -> None:
        if self._sync != "interval" or monotonic() - self._synced_at < SYNC_INTERVAL_S:
            return
        self._synced_at = monotonic()
        for log in tuple(self._unsynced):
            self._sync_late(log)

    def _sync_late(self, log: ShardLog) -> None:
        """Sync records that were acknowledged before; a failure is logged, because nobody waits for it."""
        started = monotonic()
        records, bytes_ = self._unsynced.pop(log)
        try:
            log.sync()
        except Exception as error:  # noqa: BLE001 - of any kind: the other logs are still to be synced
            effect = "the last acknowledged events may be lost"
            _log.error("sync failed", shard=log.shard, error=str(error), effect=effect, exc_info=error)
            self._give_up(log, (), error)
        else:
            seconds = monotonic() - started
            self._in_loop(partial(self._observer.synced, records=records, bytes_=bytes_, seconds=seconds))

    def _reopen_failed(self) -> None:
        """Try whether the disk takes writes again, because nothing else does while events are refused."""
        if not self._failed or monotonic() - self._failed_at < SYNC_INTERVAL_S:
            return
        try:
            for log in self._failed:
                if log in self._untrusted:
                    self._abandon(log)
                log.reopen()
        except Exception:  # noqa: BLE001 - the next try comes after the interval, whatever it was
            self._failed_at = monotonic()
            return
        self._failed.clear()
        self._in_loop(self._reports.note_writable)

    def _in_loop(self, call: Callable[[], None]) -> None:
        assert self._loop is not None  # noqa: S101 - for the type checker
        self._loop.call_soon_threadsafe(call)
