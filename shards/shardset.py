"""All shards together: routing, recovery, start and drain. The one class that the service works with."""

import asyncio
import threading
import uuid
from collections.abc import Collection, Sequence
from functools import partial

from shards.audit.accounting import Audit
from shards.clock import ReceiptClock
from shards.deadletters.entries import FiledLetter, Place
from shards.deadletters.settling import DeadLetters
from shards.erasure.erasures import Erasures
from shards.erasure.steps import ErasureSteps
from shards.errors import NotAccepting
from shards.events import Event
from shards.flush.gate import StoreGate
from shards.flush.order import OrderStart
from shards.logger import get_logger
from shards.lookups import audited, flushed_in_time, outcome_of, pending_of, report_held_by_pauses
from shards.observer import Observer
from shards.reads.source import Pending
from shards.receipts import Outcome, Receipt, Stretch
from shards.recovery import Recovering, preload, recovered_shards
from shards.settings import ShardSettings
from shards.shard import Shard, shard_of
from shards.snapshot import Snapshot, StoreState
from shards.stores.base import Store
from shards.tasks.threads import Threads
from shards.tasks.watch import Watch, Watched
from shards.wal.admission import Room
from shards.wal.committer import Committer
from shards.wal.directory import DataDirectory
from shards.wal.log import ShardLog

_log = get_logger(__name__)

RECOVERY_HEAD_START_S = 0.5
STORE_HEAD_START_S = 2.0
LAST_STATEMENT_S = 1.0


class ShardSet:
    """Takes validated events, makes them durable, and brings them to the store in its own time.

    ``start`` → ``append`` … → ``drain`` → ``close``. All methods belong to one event loop.
    """

    def __init__(
        self,
        settings: ShardSettings,
        store: Store,
        *,
        observer: Observer | None = None,
        clock: ReceiptClock | None = None,
    ) -> None:
        self.clock = clock or ReceiptClock()
        self._settings = settings
        self._store = store
        self._observer = observer or Observer()
        self.watch = Watch(self._observer)
        self._gate = StoreGate(store, self._observer)
        self._committer = Committer(sync=settings.wal_sync, observer=self._observer, watch=self.watch)
        self._room = Room(settings, self._committer, self.clock, self._wal_bytes)
        self._logs: list[ShardLog] = []
        self._shards: list[Shard] = []
        self.erasures = Erasures(settings, committer=self._committer, clock=self.clock)
        self._erasing: ErasureSteps | None = None
        self._letters = DeadLetters(self.append, self.is_erasing)
        self._tasks: list[Watched] = []
        self._recovery: Watched | None = None
        self._threads = Threads()
        self._directory = DataDirectory(settings.data_dir)
        self._auditing = asyncio.Lock()
        self._stopping = threading.Event()
        self._room.shut("recovering", "the write-ahead log is being recovered")

    async def start(self) -> None:
        """Lock the data directory, recover the log, open the store.

        A long recovery goes on in the background, and so do tries to open a store that is away, because a start needs
        neither. Raises :class:`~shards.errors.DataDirectoryLocked`, and OSError if the directory cannot be used.
        """
        self._directory.lock()
        self._committer.start()
        recovering = Recovering(
            self._recover_shards, threads=self._threads, room=self._room, stopping=self._stopping.is_set
        )
        self._recovery = self.watch.keep_running("wal-recovery", recovering.run)
        if await recovering.first_try(timeout_s=RECOVERY_HEAD_START_S):
            await self._gate.wait_up(timeout_s=STORE_HEAD_START_S)

    async def _recover_shards(self) -> None:
        recover = partial(recovered_shards, self._settings, self._directory, clock=self.clock)
        recovered = await self._threads.run(partial(recover, stopping=self._stopping.is_set))
        self._check_stopping()
        writer, shards = uuid.uuid4().hex, [shard for _, shard in recovered]
        self._letters.take([shard.dead_letters for shard in shards])
        for shard in shards:
            shard.attach(writer=writer, store=self._store, gate=self._gate, observer=self._observer)
        hold_back = partial(self.erasures.recover, shards, log_is_another=self._directory.log_is_another)
        await preload(shards, hold_back, self._check_stopping)
        self._logs = [log for log, _ in recovered]
        self._shards = shards
        self.erasures.serve(shards)
        self._tasks = [shard.flusher.start(self.watch) for shard in shards]
        self._tasks.append(self.watch.keep_running("store-gate", self._gate.run))
        order = OrderStart(self.clock, self._logs, store=self._store, gate=self._gate, threads=self._threads)
        self._tasks.append(self.watch.keep_running("order-start", order.run))
        directory = self._directory.id
        self._erasing = ErasureSteps(self.erasures, shards, store=self._store, gate=self._gate, directory=directory)
        self._tasks.append(self.watch.keep_running("erasures", self._erasing.run, anew=self._erasing.settled))
        _log.info("write-ahead log recovered", pending=sum(len(shard.pending) for shard in shards))
        self._room.open()

    def _wal_bytes(self) -> int:
        return sum(log.segments.size_bytes for log in self._logs)

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise NotAccepting("the service is shutting down")

    def check_room(self) -> None:
        """Raise a subclass of :class:`Unavailable` if an append would be refused now. Cheap."""
        self._room.check()

    async def append(self, events: Sequence[Event], *, admitted: bool = False) -> Receipt:
        """Append events; return their receipt once all are durable. ``admitted``: as part of a request that had room.

        Raises a subclass of :class:`Unavailable`. Nothing was appended then, but after WalFailed a part may be durable.
        """
        if not admitted:
            self.check_room()
        if len(events) == 1:
            by_shard = {self._index_of(events[0]): events}
        else:
            by_shard = {}
            for event in events:
                by_shard.setdefault(self._index_of(event), []).append(event)  # type: ignore[attr-defined]
        futures = [self._shards[index].append(part, self._committer) for index, part in by_shard.items()]
        if len(futures) > 1:
            await asyncio.wait(futures)  # even if one fails, so that the fate of the others is known
        firsts = [await future for future in futures]
        stretches = (
            Stretch(index, first, first + len(part) - 1, len(part))
            for (index, part), first in zip(by_shard.items(), firsts, strict=True)
        )
        return Receipt(self._directory.id, tuple(stretches))

    def _index_of(self, event: Event) -> int:
        return shard_of(event.match_id, self._settings.shard_count)

    def outcome(self, receipt: Receipt) -> Outcome | None:
        """Return what became of a request's events; None for a receipt of another data directory or of no request.

        Other requests' events between the steps of a ``/bulk`` request can delay its outcome, never hurry it.
        """
        return outcome_of(receipt, self._shards) if receipt.directory == self._directory.id else None

    async def wait_stored(self, receipt: Receipt, *, timeout_s: float) -> bool:
        """Bring a request's events to an early checkpoint; False if they were not done with in time."""
        return await flushed_in_time(receipt, self._shards, timeout_s=timeout_s)

    async def dead_letters(
        self, *, limit: int, before: Place | None = None, settled: bool = False
    ) -> Sequence[FiledLetter]:
        """Return dead letters, newest first, from behind ``before``; with ``settled`` also settled ones.

        Raises :class:`NotAccepting` while the log is being recovered, and OSError; so do the next three methods.
        """
        self.require_recovered()
        return await self._letters.newest(limit=limit, before=before, settled=settled)

    async def dead_letter(self, letter_id: str) -> FiledLetter:
        """Return one dead letter. Raises :class:`~shards.errors.UnknownLetter`."""
        self.require_recovered()
        return await self._letters.read(letter_id)

    async def requeue(self, letter_id: str, event: Event | None = None) -> FiledLetter:
        """Append a dead letter's row again, or a repaired event; see :meth:`DeadLetters.requeue`."""
        self.require_recovered()
        return await self._letters.requeue(letter_id, event)

    async def discard(self, letter_id: str) -> FiledLetter:
        """Give a dead letter up; see :meth:`DeadLetters.discard`."""
        self.require_recovered()
        return await self._letters.discard(letter_id)

    async def audit(self, *, retention_days: int = 0) -> Audit:
        """Check the accounting against ClickHouse; ``events`` keeps rows ``retention_days`` (0: for ever).

        Raises :class:`NotAccepting` while the log is being recovered, OSError if a journal cannot be read, and
        :class:`~shards.errors.StoreError` if the ledger cannot.
        """
        self.require_recovered()
        async with self._auditing:
            return await audited(self._shards, self._store, retention_days=retention_days)

    def pending(self, match_ids: Collection[str]) -> Pending:
        """Return the unconfirmed rows of some matches. A read takes these first, then queries.

        Raises :class:`NotAccepting` while the log is being recovered, because an answer without its rows would fall
        behind earlier ones.
        """
        self.require_recovered()
        return pending_of(match_ids, self._shards)

    def require_recovered(self) -> None:
        """Raise :class:`NotAccepting` while the log is being recovered."""
        if not self._shards:
            raise self._room.refusal() or NotAccepting("there are no shards yet")

    def pending_matches(self) -> frozenset[str]:
        """Return the matches that have unconfirmed rows. Raises as :meth:`pending`."""
        self.require_recovered()
        return frozenset().union(*(shard.pending.matches() for shard in self._shards))

    def is_erasing(self, match_id: str) -> bool:
        """Say whether a match is being erased: a read knows nothing of it then. Cheap."""
        return match_id in self.erasures

    @property
    def store_is_away(self) -> bool:
        """Whether ClickHouse is known to be out of reach; False if it answers with errors. Cheap."""
        return self._gate.is_away

    @property
    def store_state(self) -> StoreState:
        """State of ClickHouse: up or not, since when, and why not. Cheap."""
        return self._gate.state

    def snapshot(self) -> Snapshot:
        """Return the present state."""
        refusal = self._room.refusal()
        return Snapshot(
            shards=tuple(shard.snapshot() for shard in self._shards),
            store=self.store_state,
            recovered=bool(self._shards),
            refusal=refusal.refusal if refusal else None,
            refusal_reason=refusal.reason if refusal else "",
            limits=self._room.limits,
            queued_bytes=self._committer.queued_bytes,
            ended=self.watch.ended,
            erasures=self.erasures.states,
        )

    async def flush(self, shard: int | None = None) -> None:
        """Return when all durable now is done with, in one shard (IndexError, ShardPaused) or in all not paused."""
        all_ = (one.flusher.flush_unless_paused() for one in self._shards)
        await (asyncio.gather(*all_) if shard is None else self._shards[shard].flusher.flush())

    def pause(self, shard: int, *, by: str = "the service") -> None:
        """Stop a shard's flusher after its present step. IndexError: no such shard."""
        self._shards[shard].flusher.pause(by)

    def resume(self, shard: int) -> None:
        """Let a shard's flusher go on. IndexError: no such shard."""
        self._shards[shard].flusher.resume()

    def stop_accepting(self) -> None:
        """Refuse appends from now on, and break off a recovery."""
        self._stopping.set()
        self._room.shut("stopping", "the service is shutting down")

    async def drain(self, *, timeout_s: float) -> bool:
        """Stop accepting, commit what is queued, flush what is not paused. False: rows are left to the next start."""
        self.stop_accepting()
        if self._recovery is not None and not self._shards:
            return False
        await self._committer.close()
        try:
            async with asyncio.timeout(timeout_s):
                await self.flush()
        except TimeoutError:
            _log.warning("drain out of time", pending=self.snapshot().pending, effect="the write-ahead log keeps them")
            return False
        return not report_held_by_pauses(self._shards)

    async def close(self) -> None:
        """End every task and close every file. Rows that were not drained stay in the log."""
        self.stop_accepting()
        for shard in self._shards:
            shard.flusher.stop()
        self._gate.stop()
        if self._recovery is not None:
            await self._recovery.close(timeout_s=None)
        await asyncio.gather(*(task.close(timeout_s=LAST_STATEMENT_S) for task in self._tasks))
        # No thread may go on when the lock of the directory is gone.
        await asyncio.gather(self._threads.settled(), *(shard.flusher.settled() for shard in self._shards))
        await (self._erasing.settled() if self._erasing else self.erasures.settled())
        await self._committer.close()
        await self._letters.close()
        for shard in self._shards:
            shard.close()
        self._directory.close()
