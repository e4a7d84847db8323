"""Sending one shard's rows: attempts into the Buffer table, and replays until the ledger shows them.

Every attempt has a batch number of its own, so that the ledger can tell two of them apart.
"""

import logging
import time
from collections.abc import Callable, Sequence
from time import monotonic

import attrs
import msgspec

from shards.deadletter import DeadLetterFile
from shards.errors import RowsRefused, StoreFailed
from shards.observer import Observer
from shards.pending import PendingRows
from shards.runs import runs_of
from shards.stores.base import Batch, Store
from shards.wal.journal import Confirmed, Journal

_log = logging.getLogger(__name__)

LONE_REFUSALS_MAX = 8


@attrs.frozen
class Attempt:
    """Rows that were sent under one batch number; ``sample`` is one of them."""

    number: int
    seqs: Sequence[int]
    sample: bytes


@attrs.define
class Tally:
    """What became of a shard's rows so far; ``dead`` are all its dead letters, ``dead_beyond`` the unchecked ones.

    Unchecked: beyond the checkpoint, so that the log still holds them. A dead letter stays one here when it is settled
    by hand; its file tells of that.
    """

    confirmed: int
    dead_lettered: int
    dead: set[int]
    dead_beyond: set[int]


class _Sample(msgspec.Struct):
    event_id: str
    received_ns: int


_sample_of: Callable[[bytes], _Sample] = msgspec.json.Decoder(_Sample).decode


@attrs.frozen
class _Refusal:
    seq: int
    error: RowsRefused


@attrs.define(kw_only=True)
class _Outcome:
    replayed: bool
    split_unknown: bool
    confirmed: int = 0
    refusals: list[_Refusal] = attrs.Factory(list)


class Delivery:
    """The sending side of one shard; used by its flusher only."""

    def __init__(
        self,
        *,
        shard: int,
        writer: str,
        pending: PendingRows,
        tally: Tally,
        dead_letters: DeadLetterFile,
        journal: Journal,
        store: Store,
        observer: Observer,
    ) -> None:
        self._shard = shard
        self._writer = writer
        self._pending = pending
        self._tally = tally
        self._dead_letters = dead_letters
        self._journal = journal
        self._store = store
        self._observer = observer
        self._number = 0
        self._confirmed_at_refusal: dict[int, int] = {}

    def _batch(self, seqs: Sequence[int]) -> Batch:
        self._number += 1
        rows = self._pending.rows(seqs)
        return Batch(writer=self._writer, shard=self._shard, number=self._number, rows=rows)

    async def landed(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return the rows that the ledger shows per batch of this shard."""
        return await self._store.landed(self._writer, self._shard, numbers)

    async def send_buffered(self, seqs: Sequence[int]) -> Attempt:
        """Send rows to the Buffer table; that proves nothing yet."""
        batch = self._batch(seqs)
        started = monotonic()
        await self._store.insert_buffered(batch)
        self._observer.flushed(shard=self._shard, rows=len(seqs), seconds=monotonic() - started, replayed=False)
        return Attempt(batch.number, seqs, batch.rows[0])

    async def deliver(self, seqs: Sequence[int], *, replayed: bool = False, split_unknown: bool = False) -> None:
        """Send rows straight into the destination table until they are confirmed or dead letters.

        Raises StoreError; rows confirmed before stay confirmed.

        Args:
            seqs: rows that are pending, at least one.
            replayed: they were sent before.
            split_unknown: also halve the rows after an error that does not say that rows are at fault; a row that
                fails so on its own stays pending.
        """
        outcome = _Outcome(replayed=replayed, split_unknown=split_unknown)
        await self._halve(seqs, outcome)
        if outcome.refusals:
            await self._settle(outcome)

    async def _halve(self, seqs: Sequence[int], outcome: _Outcome) -> None:
        try:
            await self._send_direct(seqs, replayed=outcome.replayed)
            outcome.confirmed += len(seqs)
            return
        except RowsRefused as error:
            if len(seqs) == 1:
                outcome.refusals.append(_Refusal(seqs[0], error))
                if not outcome.confirmed and len(outcome.refusals) >= LONE_REFUSALS_MAX:
                    raise
                return
        except StoreFailed:
            if not outcome.split_unknown or len(seqs) == 1:
                raise
        middle = len(seqs) // 2
        await self._halve(seqs[:middle], outcome)
        await self._halve(seqs[middle:], outcome)

    async def _send_direct(self, seqs: Sequence[int], *, replayed: bool) -> None:
        batch = self._batch(seqs)
        started = monotonic()
        await self._store.insert_direct(batch)
        found = (await self.landed([batch.number])).get(batch.number, 0)
        if found != len(seqs):
            await self._store.check()
            raise StoreFailed(f"the ledger shows {found} of {len(seqs)} rows after an INSERT into events")
        self._observer.flushed(shard=self._shard, rows=len(seqs), seconds=monotonic() - started, replayed=replayed)
        self.confirm(Attempt(batch.number, seqs, batch.rows[0]))

    def confirm(self, attempt: Attempt) -> None:
        """Count an attempt that the ledger shows whole, and note it in the journal."""
        sample = _sample_of(attempt.sample)
        self._journal.note(
            Confirmed(
                writer=self._writer,
                first_batch=attempt.number,
                last_batch=attempt.number,
                rows=len(attempt.seqs),
                runs=runs_of(attempt.seqs),
                at_s=int(time.time()),
                event_id=sample.event_id,
                received_s=sample.received_ns // 1_000_000_000,
            )
        )
        self._tally.confirmed += self._pending.remove(attempt.seqs)

    async def _settle(self, outcome: _Outcome) -> None:
        """Put refused rows aside, but only those that failed while others got in.

        If none did, it is not the rows that are at fault (a constraint that nothing can meet, say). And if others got
        in only after a row had failed, its fault may have been mended in between: so each is tried once more.
        """
        await self._store.check()  # a column of another type refuses rows, too
        proven: list[_Refusal] = []
        for refusal in outcome.refusals:
            before = self._confirmed_at_refusal.setdefault(refusal.seq, self._tally.confirmed)
            if outcome.confirmed or self._tally.confirmed > before:
                proven.append(refusal)
        for refusal in proven:
            if (refused_again := await self._send_alone(refusal.seq)) is not None:
                await self._put_aside(refused_again)
        if len(proven) < len(outcome.refusals):
            raise outcome.refusals[-1].error

    async def _send_alone(self, seq: int) -> _Refusal | None:
        """Return the refusal of one row; None where it got in."""
        try:
            await self._send_direct([seq], replayed=True)
        except RowsRefused as error:
            return _Refusal(seq, error)
        self._confirmed_at_refusal.pop(seq, None)
        return None

    async def _put_aside(self, refusal: _Refusal) -> None:
        (row,) = self._pending.rows((refusal.seq,))
        error = refusal.error
        await self._dead_letters.append(seq=refusal.seq, row=row, code=error.code, error=error.full_message)
        _log.error("shard %d: event %d is a dead letter: %s", self._shard, refusal.seq, error.message)
        self._pending.remove((refusal.seq,))
        self._confirmed_at_refusal.pop(refusal.seq, None)
        self._tally.dead.add(refusal.seq)
        self._tally.dead_beyond.add(refusal.seq)
        self._tally.dead_lettered += 1
        self._observer.dead_lettered(shard=self._shard)
