"""One shard: its log, its pending rows, its flusher."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from zlib import crc32

from shards.audit.accounting import Books
from shards.deadletters.file import DeadLetterFile, letters_path
from shards.events import Event, encode_row
from shards.flush.flusher import Flusher
from shards.flush.gate import StoreGate
from shards.flush.loader import Loader
from shards.flush.pending import PendingRows
from shards.flush.sender import Sender
from shards.flush.steps import Steps
from shards.flush.tally import Tally
from shards.flush.troubles import Troubles
from shards.logger import get_logger
from shards.observer import Observer
from shards.runs import count_between, runs_of, size, union
from shards.settings import ShardSettings
from shards.snapshot import ShardSnapshot
from shards.stores.base import Store
from shards.tasks.threads import Threads
from shards.wal.committer import Committer
from shards.wal.directory import WAL_DIRECTORY, shard_name
from shards.wal.log import ShardLog
from shards.wal.recovery import Recovery

_log = get_logger(__name__)


def wal_directory(data_dir: Path, index: int) -> Path:
    """Return the directory of a shard's segments."""
    return data_dir / WAL_DIRECTORY / shard_name(index)


def shard_of(match_id: str, shard_count: int) -> int:
    """Return the shard of a match, 0 to ``shard_count`` - 1.

    CRC-32 and not ``hash()``, because the same match has to reach the same shard in every process.
    """
    return crc32(match_id.encode()) % shard_count


class Shard:
    """Routes one shard's rows from the handlers to the log and on to the flusher.

    A *retired* shard (its index is beyond the present number of shards) takes no more rows. Rows that its log still
    holds are brought to ClickHouse.
    """

    def __init__(
        self,
        index: int,
        settings: ShardSettings,
        *,
        log: ShardLog,
        log_is_another: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Recover the log and the dead letters. Blocking; raises as :meth:`shards.wal.log.ShardLog.recover`.

        Args:
            index: of the shard, from 0.
            settings: of all shards.
            log: not recovered yet.
            log_is_another: the log is not the one whose dead letters are found.
            stopping: whether to break off, because the service is shutting down.
        """
        self.index = index
        self.retired = index >= settings.shard_count
        self._settings = settings
        self.log = log
        self.dead_letters = DeadLetterFile(letters_path(settings.data_dir, index), shard=index)
        self.dead_letters.recover()
        if log_is_another:
            self.dead_letters.disown(beyond=0)
        recovery = log.recover(letters_after=self.dead_letters.rows_after, stopping=stopping)
        self.dead_letters.disown(beyond=log.durable_seq)
        self.pending = PendingRows(max_rows=settings.memory_max_rows, max_bytes=settings.memory_max_bytes)
        self.pending.recover(
            upto=log.checkpoint.upto,
            last_seq=log.durable_seq,
            unread=recovery.pending,
            age_s=max(0.0, (time.time_ns() - recovery.oldest_ns) / 1e9) if recovery.oldest_ns else 0.0,
            done=union((*log.checkpoint.beyond, *runs_of(tuple(recovery.dead)), *recovery.damaged)),
        )
        self.tally = self._tally_of(recovery)
        self._unaccounted = 0

    def _tally_of(self, recovery: Recovery) -> Tally:
        done = self.log.checkpoint
        dead_lettered, confirmed = done.dead_lettered, done.confirmed
        if confirmed is None:
            # A checkpoint lacks letters if a later one could not be written, and all of them if it was cut off.
            dead_lettered = max(dead_lettered, self.dead_letters.count_upto(done.upto))
            confirmed = done.upto - dead_lettered - done.damaged - done.erased
        return Tally(
            confirmed=confirmed + size(done.beyond),
            dead_lettered=dead_lettered + len(recovery.dead),
            damaged=done.damaged + size(recovery.damaged),
            erased=done.erased,
            confirmed_beyond=done.beyond,
            dead=self.dead_letters.seqs(),
            dead_beyond=set(recovery.dead),
            damaged_beyond=recovery.damaged,
        )

    def attach(self, *, writer: str, store: Store, gate: StoreGate, observer: Observer) -> Flusher:
        """Make and return the shard's flusher; the caller starts it."""
        threads, troubles = Threads(), Troubles(self.index, observer)
        make_steps = partial(
            self._make_steps,
            writer=writer,
            numbers=count(1),
            recovered_seq=self.log.durable_seq,
            store=store,
            troubles=troubles,
            observer=observer,
            threads=threads,
        )
        self.flusher = Flusher(
            shard=self.index,
            log=self.log,
            pending=self.pending,
            tally=self.tally,
            make_steps=make_steps,
            threads=threads,
            gate=gate,
            troubles=troubles,
            observer=observer,
        )
        return self.flusher

    def _make_steps(
        self,
        *,
        writer: str,
        numbers: Iterator[int],
        recovered_seq: int,
        store: Store,
        troubles: Troubles,
        observer: Observer,
        threads: Threads,
    ) -> Steps:
        """Return the steps of a flusher that knows no more than after a restart: rows, counts and letters."""
        sender = Sender(
            shard=self.index,
            writer=writer,
            numbers=numbers,
            pending=self.pending,
            tally=self.tally,
            dead_letters=self.dead_letters,
            journal=self.log.journal,
            store=store,
            observer=observer,
            threads=threads,
        )
        sender.take_filed(after=self.log.checkpoint.upto)
        max_rows = self._settings.flush_max_rows
        return Steps(
            shard=self.index,
            settings=self._settings,
            pending=self.pending,
            loader=Loader(self.log, self.pending, self.tally, max_rows=max_rows, threads=threads),
            sender=sender,
            store=store,
            troubles=troubles,
            observer=observer,
            has_buffer=not self.retired,
            recovered_seq=recovered_seq,
        )

    def append(self, events: Sequence[Event], committer: Committer) -> asyncio.Future[int]:
        """Hand the events to the committer; the future gives the first one's sequence number, or raises WalFailed."""
        match_ids = [event.match_id for event in events]
        rows = [encode_row(event) for event in events]
        return committer.submit(self.log, rows, partial(self._note_durable, match_ids))

    def _note_durable(self, match_ids: Sequence[str], first_seq: int, rows: Sequence[bytes]) -> None:
        if missed := max(0, first_seq - self.pending.last_seq - 1):
            _log.error("durable rows missed", shard=self.index, rows=missed, effect="they are read from the log")
        self.pending.add_durable(first_seq, match_ids, rows)
        self.flusher.rows_added(len(rows))

    def outcome(self, first: int, last: int) -> tuple[int, int, list[int]]:
        """Return, for rows ``first`` to ``last``, how many are pending and erased, and the numbers of dead letters."""
        dead = [seq for seq in self.tally.dead if first <= seq <= last]
        erased = count_between(self.log.journal.erased, first, last)
        return self.pending.count_between(first, last), erased, dead

    async def books(self) -> Books:
        """Return the shard's own account of its rows, for an audit. Raises OSError."""
        # Taken before the journal is read, because all that is done with now has been noted by then.
        upto, dead = self.log.checkpoint.upto, frozenset(self.tally.dead)
        entries = await asyncio.to_thread(self.log.journal.entries)
        return Books(shard=self.index, appended=self.pending.last_seq, upto=upto, dead=dead, entries=entries)

    def snapshot(self) -> ShardSnapshot:
        """Return the shard's present figures."""
        flusher, tally = self.flusher, self.tally
        # An older release may have taken letters of a log that was lost for its own, more than this one has.
        requeued = min(self.dead_letters.requeued, tally.dead_lettered)
        discarded = min(self.dead_letters.discarded, tally.dead_lettered - requeued)
        erased_letters = min(self.dead_letters.erased, tally.dead_lettered - requeued - discarded)
        pending = len(self.pending)
        done = tally.confirmed + tally.dead_lettered + tally.damaged + tally.erased
        unaccounted = self.pending.last_seq - (done + pending)
        self._report_unaccounted(unaccounted)
        return ShardSnapshot(
            index=self.index,
            appended=self.pending.last_seq,
            confirmed=tally.confirmed,
            pending=pending,
            dead_lettered=tally.dead_lettered - requeued - discarded - erased_letters,
            requeued=requeued,
            discarded=discarded,
            damaged=tally.damaged,
            erased=tally.erased + erased_letters,
            erased_letters=erased_letters,
            unaccounted=unaccounted,
            depth=pending - flusher.in_flight,
            in_flight=flusher.in_flight,
            unread=self.pending.unread,
            retries=flusher.retries,
            wal_bytes=self.log.segments.size_bytes,
            wal_segments=len(self.log.segments),
            oldest_unconfirmed_s=self.pending.oldest_age_s,
            stalled_s=flusher.stalled_s,
            paused=flusher.paused,
            retired=self.retired,
            last_error=flusher.last_error,
        )

    def _report_unaccounted(self, rows: int) -> None:
        """Log a difference of the sum when it appears, changes, or is gone."""
        if rows == self._unaccounted:
            return
        self._unaccounted = rows
        if rows:
            _log.error("accounting differs", shard=self.index, rows=rows, reason="a fault of the service")
        else:
            _log.info("accounting whole again", shard=self.index)

    def close(self) -> None:
        """Close the files."""
        self.flusher.close()
        self.log.seal()
        self.log.close()
