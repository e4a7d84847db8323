"""The steps by which one shard's rows get into ClickHouse and are confirmed, and when each of them is due.

Full batches go straight into the destination table, fewer rows to the shard's Buffer table. At each checkpoint the
Buffer table is flushed, and the ledger is asked which attempts the destination table holds whole; only those are
confirmed. Rows of all other attempts (an error, a lost connection, not shown by the ledger) are sent again, straight
into the destination table, until the ledger shows them. Rows that ClickHouse refuses are found by bisection, and become
dead letters if others got in meanwhile and they fail once more (:mod:`shards.flush.suspicion`).
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from itertools import islice
from time import monotonic

import attrs

from shards.errors import InvariantBroken, RowsRefused, SchemaMismatch, StoreError, StoreUnavailable
from shards.flush.loader import Loader
from shards.flush.pending import PendingRows
from shards.flush.replay_queue import ReplayQueue
from shards.flush.sender import Sender
from shards.flush.tally import Attempt
from shards.flush.troubles import Troubles
from shards.logger import get_logger
from shards.observer import Observer
from shards.settings import ShardSettings
from shards.stores.base import Store

_log = get_logger(__name__)

BATCH_MAX_BYTES = 8 << 20
UNKNOWN_ERROR_TRIES = 5
"""Failures of the replay in a row before rows are halved although the error does not blame them."""


class Step(Enum):
    """The steps of a flusher, in the order in which it takes those that are due at once."""

    ERASE = auto()
    LOAD = auto()
    REPLAY = auto()
    SEND = auto()
    CHECKPOINT = auto()


@attrs.define(kw_only=True, eq=False)
class Steps:
    """The work of one shard. Only its flusher uses this, one step at a time.

    All rows that are in memory at first are sent as a replay, because nobody knows which of them were sent before.
    Rows up to ``recovered_seq`` that are loaded later are from before the start of the process, and so are these.
    """

    shard: int
    settings: ShardSettings
    pending: PendingRows
    loader: Loader
    sender: Sender
    store: Store
    troubles: Troubles
    observer: Observer
    has_buffer: bool
    _recovered_seq: int
    _sent_seq: int = attrs.field(init=False)
    _replay: ReplayQueue = attrs.field(factory=ReplayQueue, init=False)
    _attempts: list[Attempt] = attrs.field(factory=list, init=False)
    _unsent_since: float = attrs.field(factory=monotonic, init=False)
    _checkpoint_at: float = attrs.field(factory=monotonic, init=False)

    def __attrs_post_init__(self) -> None:
        self._sent_seq = self.pending.loaded_seq
        self._replay.extend(filter(self.pending.may_be_sent, self.pending.seqs()))

    @property
    def in_flight(self) -> int:
        """Rows sent to the Buffer table, not yet confirmed."""
        return sum(len(attempt.seqs) for attempt in self._attempts)

    @property
    def unsent(self) -> int:
        """Rows in memory that were never sent."""
        return self.pending.loaded_seq - self._sent_seq

    @property
    def is_replay_failing(self) -> bool:
        """Whether the last try to send rows again failed."""
        return self._replay.failures > 0

    def note_added(self, rows: int) -> bool:
        """Note new rows; say whether they give the flusher something to do now."""
        unsent = self.unsent
        if unsent <= rows:
            self._unsent_since = monotonic()
        return unsent <= rows or unsent >= self.settings.flush_max_rows

    def delays_s(self, *, hurry: bool) -> dict[Step, float]:
        """Return the steps to come, with the seconds until each is due; 0 or less: now.

        Args:
            hurry: somebody waits until everything is confirmed.
        """
        delays: dict[Step, float] = {}
        if self.loader.may_load:
            delays[Step.LOAD] = 0
        if (replay_s := self._replay.delay_s) is not None:
            delays[Step.REPLAY] = replay_s
        if self.unsent:
            full = self.unsent >= self.settings.flush_max_rows
            waited_s = monotonic() - self._unsent_since
            delays[Step.SEND] = 0 if full or hurry else self.settings.flush_interval_ms / 1000 - waited_s
        if self._attempts:
            early = self.pending.crowded or (hurry and not self.unsent)
            delays[Step.CHECKPOINT] = 0 if early else self._checkpoint_at - monotonic()
        return delays

    async def take(self, step: Step) -> None:
        """Take one step. Raises StoreError, or anything else by a fault of ours; no row is forgotten then."""
        match step:
            case Step.LOAD:
                await self.load()
            case Step.REPLAY:
                await self._replay_next()
            case Step.SEND:
                await self._send_next()
            case Step.CHECKPOINT:
                await self._confirm_attempts()

    async def erase(self, matches: Mapping[str, int]) -> None:
        """Drop the rows of matches up to a number each.

        What was sent before is settled first: afterwards none of these rows is in an attempt or in the Buffer table.
        Raises StoreError; then it has to be done again.
        """
        if (error := await self._confirm_attempts()) is not None:
            await self.store.check()
            await self.store.reset_buffer(self.shard)  # all that it may hold is in the log
            raise error
        self.pending.erasing.update(matches)
        for match_id, upto in matches.items():
            self.sender.erase([seq for seq in self.pending.seqs_of(match_id) if seq <= upto])
        self._replay.keep_only(self.pending.may_be_sent)

    def hold(self, match_id: str, *, beyond: int | None) -> None:
        """Send no row of a match beyond a number from now on, until this is called again; None: send all.

        Rows that were held back until now have been passed over, and are sent again.
        """
        before = self.pending.held.pop(match_id, None)
        if beyond is not None:
            self.pending.held[match_id] = beyond
        if before is not None:
            passed_over = (seq for seq in self.pending.seqs_of(match_id) if before < seq <= self._sent_seq)
            self._replay.extend(filter(self.pending.may_be_sent, passed_over))

    async def load(self) -> None:
        """Bring rows that are on disk only into memory. Rows from before the start are sent again."""
        unsent_before = self.unsent
        loaded = await self.loader.load()
        if loaded is None:
            return
        may_be_sent = self.pending.may_be_sent
        self._replay.extend(seq for seq in loaded if seq <= self._recovered_seq and may_be_sent(seq))
        self._sent_seq = max(self._sent_seq, min(self.pending.loaded_seq, self._recovered_seq))
        if not unsent_before:
            self._unsent_since = monotonic()

    def _batch_of(self, seqs: Iterable[int]) -> list[int]:
        """Return the first rows of ``seqs`` that still are to be sent and fit one batch."""
        taken: list[int] = []
        size = 0
        for seq in islice(filter(self.pending.may_be_sent, seqs), self.settings.flush_max_rows):
            size += self.pending.size_of(seq)
            if taken and size > BATCH_MAX_BYTES:
                break
            taken.append(seq)
        return taken

    def _pass_over_held(self) -> None:
        """Pass over rows that are held back: for their sake a few rows would count as a full batch otherwise."""
        while self.unsent and not self.pending.may_be_sent(self._sent_seq + 1):
            self._sent_seq += 1

    async def _send_next(self) -> None:
        """Send the next new rows: a full batch straight into the destination table, fewer to the Buffer table.

        A full batch is a part worth writing, and is confirmed at once (ADR-004).
        """
        seqs = self._batch_of(range(self._sent_seq + 1, self.pending.loaded_seq + 1))
        self._sent_seq = seqs[-1] if seqs else self.pending.loaded_seq
        self._pass_over_held()
        self._unsent_since = monotonic()
        if not seqs:
            return
        full = len(seqs) >= self.settings.flush_max_rows or self.unsent > 0
        try:
            if not full and self.has_buffer:
                self._add_attempt(await self.sender.send_buffered(seqs))
            elif stuck := await self.sender.deliver(seqs):
                self._replay.extend(seqs)
                self._replay.postpone(stuck.seqs)
        except RowsRefused:
            self._replay.extend(seqs)
        except Exception:
            self._replay.extend(seqs)  # whatever it was, the rows must not be forgotten
            raise

    def _add_attempt(self, attempt: Attempt) -> None:
        if not self._attempts:
            self._checkpoint_at = monotonic() + self.settings.checkpoint_interval_ms / 1000
        elif attempt.seqs[0] <= self._attempts[-1].seqs[-1]:
            raise InvariantBroken(f"row {attempt.seqs[0]} is in two attempts at once")
        self._attempts.append(attempt)

    async def _replay_next(self) -> None:
        """Send the next rows of the replay. After a failure the replay pauses, but new rows do not.

        Rows that failed alone come after all others the next time.
        """
        seqs = self._batch_of(self._replay)
        try:
            split_unknown = self._replay.failures >= UNKNOWN_ERROR_TRIES
            if seqs and (stuck := await self.sender.deliver(seqs, replayed=True, split_unknown=split_unknown)):
                self._replay.postpone(stuck.seqs)
                self._note_replay_failure(stuck.error)
            else:
                self._replay.note_success()
        except (StoreUnavailable, SchemaMismatch):
            raise
        except StoreError as error:
            self._note_replay_failure(error)
        finally:
            self._replay.forget(self.pending.holds)

    def _note_replay_failure(self, error: StoreError | OSError) -> None:
        if isinstance(error, StoreError):
            self.troubles.note_store_error(error)
            self.observer.store_error(code=error.code)
        else:
            self.troubles.note_fault(error)
        self._replay.note_failure()

    async def _confirm_attempts(self) -> StoreError | None:
        """Flush the Buffer table, confirm the attempts that the ledger shows whole, and replay all others.

        After a failed flush nothing is confirmed. Somebody else's view may have failed behind ours: then ClickHouse
        writes the same rows again, with the next flush or when the table is dropped. Return the error of such a flush.
        """
        flush_error: StoreError | None = None
        try:
            if self.has_buffer:
                await self.store.flush_buffer(self.shard)
        except StoreUnavailable:
            raise
        except StoreError as error:
            flush_error = error
        numbers = [attempt.number for attempt in self._attempts]
        landed = {} if flush_error else await self.sender.landed(numbers)
        missing: list[int] = []
        for attempt in self._attempts:
            if landed.get(attempt.number, 0) != len(attempt.seqs) or not self._confirm(attempt):
                missing += attempt.seqs
        self._attempts = []
        self._checkpoint_at = monotonic() + self.settings.checkpoint_interval_ms / 1000
        self._replay.extend(missing)
        if missing:
            await self._after_missing(len(missing), flush_error)
        return flush_error

    def _confirm(self, attempt: Attempt) -> bool:
        """Confirm an attempt; False: that failed, so those of its rows that still are pending have to be sent again.

        They need another number, because the journal may hold this one already, and an audit would find it twice.
        """
        try:
            self.sender.confirm(attempt)
        except Exception as error:  # noqa: BLE001 - whatever it was, the attempt must not be confirmed again
            self.troubles.note_fault(error)
            return False
        return True

    async def _after_missing(self, rows: int, flush_error: StoreError | None) -> None:
        why = flush_error.message if flush_error else "the ledger does not show them"
        _log.warning("rows sent again", shard=self.shard, rows=rows, reason=why)
        self.troubles.note_retry()
        await self.store.check()
        if flush_error is not None:
            # Rows that cannot be flushed would be stuck in the Buffer table; all of them are in the log.
            await self.store.reset_buffer(self.shard)
