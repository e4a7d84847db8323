"""The write-ahead log of one shard: a directory of segments with consecutive sequence numbers.

Sequence numbers start at 1 and have no gaps. After a failed write or sync the segment is abandoned, and the next one
starts again at the first number that is not durable: **records at or beyond the first number of the following
segment were never acknowledged** and are passed over wherever the log is read. Each record tells the last durable
number of its moment, so a start knows what was acknowledged (ADR-014).
"""

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import attrs

from shards.clock import ReceiptClock
from shards.errors import InvariantBroken
from shards.logger import get_logger
from shards.runs import Run, size
from shards.wal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from shards.wal.files import make_directory
from shards.wal.journal import Journal, Unprovable
from shards.wal.record import encode_records
from shards.wal.recovery import Recovery, passed_over, passed_over_done, read_through
from shards.wal.segment import SegmentWriter
from shards.wal.segments import SegmentList

_log = get_logger(__name__)


class ShardLog:
    """One shard's log. The committer thread appends to it; the shard's flusher reads and truncates it."""

    def __init__(
        self, directory: Path, *, shard: int, segment_max_bytes: int, clock: ReceiptClock | None = None
    ) -> None:
        """Open nothing yet. The log reserves the order of events to come for ``clock``, in each checkpoint."""
        self.directory = directory
        self.shard = shard
        self._clock = clock or ReceiptClock()
        self.segments = SegmentList(directory)
        self.journal = Journal(directory, shard=shard)
        self.generation = 0
        self.checkpoint = Checkpoint()
        self.durable_seq = 0
        self.recovered_seq = 0
        """The last number that the start found."""
        self._checkpoint_is_written = False
        self._saved_upto = 0
        self._truncating = threading.Lock()
        self._segment_max_bytes = segment_max_bytes
        self._writer: SegmentWriter | None = None
        self._next_seq = 1
        self._synced_seq = 0
        self.found_order = 0
        """The order that the checkpoint told of at the start; 0: none."""

    @property
    def is_saved(self) -> bool:
        """Whether the checkpoint and everything noted in the journal are on disk."""
        return self._checkpoint_is_written and self.journal.is_written

    @property
    def _proven_seq(self) -> int:
        """The last number that is synced, and not given out again."""
        return min(self._synced_seq, self.durable_seq)

    def recover(
        self,
        *,
        letters_after: Callable[[int], Collection[tuple[int, int]]] = lambda seq: (),
        stopping: Callable[[], bool] = lambda: False,
    ) -> Recovery:
        """Read the log back from the disk. Blocking; called once, before anything else.

        Raises OSError, and :class:`~shards.errors.NotAccepting` once ``stopping()``: no checkpoint was written then.

        Args:
            letters_after: number and CRC-32 of the dead letters behind a number. The CRC-32 is needed because a log
                that is not synced can lose its end, and another record can then have the number of a letter.
            stopping: whether to break off, because the service is shutting down.
        """
        make_directory(self.directory)
        written = self.checkpoint = read_checkpoint(self.directory)
        self.found_order, self._saved_upto = written.order_upto, written.upto
        self._clock.raise_to(written.order_upto)
        self.segments.recover(done_upto=written.upto)
        self._settle_end(proven=written.proven)
        letters = letters_after(written.upto)
        if self.segments:
            self._pass_over({seq for seq, _ in letters})
        self.durable_seq, recovery = read_through(self, self.checkpoint, letters, stopping)
        self._next_seq, self._synced_seq = self.durable_seq + 1, self.durable_seq
        self.recovered_seq = self.durable_seq
        self._clock.raise_to(recovery.newest_order)
        self.journal.recover(
            written_upto=written.upto,
            upto=self.checkpoint.upto,
            beyond=self.checkpoint.beyond,
            passed_over="damaged" if self.segments.first_was_set_aside else "not_noted",
        )
        if recovery.damaged:
            self._report_damaged(recovery.damaged)
        self.checkpoint, recovery = passed_over_done(self.checkpoint, recovery)
        try:
            self.truncate(self.checkpoint)
        except OSError as error:
            _log.warning(
                "checkpoint not written", shard=self.shard, error=str(error), effect="the shard starts all the same"
            )
        return recovery

    def _settle_end(self, *, proven: int) -> None:
        """Make the end of the log durable before it counts: what a later start would read is what this one reads.

        Whole records behind a torn one were never acknowledged, or are all that is left of a damaged group. They are
        appended anew, because their numbers would leave a gap. Raises OSError: a start that went on then would tell of
        rows that a power failure can take away.
        """
        tail = self.segments.tail(proven=proven)
        if tail is None:
            return
        path = str(tail.path)
        if cut := tail.size - tail.end:
            _log.warning("torn end cut off", path=path, size_bytes=cut, last_seq=tail.last_seq, moved=len(tail.strays))
        self.segments.settle(tail)
        self._next_seq, self._synced_seq = tail.last_seq + 1, tail.last_seq
        if tail.strays:
            self.append(tail.strays)
            self.sync()
            self.segments.settle(attrs.evolve(tail, strays=()))  # cuts them off where they were

    def _pass_over(self, letters: Collection[int]) -> None:
        """Count the numbers before the first segment as done with, or as damaged if it was not the first."""
        set_aside, before = self.segments.first_was_set_aside, self.checkpoint
        upto = self.segments.first.first_seq - 1
        self.checkpoint = passed_over(before, upto=upto, letters=letters, first_was_set_aside=set_aside)
        if lost := self.checkpoint.damaged - before.damaged:
            _log.error("logged records damaged", shard=self.shard, records=lost)

    def _report_damaged(self, damaged: tuple[Run, ...]) -> None:
        _log.error("logged records damaged", shard=self.shard, records=size(damaged))
        self.journal.note(Unprovable.noted_now("damaged", damaged))
        self.segments.mark_holding(damaged)

    def append(self, payloads: Sequence[bytes]) -> int:
        """Write the payloads as records; return the first record's sequence number.

        Raises OSError, and InvariantBroken if a number would be given out twice or left out.
        """
        writer = self._writer
        if writer is None or writer.size >= self._segment_max_bytes:
            writer = self._rotate()
        first_seq = self._next_seq
        if first_seq <= self.durable_seq or first_seq != writer.next_seq:
            raise InvariantBroken(
                f"shard {self.shard}: number {first_seq} would follow {writer.next_seq - 1} in its segment, and"
                f" numbers up to {self.durable_seq} are durable"
            )
        writer.write_records(encode_records(first_seq, payloads, proven=self._proven_seq), count=len(payloads))
        self.segments.last.size = writer.size
        self._next_seq += len(payloads)
        return first_seq

    def _rotate(self) -> SegmentWriter:
        after_abandon = self._writer is None and self.generation > 0
        if self._writer is not None:
            self.sync()  # nothing else will sync this segment, unless each group is synced
            self._writer.close()
            self._writer = None
        path = self.segments.next_path()
        try:
            self._writer = SegmentWriter(path, shard=self.shard, first_seq=self._next_seq)
        except OSError:
            self.segments.discard(path)
            raise
        self.segments.add(path, first_seq=self._next_seq, size=self._writer.size)
        if after_abandon:
            self.generation += 1  # a reader may hold records whose numbers are given out again now
        return self._writer

    def cut(self, *, upto: int | None = None) -> int:
        """Have what is appended from now on in another file than all before; return the last number before.

        With ``upto``, only what has a number up to that is kept apart. Raises OSError; then :meth:`abandon` is due.
        """
        last = self._next_seq - 1 if upto is None else upto
        if self.segments and self.segments.last.first_seq <= last:
            self._rotate()
        return last

    def holds_only_beyond(self, seq: int) -> bool:
        """Say whether nothing up to a number is in the log any more, and the checkpoint on disk knows."""
        return (not self.segments or self.segments.first.first_seq > seq) and self._saved_upto >= seq

    def sync(self) -> None:
        """Make the appended records durable. Raises OSError; then :meth:`abandon` is due."""
        if self._writer is not None:
            self._writer.sync()
            self._synced_seq = self._next_seq - 1

    def acknowledge(self) -> None:
        """Count everything appended as durable."""
        self.durable_seq = self._next_seq - 1

    def abandon(self) -> None:
        """Give up the segment after a failed write or sync; numbers that did not become durable are used again.

        The kernel may have dropped pages that a failed sync left dirty, so the file is never trusted again.
        """
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._next_seq = self.durable_seq + 1
        self.generation += 1

    def reopen(self) -> None:
        """Start a segment after :meth:`abandon`, if none was since. Raises OSError if the disk still refuses."""
        if self._writer is None:
            self._rotate()

    def truncate(self, checkpoint: Checkpoint) -> None:
        """Write the journal and the checkpoint, then remove the segments that it makes superfluous. Blocking.

        Raises OSError if one of them cannot be written. The segments are removed all the same, because a full disk
        would never empty otherwise. The journal comes before the checkpoint, so that the next start knows what the
        journal lacks. One that is older than the present one comes too late, and the present one stands.
        """
        with self._truncating:
            newest = max(checkpoint, self.checkpoint, key=lambda one: (one.upto, size(one.beyond)))
            self.checkpoint, self._checkpoint_is_written = newest, False
            try:
                self.journal.write()
                self._write_checkpoint()
            finally:
                self.segments.remove_done(newest.upto, one_by_one=not self._checkpoint_is_written)

    def save(self) -> None:
        """Write the present checkpoint again, which reserves the order of events to come. Blocking; raises OSError."""
        with self._truncating:
            self.journal.write()
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        reserved = self._clock.to_reserve_ns()
        written = attrs.evolve(self.checkpoint, durable=self._proven_seq, order_upto=reserved)
        write_checkpoint(self.directory, written)
        self.checkpoint, self._checkpoint_is_written, self._saved_upto = written, True, written.upto
        self._clock.reserve(reserved)

    def seal(self) -> None:
        """Sync the segment, and note in the checkpoint how far the log is durable: an orderly end. Blocking.

        Without it the next start cannot tell the last group, if it is damaged, from a torn end.
        """
        try:
            self.sync()
            if self._proven_seq != self.checkpoint.durable:
                self.save()
        except OSError as error:
            effect = "the next start takes a damaged end for a torn one"
            _log.warning("log not sealed", shard=self.shard, error=str(error), effect=effect)

    def close(self) -> None:
        """Close the segment; everything acknowledged is already durable."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
