"""Loading: rows that are on disk only are brought into memory when there is room."""

from collections.abc import Sequence
from functools import partial

from shards.flush.pending import PendingRows
from shards.flush.tally import Tally
from shards.runs import minus, runs_of, size
from shards.tasks.threads import Threads
from shards.wal.journal import Unprovable
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from shards.wal.record import Record

LOAD_MAX_BYTES = 4 << 20


class Loader:
    """Reads one shard's log from behind its loaded rows on; notes unreadable rows in the journal."""

    def __init__(self, log: ShardLog, pending: PendingRows, tally: Tally, *, max_rows: int, threads: Threads) -> None:
        self._log = log
        self._pending = pending
        self._tally = tally
        self._max_rows = max_rows
        self._threads = threads
        self._reader = LogReader(log, after_seq=pending.loaded_seq)

    @property
    def may_load(self) -> bool:
        """Whether there are rows to be read, and room for them."""
        return self._pending.unread > 0 and not self._pending.crowded

    async def load(self) -> list[int] | None:
        """Take in the next rows; return their numbers, or None if nothing was read."""
        after, upto = self._pending.loaded_seq, self._pending.last_seq
        self._reader.skip_to(after)
        if not self._pending.has_room:  # else an empty read would look like the end of the log
            return None
        rows, bytes_ = self._pending.room
        max_rows, max_bytes = min(rows, self._max_rows), min(bytes_, LOAD_MAX_BYTES)
        records = await self._read(upto_seq=upto, max_rows=max_rows, max_bytes=max_bytes)
        if not records and upto < self._pending.last_seq:
            return None  # rows came in meanwhile, and are still to be read
        self._note_damaged(after, [record.seq for record in records], upto)
        if not records:
            self._pending.end_loading()
            return None
        loaded, dropped = self._pending.add_loaded(records)
        self._note_erased(dropped)
        if not self._pending.unread:  # the log may end in rows that were done with before the start
            self._pending.end_loading()
        return loaded

    async def _read(self, *, upto_seq: int, max_rows: int, max_bytes: int) -> list[Record]:
        done = self._pending.done_before
        try:
            return await self._threads.run(
                partial(self._reader.read, upto_seq=upto_seq, max_rows=max_rows, max_bytes=max_bytes, but=done)
            )
        except Exception:  # a reader that has gone ahead would pass over rows, which would be taken for damaged
            failed, self._reader = self._reader, LogReader(self._log, after_seq=self._pending.loaded_seq)
            failed.close()
            raise

    def _note_damaged(self, after: int, read: Sequence[int], upto: int) -> None:
        expected = (after + 1, read[-1] if read else upto)
        if damaged := minus(minus((expected,), runs_of(read)), self._pending.done_before):
            self._tally.note_damaged(damaged)
            self._pending.note_damaged(size(damaged))
            self._log.journal.note(Unprovable.noted_now("damaged", damaged))

    def _note_erased(self, seqs: Sequence[int]) -> None:
        if runs := runs_of(seqs):
            self._tally.note_erased(runs)
            self._log.journal.note(Unprovable.noted_now("erased", runs))

    def close(self) -> None:
        """Close the reader of the log."""
        self._reader.close()
