"""One shard: its log, its pending rows, its flusher."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from shards.deadletter import DeadLetterFile
from shards.delivery import Delivery, Tally
from shards.events import Event, encode_row
from shards.flusher import Flusher
from shards.gate import StoreGate
from shards.observer import Observer
from shards.pending import PendingRows
from shards.settings import ShardSettings
from shards.snapshot import ShardSnapshot
from shards.stores.base import Store
from shards.wal.committer import Committer
from shards.wal.log import Recovery, ShardLog

WAL_DIRECTORY = "wal"


def wal_directory(data_dir: Path, index: int) -> Path:
    """Return where a shard's segments are."""
    return data_dir / WAL_DIRECTORY / f"shard-{index:03d}"


def found_indexes(data_dir: Path) -> set[int]:
    """Return the shards that have left a log, whatever their number is set to now."""
    return {int(path.name.removeprefix("shard-")) for path in (data_dir / WAL_DIRECTORY).glob("shard-[0-9]*")}


class Shard:
    """Routes one shard's rows from the handlers to the log and on to the flusher.

    A *retired* shard (its index is beyond the number of shards now) takes no rows any more; what its log still
    holds is brought to ClickHouse.
    """

    def __init__(self, index: int, settings: ShardSettings, *, recovery: Recovery, log: ShardLog) -> None:
        self.index = index
        self.retired = index >= settings.shards
        self._settings = settings
        self._log = log
        self.pending = PendingRows(max_rows=settings.memory_max_rows, max_bytes=settings.memory_max_bytes)
        age_s = max(0.0, (time.time_ns() - recovery.oldest_ns) / 1e9) if recovery.oldest_ns else 0.0
        self.pending.recover(upto=log.checkpoint.upto, last_seq=log.durable_seq, unread=recovery.pending, age_s=age_s)

    def attach(self, *, writer: str, store: Store, gate: StoreGate, observer: Observer) -> Flusher:
        """Make the shard's flusher; its :meth:`~shards.flusher.Flusher.run` is for the caller to start."""
        path = self._settings.data_dir / "deadletters" / f"shard-{self.index:03d}.jsonl"
        dead_letters = DeadLetterFile(path, shard=self.index)
        done = self._log.checkpoint
        dead = {letter.seq for letter in dead_letters.load()}
        beyond = {seq for seq in dead if seq > done.upto}
        self.tally = Tally(
            confirmed=done.upto - done.dead_lettered - done.damaged,
            dead_lettered=done.dead_lettered + len(beyond),
            dead=dead,
            dead_beyond=beyond,
        )
        delivery = Delivery(
            shard=self.index,
            writer=writer,
            pending=self.pending,
            tally=self.tally,
            dead_letters=dead_letters,
            store=store,
            observer=observer,
        )
        self.flusher = Flusher(
            shard=self.index,
            settings=self._settings,
            log=self._log,
            pending=self.pending,
            tally=self.tally,
            delivery=delivery,
            store=store,
            gate=gate,
            observer=observer,
            has_buffer=not self.retired,
        )
        return self.flusher

    def append(self, events: Sequence[Event], committer: Committer) -> asyncio.Future[int]:
        """Hand the events to the committer; the future gives the first one's sequence number, or fails: WalFailed."""
        match_ids = [event.match_id for event in events]
        rows = [encode_row(event) for event in events]
        return committer.submit(self._log, rows, partial(self._durable, match_ids))

    def _durable(self, match_ids: Sequence[str], first_seq: int, rows: Sequence[bytes]) -> None:
        self.pending.add_durable(first_seq, match_ids, rows)
        self.flusher.rows_added(len(rows))

    def outcome(self, first: int, last: int) -> tuple[int, int]:
        """Return how many rows between two sequence numbers, both included, are pending, and are dead letters."""
        dead = sum(first <= seq <= last for seq in self.tally.dead)
        return self.pending.count_between(first, last), dead

    def snapshot(self) -> ShardSnapshot:
        """Return the shard's present figures."""
        flusher, pending, tally = self.flusher, self.pending, self.tally
        return ShardSnapshot(
            index=self.index,
            appended=pending.last_seq,
            confirmed=tally.confirmed,
            pending=len(pending),
            dead_lettered=tally.dead_lettered,
            damaged=pending.last_seq - tally.confirmed - len(pending) - tally.dead_lettered,
            depth=flusher.depth,
            in_flight=flusher.in_flight,
            unread=pending.unread,
            retries=flusher.retries,
            wal_bytes=self._log.size_bytes,
            wal_segments=self._log.segment_count,
            oldest_unconfirmed_s=pending.oldest_age_s,
            paused=flusher.paused,
            retired=self.retired,
            last_error=flusher.last_error,
        )

    def close(self) -> None:
        """Close the files."""
        self.flusher.close()
        self._log.close()
