"""Sending one shard's rows: attempts into the Buffer table, and replays until the ledger shows them.

Every attempt has a batch number of its own, so that the ledger can tell attempts apart.
"""

import time
from collections.abc import Iterator, Sequence
from time import monotonic

from shards.deadletters.file import DeadLetterFile
from shards.errors import InvariantBroken, RowsRefused, StoreBusy, StoreError, StoreFailed
from shards.events import letter_crc, sample_of
from shards.flush.pending import PendingRows
from shards.flush.suspicion import Bisection, Failure, Stuck, Suspicions
from shards.flush.tally import Attempt, Tally
from shards.logger import get_logger
from shards.observer import Observer
from shards.runs import runs_of
from shards.stores.base import Batch, Store
from shards.tasks.threads import Threads
from shards.wal.journal import Confirmed, Journal, Unprovable

_log = get_logger(__name__)


class Sender:
    """The sending side of one shard; only its flusher uses it.

    ``numbers`` gives the batch numbers. It outlives a sender, because no number may come twice.
    """

    def __init__(
        self,
        *,
        shard: int,
        writer: str,
        numbers: Iterator[int],
        pending: PendingRows,
        tally: Tally,
        dead_letters: DeadLetterFile,
        journal: Journal,
        store: Store,
        observer: Observer,
        threads: Threads,
    ) -> None:
        self._shard = shard
        self._writer = writer
        self._numbers = numbers
        self._pending = pending
        self._tally = tally
        self._dead_letters = dead_letters
        self._journal = journal
        self._store = store
        self._observer = observer
        self._threads = threads
        self._suspicions = Suspicions(tally)

    def _batch(self, seqs: Sequence[int]) -> Batch:
        rows = self._pending.rows(seqs)
        return Batch(writer=self._writer, shard=self._shard, number=next(self._numbers), rows=rows)

    async def landed(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return the count of rows that the ledger shows of each batch; batches without a row are absent."""
        return await self._store.landed(self._writer, self._shard, numbers)

    async def send_buffered(self, seqs: Sequence[int]) -> Attempt:
        """Send rows to the Buffer table; that proves nothing yet."""
        batch = self._batch(seqs)
        started = monotonic()
        await self._store.insert_buffered(batch)
        self._observer.flushed(shard=self._shard, rows=len(seqs), seconds=monotonic() - started, replayed=False)
        return Attempt(batch.number, seqs, batch.rows[0])

    async def deliver(
        self, seqs: Sequence[int], *, replayed: bool = False, split_unknown: bool = False
    ) -> Stuck | None:
        """Send rows straight into the destination table until they are confirmed, dead letters, or stuck.

        Raises StoreError; rows confirmed before stay confirmed.

        Args:
            seqs: rows that are pending, at least one. If too many fail in a row, the rest is left untried.
            replayed: they were sent before.
            split_unknown: halve the rows even if the error does not blame them.
        """
        outcome = Bisection(replayed=replayed, split_unknown=split_unknown)
        await self._halve(seqs, outcome)
        return await self._judge(outcome) if outcome.failures else None

    async def _halve(self, seqs: Sequence[int], outcome: Bisection) -> None:
        if outcome.hopeless:
            return
        try:
            await self._send_direct(seqs, replayed=outcome.replayed)
            outcome.note_success(len(seqs))
            return
        except (RowsRefused, StoreFailed) as error:
            alone = len(seqs) == 1
            if isinstance(error, StoreFailed) and not outcome.split_unknown:
                raise
            if isinstance(error, StoreBusy) and alone:
                raise
            if alone:
                outcome.note_lone_failure(Failure(seqs[0], error))
                return
        middle = len(seqs) // 2
        await self._halve(seqs[:middle], outcome)
        await self._halve(seqs[middle:], outcome)

    async def _send_direct(self, seqs: Sequence[int], *, replayed: bool) -> None:
        batch = self._batch(seqs)
        started = monotonic()
        refusal: RowsRefused | StoreFailed | None = None
        try:
            await self._store.insert_direct(batch)
        except (RowsRefused, StoreFailed) as error:
            refusal = error
        found = (await self.landed([batch.number])).get(batch.number, 0)
        if found != len(seqs):
            if refusal is not None:
                raise refusal
            await self._store.check()
            raise StoreFailed(f"the ledger shows {found} of {len(seqs)} rows after an INSERT into events")
        if refusal is not None:  # somebody else's view failed behind ours
            shard, code, message = self._shard, refusal.code, refusal.message
            _log.warning("rows stored despite error", shard=shard, rows=found, code=code, error=message)
        self._observer.flushed(shard=self._shard, rows=len(seqs), seconds=monotonic() - started, replayed=replayed)
        self.confirm(Attempt(batch.number, seqs, batch.rows[0]))

    def confirm(self, attempt: Attempt) -> None:
        """Count an attempt that the ledger shows whole, and note it in the journal.

        Raises InvariantBroken, with nothing counted, if one of its rows is not pending: the row would count twice.
        """
        if not all(map(self._pending.holds, attempt.seqs)):
            raise InvariantBroken(f"attempt {attempt.number} of shard {self._shard} has rows that are not pending")
        sample, runs = sample_of(attempt.sample), runs_of(attempt.seqs)
        self._journal.note(
            Confirmed(
                writer=self._writer,
                first_batch=attempt.number,
                last_batch=attempt.number,
                rows=len(attempt.seqs),
                runs=runs,
                at_s=int(time.time()),
                event_id=sample.event_id,
                received_s=sample.received_ns // 1_000_000_000,
            )
        )
        self._pending.remove(attempt.seqs)
        self._tally.note_confirmed(runs, rows=len(attempt.seqs))
        self._suspicions.forget(attempt.seqs)
        oldest_s = max(0.0, (time.time_ns() - sample.received_ns) / 1e9)
        self._observer.confirmed(shard=self._shard, rows=len(attempt.seqs), oldest_s=oldest_s)

    def erase(self, seqs: Sequence[int]) -> None:
        """Count rows as erased that are pending and in no attempt, and note that in the journal."""
        if runs := runs_of(seqs):
            self._journal.note(Unprovable.noted_now("erased", runs))
            self._pending.remove(seqs)
            self._tally.note_erased(runs)
            self._suspicions.forget(seqs)

    async def _judge(self, outcome: Bisection) -> Stuck | None:
        """Put the rows aside that are at fault, and return the others that failed.

        Each row at fault is tried once more first, because the cause may have been mended.
        """
        await self._store.check()  # raises if a column has another type, which refuses rows too
        stuck: list[int] = []
        error: StoreError | OSError | None = None
        for failure in outcome.failures:
            self._suspicions.suspect(failure, others_confirmed=outcome.confirmed > 0)
            if (reason := await self._judge_one(failure)) is not None:
                stuck.append(failure.seq)
                error = reason
        return Stuck(stuck, error) if error is not None else None

    async def _judge_one(self, failure: Failure) -> StoreError | OSError | None:
        """Put a row aside if it is at fault; else return why it stays pending, or None if it got in after all."""
        if not self._suspicions.is_at_fault(failure):
            return failure.error
        if (again := await self._send_alone(failure.seq)) is None:
            return None
        if not self._suspicions.is_at_fault(again):
            return again.error
        try:
            await self._put_aside(again)
        except OSError as error:
            return error
        return None

    async def _send_alone(self, seq: int) -> Failure | None:
        """Send one row; return its failure, or None if it got in."""
        try:
            await self._send_direct([seq], replayed=True)
        except (RowsRefused, StoreFailed) as error:
            return Failure(seq, error)
        return None

    async def _put_aside(self, failure: Failure) -> None:
        (row,) = self._pending.rows((failure.seq,))
        error = failure.error
        await self._threads.finish(
            self._dead_letters.put_aside(seq=failure.seq, row=row, code=error.code, error=error.full_message)
        )
        _log.error("row put aside", shard=self._shard, seq=failure.seq, code=error.code, error=error.message)
        self._note_dead(failure.seq)

    def _note_dead(self, seq: int) -> None:
        self._pending.remove((seq,))
        self._suspicions.forget((seq,))
        self._tally.note_dead(seq)
        self._observer.dead_lettered(shard=self._shard)

    def take_filed(self, *, after: int) -> None:
        """Count rows beyond ``after`` as dead letters whose letters are in the file although they are pending.

        A flusher that was cancelled while a letter was written leaves such a row.
        """
        for seq, row_crc in self._dead_letters.rows_after(after):
            if self._pending.holds(seq) and letter_crc(self._pending.rows((seq,))[0]) == row_crc:
                _log.error("row put aside", shard=self._shard, seq=seq, reason="its letter was written before")
                self._note_dead(seq)
