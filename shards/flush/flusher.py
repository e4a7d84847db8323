"""The task that flushes one shard: it waits until a step is due, takes it, and survives its errors."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from time import monotonic

from shards.errors import SchemaMismatch, ShardPaused, StoreError, StoreUnavailable
from shards.flush.gate import StoreGate
from shards.flush.pending import PendingRows
from shards.flush.steps import Step, Steps
from shards.flush.tally import Tally
from shards.flush.troubles import Troubles
from shards.logger import get_logger
from shards.observer import Observer
from shards.snapshot import Pause
from shards.tasks.backoff import backoff_s
from shards.tasks.threads import Threads
from shards.tasks.watch import Watch, Watched, end_if_cancelled
from shards.wal.log import ShardLog

_log = get_logger(__name__)

STALLED_CHECKPOINTS = 6
"""Checkpoint intervals without progress after which a shard counts as stalled, although ClickHouse is up."""


class Flusher:
    """The flushing side of one shard. :meth:`run` is its task; everything else only wakes it.

    The task may end anywhere. Then :meth:`start_anew` makes ready for the next one, as a restart of the process would.
    """

    def __init__(
        self,
        *,
        shard: int,
        log: ShardLog,
        pending: PendingRows,
        tally: Tally,
        make_steps: Callable[[], Steps],
        threads: Threads,
        gate: StoreGate,
        troubles: Troubles,
        observer: Observer,
    ) -> None:
        self._shard = shard
        self._wal = log
        self._pending = pending
        self._tally = tally
        self._make_steps = make_steps
        self._steps = make_steps()
        self._threads = threads
        self._gate = gate
        self._troubles = troubles
        self._observer = observer
        self._failures = 0
        self._wake = asyncio.Event()
        self._flush_waiters: dict[asyncio.Future[None], int] = {}
        self._whole_waiters: set[asyncio.Future[None]] = set()
        """Those of the same who wait for all rows, and so for none of a paused shard."""
        self._to_erase: dict[asyncio.Future[None], Mapping[str, int]] = {}
        self._stopped = False
        self._resumed_at = 0.0
        self.paused: Pause | None = None

    @property
    def in_flight(self) -> int:
        """Rows sent to the Buffer table, not yet confirmed."""
        return self._steps.in_flight

    @property
    def retries(self) -> int:
        """Batches that had to be sent again."""
        return self._troubles.retries

    @property
    def last_error(self) -> str:
        """Reason why rows could not be stored; empty while they can be."""
        return self._troubles.last_error

    @property
    def stalled_s(self) -> float:
        """Seconds for which nothing was done with although rows wait and ClickHouse is up; 0 where that is not long."""
        if self.paused or len(self._pending) == self._pending.held_back:
            return 0.0
        idle_s = monotonic() - max(self._tally.moved_at, self._resumed_at)
        waited_s = min(idle_s, self._pending.oldest_age_s, self._gate.up_s)
        settings = self._steps.settings
        patience_ms = settings.flush_interval_ms + STALLED_CHECKPOINTS * settings.checkpoint_interval_ms
        return waited_s if waited_s * 1000 > patience_ms else 0.0

    def rows_added(self, count: int) -> None:
        """Wake the flusher if rows that became durable give it something to do now."""
        if self._steps.note_added(count):
            self._wake.set()

    def pause(self, by: str) -> None:
        """Send nothing until :meth:`resume`; rows go on being accepted. The first who paused it is named."""
        self.paused = self.paused or Pause(by, datetime.now(UTC))
        for future in self._whole_waiters:
            if not future.done():
                future.set_exception(self._refusal(self.paused))

    def resume(self) -> None:
        """Go on sending."""
        self.paused = None
        self._resumed_at = monotonic()
        self._wake.set()

    async def flush(self, upto: int | None = None) -> None:
        """Return when every row that is durable now, or up to a sequence number, is done with.

        Raises ShardPaused where all that is durable now is wanted and nothing is sent, or from some moment on.
        """
        if upto is None and self.paused:
            raise self._refusal(self.paused)
        target = self._pending.last_seq if upto is None else upto
        if self._pending.done_upto >= target:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flush_waiters[future] = target
        if upto is None:
            self._whole_waiters.add(future)
        self._wake.set()
        try:
            await future
        finally:  # a caller who stops waiting in an outage must not be kept until its end
            self._flush_waiters.pop(future, None)
            self._whole_waiters.discard(future)

    async def erase(self, matches: Mapping[str, int]) -> None:
        """Return when the rows of matches up to a number each are dropped, and none of them is under way.

        A paused shard does that when it goes on.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._to_erase[future] = matches
        self._wake.set()
        try:
            await future
        finally:
            self._to_erase.pop(future, None)

    def hold(self, match_id: str, *, beyond: int | None) -> None:
        """Send no row of a match beyond a number from now on; None: send all, also those that were held back."""
        self._steps.hold(match_id, beyond=beyond)
        self._wake.set()

    async def flush_unless_paused(self) -> None:
        """Return when every row that is durable now is done with, or as soon as the shard is paused."""
        with suppress(ShardPaused):
            await self.flush()

    def _refusal(self, pause: Pause) -> ShardPaused:
        return ShardPaused(f"shard {self._shard} is paused by {pause.by}")

    def stop(self) -> None:
        """End :meth:`run` after its present step, so that no statement is cut off in its middle."""
        self._stopped = True
        self._wake.set()

    async def preload(self) -> None:
        """Load the oldest recovered rows before anybody reads.

        Memory is filled to its cap, further than by later loads, because answers before the restart counted as many.
        """
        while self._pending.unread and self._pending.has_room:
            await self._steps.load()

    def start(self, watch: Watch) -> Watched:
        """Have :meth:`run` kept running from now on."""
        return watch.keep_running("flusher", self.run, where=f"shard {self._shard}", anew=self.start_anew)

    async def start_anew(self) -> None:
        """Make ready for another :meth:`run` after one that was cancelled, or failed, at any point.

        1. The threads that it left come to their end, because they write checkpoints and letters.
        2. Rows whose letters are written are dead letters. All others in memory will be sent again under new numbers.
        3. A checkpoint is written, and those are answered who wait for what is done with.
        """
        await self._threads.settled()
        self._steps.loader.close()
        self._steps = self._make_steps()
        await self._save_and_answer()
        _log.warning("flusher starts anew", shard=self._shard, rows=len(self._pending.seqs()), effect="all are sent")

    async def run(self) -> None:
        """Flush until stopped. Errors of the store never end it."""
        while True:
            end_if_cancelled()
            await self._wait_for_work()
            await self._gate.wait_up()
            if self._stopped:
                return
            try:
                await self._work_and_save()
                self._failures = 0
                if not self._steps.is_replay_failing:
                    self._troubles.note_success()
            except (StoreUnavailable, SchemaMismatch) as error:
                self._troubles.note_store_error(error)
                self._gate.report(error)
            except StoreError as error:
                self._troubles.note_store_error(error)
                self._observer.store_error(code=error.code)
                await self._back_off()
            except Exception as error:  # noqa: BLE001 - a flusher that ends would hold its rows back for ever
                self._troubles.note_fault(error)
                await self._back_off()

    async def _back_off(self) -> None:
        self._failures += 1
        await asyncio.sleep(backoff_s(self._failures))

    def _delays_s(self) -> dict[Step, float]:
        """Return the steps to come, with the seconds until each is due; none while paused."""
        if self.paused:
            return {}
        erasing: dict[Step, float] = {Step.ERASE: 0} if self._to_erase else {}
        return erasing | self._steps.delays_s(hurry=bool(self._flush_waiters))

    async def _wait_for_work(self) -> None:
        while not self._stopped and ((delay_s := min(self._delays_s().values(), default=None)) is None or delay_s > 0):
            self._wake.clear()
            try:
                async with asyncio.timeout(delay_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _work_and_save(self) -> None:
        try:
            await self._work()
        finally:  # whatever it ended with, some rows may have been confirmed
            await self._save_and_answer()

    async def _save_and_answer(self) -> None:
        try:
            await self._save()
        finally:
            self._answer_waiters()

    async def _work(self) -> None:
        """Take each step that is due, in order; one may make the next one due."""
        for step in Step:
            if self._delays_s().get(step, 1.0) <= 0:
                await (self._erase() if step is Step.ERASE else self._steps.take(step))

    async def _erase(self) -> None:
        for future, matches in tuple(self._to_erase.items()):
            await self._steps.erase(matches)
            self._to_erase.pop(future, None)
            if not future.done():
                future.set_result(None)

    async def _save(self) -> None:
        """Move the log's checkpoint to what is done with, which makes room in memory for other rows.

        There is room even if the disk takes no checkpoint, because the log may be what fills the disk.
        """
        old = self._wal.checkpoint
        new = self._tally.checkpoint(old, upto=self._pending.done_upto)
        try:
            if new != old or not self._wal.is_saved:
                await self._threads.run(partial(self._wal.truncate, new))
        except OSError as error:
            _log.warning("checkpoint not written", shard=self._shard, error=str(error))
        finally:
            self._pending.note_saved()
        self._tally.pass_over(new.upto)

    def _answer_waiters(self) -> None:
        done = self._pending.done_upto
        for future in [future for future, target in self._flush_waiters.items() if target <= done]:
            del self._flush_waiters[future]
            if not future.done():
                future.set_result(None)

    async def settled(self) -> None:
        """Return when no thread of a task that has ended works any more."""
        await self._threads.settled()

    def close(self) -> None:
        """Close the reader of the log, and log what is still counted of failures."""
        self._steps.loader.close()
        self._troubles.close()
