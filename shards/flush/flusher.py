"""Brings one shard's rows into ClickHouse and has them confirmed.

Rows first go to the shard's Buffer table. At each checkpoint the Buffer table is flushed and the ledger is asked
which attempts the destination table holds whole; only those are confirmed. Whatever is unclear (an error, a lost
connection, an attempt that the ledger does not show) is sent again, straight into the destination table, until the
ledger shows it. Rows that ClickHouse refuses are found by bisection and become dead letters.
"""

import asyncio
import logging
from collections.abc import Iterable
from itertools import islice
from time import monotonic

from shards.errors import RowsRefused, SchemaMismatch, StoreError, StoreUnavailable
from shards.flush.backoff import backoff_s
from shards.flush.gate import StoreGate
from shards.flush.loader import Loader
from shards.flush.pending import PendingRows
from shards.flush.replay_queue import ReplayQueue
from shards.flush.sender import Delivery
from shards.flush.tally import Attempt, Tally
from shards.observer import Observer
from shards.runs import minus
from shards.settings import ShardSettings
from shards.stores.base import Store
from shards.wal.checkpoint import Checkpoint
from shards.wal.log import ShardLog

_log = logging.getLogger(__name__)

BATCH_MAX_BYTES = 8 << 20
UNKNOWN_ERROR_TRIES = 5


class Flusher:
    """The flushing side of one shard. :meth:`run` is its task; everything else only wakes it."""

    def __init__(
        self,
        *,
        shard: int,
        settings: ShardSettings,
        log: ShardLog,
        pending: PendingRows,
        tally: Tally,
        delivery: Delivery,
        store: Store,
        gate: StoreGate,
        observer: Observer,
        has_buffer: bool,
    ) -> None:
        self._shard = shard
        self._settings = settings
        self._wal = log
        self._pending = pending
        self._tally = tally
        self._delivery = delivery
        self._store = store
        self._gate = gate
        self._observer = observer
        self._has_buffer = has_buffer
        self._loader = Loader(log, pending, max_rows=settings.flush_max_rows)
        self._sent_seq = log.checkpoint.upto
        self._recovered_seq = log.durable_seq
        self._replay = ReplayQueue()
        self._attempts: list[Attempt] = []
        self._unsent_since = monotonic()
        self._checkpoint_at = monotonic()
        self._failures = 0
        self._wake = asyncio.Event()
        self._flush_waiters: dict[asyncio.Future[None], int] = {}
        self._stopped = False
        self.paused = False
        self.retries = 0
        self.last_error = ""

    @property
    def depth(self) -> int:
        """Rows not sent to ClickHouse yet, or to be sent again."""
        return len(self._pending) - self.in_flight

    @property
    def in_flight(self) -> int:
        """Rows sent to the Buffer table, not yet confirmed."""
        return sum(len(attempt.seqs) for attempt in self._attempts)

    @property
    def _unsent(self) -> int:
        return self._pending.loaded_seq - self._sent_seq

    def rows_added(self, count: int) -> None:
        """Wake the flusher if rows that became durable give it something to do now."""
        unsent = self._unsent
        if unsent <= count:
            self._unsent_since = monotonic()
        if unsent <= count or unsent >= self._settings.flush_max_rows:
            self._wake.set()

    def pause(self) -> None:
        """Send nothing until :meth:`resume`; rows go on being accepted."""
        self.paused = True

    def resume(self) -> None:
        """Go on sending."""
        self.paused = False
        self._wake.set()

    async def flush(self, upto: int | None = None) -> None:
        """Return when every row that is durable now, or up to a sequence number, is done with."""
        target = self._pending.last_seq if upto is None else upto
        if self._pending.done_upto >= target:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flush_waiters[future] = target
        self._wake.set()
        try:
            await future
        finally:  # who stops waiting in an outage must not be kept until its end
            self._flush_waiters.pop(future, None)

    def stop(self) -> None:
        """End :meth:`run` after its present step, so that no statement is cut off in its middle."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Flush until stopped. Errors of the store never end it."""
        while True:
            await self._wait_for_work()
            await self._gate.wait_up()
            if self._stopped:
                return
            try:
                await self._step()
                self._failures = 0
                if not self._replay.failures:
                    self.last_error = ""
            except (StoreUnavailable, SchemaMismatch) as error:
                self._note(error)
                self._gate.report(error)
            except StoreError as error:
                self._note(error)
                self._observer.store_error(code=error.code)
                self._failures += 1
                await asyncio.sleep(backoff_s(self._failures))
            except Exception as error:  # noqa: BLE001 - a flusher that ends would hold its rows back for ever
                self._note_fault(error)
                self._failures += 1
                await asyncio.sleep(backoff_s(self._failures))

    def _note_fault(self, error: Exception) -> None:
        _log.error("shard %d: %s; will be tried again", self._shard, error, exc_info=error)
        self.last_error = str(error)

    def _note(self, error: StoreError) -> None:
        self.retries += 1
        self._observer.retried(shard=self._shard)
        if error.message != self.last_error:
            _log.warning("shard %d: %s (code %d); will be tried again", self._shard, error.message, error.code)
        self.last_error = error.message

    async def _wait_for_work(self) -> None:
        while not self._stopped and ((delay := self._delay_s()) is None or delay > 0):
            self._wake.clear()
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _delay_s(self) -> float | None:
        """Return the seconds until there is something to do; None where nothing is in sight."""
        if self.paused:
            return None
        if self._loader.may_load or (self._flush_waiters and (self._unsent or self._attempts)):
            return 0
        delays = [] if (replay_delay_s := self._replay.delay_s) is None else [replay_delay_s]
        if self._unsent:
            delays.append(self._flush_delay_s)
        if self._attempts:
            delays.append(0 if self._pending.crowded else self._checkpoint_at - monotonic())
        return min(delays, default=None)

    @property
    def _flush_delay_s(self) -> float:
        if self._unsent >= self._settings.flush_max_rows or self._flush_waiters:
            return 0
        return self._unsent_since + self._settings.flush_interval_ms / 1000 - monotonic()

    async def _step(self) -> None:
        try:
            await self._work()
        finally:  # whatever it ended with, some rows may have been confirmed
            await self._save()
        if self._flush_waiters:
            self._answer_waiters()

    async def _work(self) -> None:
        if self._loader.may_load:
            await self._load()
        if self._replay.due:
            await self._replay_next()
        if self._unsent and self._flush_delay_s <= 0:
            await self._send_next()
        if self._attempts and (
            self._pending.crowded or self._checkpoint_at <= monotonic() or (self._flush_waiters and not self._unsent)
        ):
            await self._checkpoint()

    async def preload(self) -> None:
        """Have the oldest recovered rows in memory before anybody reads.

        As many as may be, not only as many as are loaded later on: an answer from before the restart had that many.
        """
        while self._pending.unread and self._pending.has_room:
            await self._load()

    async def _load(self) -> None:
        unsent_before = self._unsent
        loaded = await self._loader.load()
        if loaded is None:
            return
        self._replay.extend(seq for seq in loaded if seq <= self._recovered_seq)
        self._sent_seq = max(self._sent_seq, min(self._pending.loaded_seq, self._recovered_seq))
        if not unsent_before:
            self._unsent_since = monotonic()

    def _take(self, seqs: Iterable[int]) -> list[int]:
        """Return the first rows of ``seqs`` that are still pending and fit one batch."""
        taken: list[int] = []
        size = 0
        for seq in islice((seq for seq in seqs if self._pending.holds(seq)), self._settings.flush_max_rows):
            size += self._pending.size_of(seq)
            if taken and size > BATCH_MAX_BYTES:
                break
            taken.append(seq)
        return taken

    async def _send_next(self) -> None:
        """Send the next new rows: a full batch straight into the destination table, fewer to the Buffer table.

        A full batch is a part worth writing, and is confirmed at once (ADR-004).
        """
        seqs = self._take(range(self._sent_seq + 1, self._pending.loaded_seq + 1))
        self._sent_seq = seqs[-1] if seqs else self._pending.loaded_seq
        self._unsent_since = monotonic()
        if not seqs:
            return
        full = len(seqs) >= self._settings.flush_max_rows or self._unsent > 0
        try:
            if not full and self._has_buffer:
                self._add_attempt(await self._delivery.send_buffered(seqs))
            elif stuck := await self._delivery.deliver(seqs):
                self._replay.extend(seqs)
                self._replay.postpone(stuck.seqs)
        except RowsRefused:
            self._replay.extend(seqs)
        except Exception:
            self._replay.extend(seqs)  # whatever it was, the rows must not be forgotten
            raise

    def _add_attempt(self, attempt: Attempt) -> None:
        if not self._attempts:
            self._checkpoint_at = monotonic() + self._settings.checkpoint_interval_ms / 1000
        self._attempts.append(attempt)

    async def _replay_next(self) -> None:
        """Send the next rows of the replay; after a failure the replay pauses, new rows do not wait for it.

        Rows that failed alone come after all others the next time.
        """
        seqs = self._take(self._replay)
        try:
            split_unknown = self._replay.failures >= UNKNOWN_ERROR_TRIES
            if seqs and (stuck := await self._delivery.deliver(seqs, replayed=True, split_unknown=split_unknown)):
                self._replay.postpone(stuck.seqs)
                if isinstance(stuck.error, OSError):
                    self._note_fault(stuck.error)
                    self._replay.failed()
                else:
                    self._replay_failed(stuck.error)
            else:
                self._replay.succeeded()
        except (StoreUnavailable, SchemaMismatch):
            raise
        except StoreError as error:
            self._replay_failed(error)
        finally:
            self._replay.forget(self._pending.holds)

    def _replay_failed(self, error: StoreError) -> None:
        self._note(error)
        self._observer.store_error(code=error.code)
        self._replay.failed()

    async def _checkpoint(self) -> None:
        """Flush the Buffer table, then believe the ledger only.

        And not even that after a flush that failed: behind our view somebody else's may have, and then ClickHouse
        writes the same rows again, with the next flush or when the table is dropped.
        """
        flush_error: StoreError | None = None
        try:
            await self._store.flush_buffer(self._shard)
        except StoreUnavailable:
            raise
        except StoreError as error:
            flush_error = error
        numbers = [attempt.number for attempt in self._attempts]
        landed = {} if flush_error else await self._delivery.landed(numbers)
        missing: list[int] = []
        for attempt in self._attempts:
            if landed.get(attempt.number, 0) == len(attempt.seqs):
                self._delivery.confirm(attempt)
            else:
                missing += attempt.seqs
        self._attempts = []
        self._checkpoint_at = monotonic() + self._settings.checkpoint_interval_ms / 1000
        self._replay.extend(missing)
        if missing:
            await self._after_missing(len(missing), flush_error)

    async def _after_missing(self, rows: int, flush_error: StoreError | None) -> None:
        why = flush_error.message if flush_error else "the ledger does not show them"
        _log.warning("shard %d: %d rows did not arrive (%s); sending them again", self._shard, rows, why)
        self.retries += 1
        self._observer.retried(shard=self._shard)
        await self._store.check()
        if flush_error is not None:
            # Rows that cannot be flushed would be stuck in the Buffer table; all of them are in the log.
            await self._store.reset_buffer(self._shard)

    async def _save(self) -> None:
        """Move the log's checkpoint to what is done with.

        Only then there is room in memory for others. Also where the disk takes no checkpoint: the log may be what
        fills it.
        """
        old, upto = self._wal.checkpoint, self._pending.done_upto
        dead = {seq for seq in self._tally.dead_beyond if seq <= upto}
        new = Checkpoint(
            upto=upto,
            dead_lettered=old.dead_lettered + len(dead),
            damaged=old.damaged + self._loader.damaged_between(old.upto + 1, upto),
            beyond=minus(self._tally.beyond, ((1, upto),)),
        )
        try:
            if new != old or not self._wal.is_saved:
                await asyncio.to_thread(self._wal.truncate, new)
        except OSError as error:
            _log.warning("shard %d: the checkpoint could not be written: %s", self._shard, error)
        finally:
            self._pending.saved()
        self._tally.beyond = new.beyond
        self._tally.dead_beyond -= dead

    def _answer_waiters(self) -> None:
        done = self._pending.done_upto
        for future in [future for future, target in self._flush_waiters.items() if target <= done]:
            del self._flush_waiters[future]
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """Close the reader of the log."""
        self._loader.close()
