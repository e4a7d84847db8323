"""The write-ahead log of one shard: a directory of segments with consecutive sequence numbers.

Sequence numbers start at 1 and have no gaps. After a failed write or sync the segment is abandoned, and the next one
starts again at the first number that is not durable: **records at or beyond the first number of the following
segment were never acknowledged** and are passed over wherever the log is read.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from zlib import crc32

import attrs

from shards.errors import InvariantBroken, NotAccepting
from shards.events import head_of
from shards.logger import get_logger
from shards.runs import Run, contains, minus, runs_of, size, union
from shards.wal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from shards.wal.files import make_directory
from shards.wal.journal import Journal, Unprovable
from shards.wal.reader import LogReader
from shards.wal.record import Record, encode_records
from shards.wal.segment import SegmentWriter
from shards.wal.segments import SegmentList

_log = get_logger(__name__)


@attrs.frozen(kw_only=True)
class Recovery:
    """Contents of a log behind its checkpoint at the start; each number is confirmed or in exactly one of three sets.

    Attributes:
        pending: count of records by match.
        dead: numbers of records that are dead letters.
        damaged: numbers of records that the disk has lost.
        oldest_ns: receipt of the oldest pending record, ns since the epoch; 0: there is none.
    """

    pending: Counter[str]
    dead: frozenset[int]
    damaged: tuple[Run, ...]
    oldest_ns: int


@attrs.define
class _Found:
    """Records read back so far: ``numbers`` of all of them; the rest as in :class:`Recovery`."""

    numbers: tuple[Run, ...] = ()
    pending: Counter[str] = attrs.field(factory=Counter)
    dead: set[int] = attrs.field(factory=set)
    oldest_ns: int = 0

    def add(self, records: Sequence[Record], letters: Collection[tuple[int, int]]) -> None:
        """Take in the next records; ``letters`` are number and CRC-32 of every dead letter."""
        self.numbers = union((*self.numbers, *runs_of([record.seq for record in records])))
        self.dead |= _dead_among(records, letters)
        heads = [head_of(record.payload) for record in records if record.seq not in self.dead]
        if heads and not self.oldest_ns:
            self.oldest_ns = heads[0].received_ns
        self.pending.update(head.match_id for head in heads)


def _dead_among(records: Sequence[Record], letters: Collection[tuple[int, int]]) -> set[int]:
    """Return the numbers of the records that are dead letters; the CRC-32 counts because numbers may come again."""
    return {record.seq for record in records if (record.seq, crc32(record.payload)) in letters} if letters else set()


class ShardLog:
    """One shard's log. The committer thread appends to it; the shard's flusher reads and truncates it."""

    def __init__(self, directory: Path, *, shard: int, segment_max_bytes: int) -> None:
        self.directory = directory
        self.shard = shard
        self.segments = SegmentList(directory)
        self.journal = Journal(directory, shard=shard)
        self.generation = 0
        self.checkpoint = Checkpoint()
        self.durable_seq = 0
        self._checkpoint_is_written = False
        self._truncating = threading.Lock()
        self._segment_max_bytes = segment_max_bytes
        self._writer: SegmentWriter | None = None
        self._next_seq = 1

    @property
    def is_saved(self) -> bool:
        """Whether the checkpoint and everything noted in the journal are on disk."""
        return self._checkpoint_is_written and self.journal.is_written

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
        self.segments.recover(done_upto=written.upto)
        letters = letters_after(written.upto)
        if self.segments:
            self._pass_over(upto=self.segments.first.first_seq - 1, letters={seq for seq, _ in letters})
        recovery = self._read_through(letters, stopping)
        self._next_seq = self.durable_seq + 1
        self.segments.sync_last()
        self.journal.recover(
            written_upto=written.upto,
            upto=self.checkpoint.upto,
            beyond=self.checkpoint.beyond,
            passed_over="damaged" if self.segments.first_was_set_aside else "not_noted",
        )
        if recovery.damaged:
            self._report_damaged(recovery.damaged)
        recovery = self._pass_over_done(recovery)
        try:
            self.truncate(self.checkpoint)
        except OSError as error:
            _log.warning(
                "checkpoint not written", shard=self.shard, error=str(error), effect="the shard starts all the same"
            )
        return recovery

    def _read_through(self, letters: Collection[tuple[int, int]], stopping: Callable[[], bool]) -> Recovery:
        """Read the records behind the checkpoint, and find the number up to which the log is durable."""
        self.durable_seq, beyond = self.checkpoint.upto, self.checkpoint.beyond
        found = _Found()
        with closing(LogReader(self, after_seq=self.checkpoint.upto)) as reader:
            while records := reader.read(upto_seq=None, max_rows=4096, max_bytes=4 << 20, but=beyond):
                if stopping() and not self.segments.first_was_set_aside:  # which the next start would not know
                    raise NotAccepting("the service is shutting down")
                self.durable_seq = records[-1].seq
                found.add(records, letters)
        if self.segments:  # numbers before a segment were durable, even if their records are damaged
            self.durable_seq = max(self.durable_seq, self.segments.last.first_seq - 1)
        if beyond:  # a confirmed number is not given out again, even if the log has lost its record
            self.durable_seq = max(self.durable_seq, beyond[-1][1])
        lost = minus(((self.checkpoint.upto + 1, self.durable_seq),), union((*found.numbers, *beyond)))
        # A dead letter stays one even if its record is damaged.
        dead_and_lost = [seq for seq, _ in letters if contains(lost, seq)]
        return Recovery(
            pending=found.pending,
            dead=frozenset(found.dead.union(dead_and_lost)),
            damaged=minus(lost, runs_of(dead_and_lost)),
            oldest_ns=found.oldest_ns,
        )

    def _pass_over(self, *, upto: int, letters: Collection[int]) -> None:
        """Count the numbers up to ``upto``, which lie before the first segment, as done with.

        A segment is removed only when every record in it is done with, even if no checkpoint could be written. If the
        oldest file was set aside, numbers that are neither confirmed nor dead ``letters`` count as damaged.
        """
        old = self.checkpoint
        if upto <= old.upto:
            return
        beyond = minus(old.beyond, ((1, upto),))
        dead = sum(old.upto < seq <= upto for seq in letters)
        unknown = upto - old.upto - (size(old.beyond) - size(beyond)) - dead
        lost = unknown if self.segments.first_was_set_aside else 0
        if lost:
            _log.error("logged records damaged", shard=self.shard, records=lost)
        self.checkpoint = Checkpoint(
            upto=upto,
            confirmed=None if old.confirmed is None else old.confirmed + upto - old.upto - dead - lost,
            dead_lettered=old.dead_lettered + dead,
            damaged=old.damaged + lost,
            beyond=beyond,
        )

    def _report_damaged(self, damaged: tuple[Run, ...]) -> None:
        _log.error("logged records damaged", shard=self.shard, records=size(damaged))
        self.journal.note(Unprovable.noted_now("damaged", damaged))
        self.segments.mark_holding(damaged)

    def _pass_over_done(self, recovery: Recovery) -> Recovery:
        """Move the checkpoint over numbers right behind it that are done with or damaged; return what is left.

        Without this the next start would take damaged numbers for confirmed, because their segment may be gone by then.
        """
        old = self.checkpoint
        done = union((*old.beyond, *runs_of(tuple(recovery.dead)), *recovery.damaged))
        if not done or done[0][0] != old.upto + 1:
            return recovery
        passed = done[:1]
        beyond, damaged = minus(old.beyond, passed), minus(recovery.damaged, passed)
        dead = frozenset(seq for seq in recovery.dead if not contains(passed, seq))
        self.checkpoint = Checkpoint(
            upto=passed[0][1],
            confirmed=None if old.confirmed is None else old.confirmed + size(old.beyond) - size(beyond),
            dead_lettered=old.dead_lettered + len(recovery.dead) - len(dead),
            damaged=old.damaged + size(recovery.damaged) - size(damaged),
            beyond=beyond,
        )
        return attrs.evolve(recovery, dead=dead, damaged=damaged)

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
        writer.write_records(encode_records(first_seq, payloads), count=len(payloads))
        self.segments.last.size = writer.size
        self._next_seq += len(payloads)
        return first_seq

    def _rotate(self) -> SegmentWriter:
        after_abandon = self._writer is None and self.generation > 0
        if self._writer is not None:
            self._writer.sync()  # nothing else will sync this segment, unless each group is synced
            self._writer.close()
            self._writer = None
        path = self.segments.next_path()
        self._writer = SegmentWriter(path, shard=self.shard, first_seq=self._next_seq)
        self.segments.add(path, first_seq=self._next_seq, size=self._writer.size)
        if after_abandon:
            self.generation += 1  # a reader may hold records whose numbers are given out again now
        return self._writer

    def sync(self) -> None:
        """Make the appended records durable. Raises OSError; then :meth:`abandon` is due."""
        if self._writer is not None:
            self._writer.sync()

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
                write_checkpoint(self.directory, newest)
                self._checkpoint_is_written = True
            finally:
                self.segments.remove_done(newest.upto)

    def close(self) -> None:
        """Close the segment; everything acknowledged is already durable."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
