"""The write-ahead log of one shard: a directory of segments with consecutive sequence numbers.

Sequence numbers start at 1 and have no gaps. After a failed write or sync the segment is abandoned and the next one
starts again at the first number that is not durable: **records at or beyond the first number of the following
segment were never acknowledged** and are passed over wherever the log is read.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from zlib import crc32

import attrs

from shards.errors import NotAccepting
from shards.events import head_of
from shards.runs import contains, minus, size
from shards.wal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from shards.wal.files import make_directory, sync_directory, sync_file
from shards.wal.journal import Journal
from shards.wal.reader import LogReader
from shards.wal.record import HEADER_BYTES, encode_records
from shards.wal.segment import SegmentReader, SegmentWriter

_log = logging.getLogger(__name__)

DAMAGED_DIRECTORY = "damaged"


@attrs.define
class _Segment:
    path: Path
    ordinal: int
    first_seq: int
    size: int
    damaged: bool = False


@attrs.frozen(kw_only=True)
class Recovery:
    """What a log holds at the start: ``pending`` records by match, the oldest received at ``oldest_ns`` (0: none).

    ``dead`` are the numbers of records behind the checkpoint that are dead letters.
    """

    pending: Counter[str]
    dead: frozenset[int]
    oldest_ns: int


class ShardLog:
    """One shard's log. Appended to by the committer thread, read and truncated by the shard's flusher."""

    def __init__(self, directory: Path, *, shard: int, segment_max_bytes: int) -> None:
        self.directory = directory
        self.shard = shard
        self.journal = Journal(directory, shard=shard)
        self.generation = 0
        self.checkpoint = Checkpoint()
        self._checkpoint_is_written = False
        self.durable_seq = 0
        self.missing = 0
        self._segment_max_bytes = segment_max_bytes
        self._segments: list[_Segment] = []
        self._lock = threading.Lock()
        self._writer: SegmentWriter | None = None
        self._next_seq = 1
        self._ordinal = 0
        self._first_was_set_aside = False

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        with self._lock:
            return sum(segment.size for segment in self._segments)

    @property
    def segment_count(self) -> int:
        """How many segment files there are."""
        return len(self._segments)

    @property
    def is_saved(self) -> bool:
        """Whether the disk has the checkpoint, and all that was noted in the journal."""
        return self._checkpoint_is_written and self.journal.is_written

    def recover(
        self,
        *,
        letters_after: Callable[[int], Collection[tuple[int, int]]] = lambda seq: (),
        stopping: Callable[[], bool] = lambda: False,
    ) -> Recovery:
        """Read what is there. Blocking; called once, before anything else.

        Raises OSError, and :class:`~shards.errors.NotAccepting` once ``stopping()``: no checkpoint was written then.

        Args:
            letters_after: number and CRC-32 of the dead letters behind a number. A log that is not synced can lose its
                end: a letter of a lost record must not pass for the record that has its number now.
            stopping: whether there is no use in going on.
        """
        make_directory(self.directory)
        written = self.checkpoint = read_checkpoint(self.directory)
        self._segments = self._list_segments()
        letters = letters_after(self.checkpoint.upto)
        if self._segments:
            self._pass_over(upto=self._segments[0].first_seq - 1, letters={seq for seq, _ in letters})
        recovery = self._read_through(letters, stopping)
        self._next_seq = self.durable_seq + 1
        self._sync_last()
        self._report_missing(recovery.pending.total() + len(recovery.dead) + size(self.checkpoint.beyond))
        self.journal.recover(
            written_upto=written.upto,
            upto=self.checkpoint.upto,
            beyond=self.checkpoint.beyond,
            passed_over="damaged" if self._first_was_set_aside else "not_noted",
        )
        try:
            self.truncate(self.checkpoint)
        except OSError as error:
            _log.warning("shard %d: starting, although the checkpoint cannot be written: %s", self.shard, error)
        return recovery

    def _read_through(self, letters: Collection[tuple[int, int]], stopping: Callable[[], bool]) -> Recovery:
        """Read what is behind the checkpoint, and find out up to which number the log is durable."""
        self.durable_seq, beyond = self.checkpoint.upto, self.checkpoint.beyond
        unseen = {seq for seq, _ in letters}
        pending: Counter[str] = Counter()
        dead: set[int] = set()
        oldest_ns = 0
        with closing(LogReader(self, after_seq=self.checkpoint.upto)) as reader:
            while records := reader.read(upto_seq=None, max_rows=4096, max_bytes=4 << 20, but=beyond):
                if stopping() and not self._first_was_set_aside:  # of which only this process knows
                    raise NotAccepting("the service is shutting down")
                self.durable_seq = records[-1].seq
                if letters:
                    unseen.difference_update(record.seq for record in records)
                    dead.update(r.seq for r in records if (r.seq, crc32(r.payload)) in letters)
                    records = [record for record in records if record.seq not in dead]
                heads = [head_of(record.payload) for record in records]
                oldest_ns = oldest_ns or (heads[0].received_ns if heads else 0)
                pending.update(head.match_id for head in heads)
        if self._segments:  # a segment begins behind what was durable, also if that is damaged and nothing follows it
            self.durable_seq = max(self.durable_seq, self._segments[-1].first_seq - 1)
        if beyond:  # the number of a confirmed record is not given out again, also if the log has lost it
            self.durable_seq = max(self.durable_seq, beyond[-1][1])
        # A dead letter is one also where its record is damaged.
        behind = range(self.checkpoint.upto + 1, self.durable_seq + 1)
        dead.update(seq for seq in unseen if seq in behind and not contains(beyond, seq))
        return Recovery(pending=pending, dead=frozenset(dead), oldest_ns=oldest_ns)

    def _list_segments(self) -> list[_Segment]:
        segments: list[_Segment] = []
        paths = sorted(self.directory.glob("*.wal"))
        for path in paths:
            self._ordinal = int(path.stem)
            size = path.stat().st_size
            with SegmentReader(path) as reader:
                first_seq = reader.first_seq
                first = next(reader.records(), None) if first_seq is None else None
            if first_seq is not None:
                segments.append(_Segment(path, self._ordinal, first_seq, size))
            elif first is not None:
                _log.error("%s has a damaged header; its whole records are used, and the file is kept", path)
                # Of the first segment more may be damaged than the header: what nothing says is done with is missing.
                first_seq = first.seq if segments else min(first.seq, self.checkpoint.upto + 1)
                segments.append(_Segment(path, self._ordinal, first_seq, size, damaged=True))
            elif size <= HEADER_BYTES and path == paths[-1]:
                path.unlink()  # created, but the crash came before its header: it never held a record
            else:
                _log.error("%s is damaged from its start; the file is kept in %s", path, self._set_aside(path))
                self._first_was_set_aside = self._first_was_set_aside or not segments
        return segments

    def _pass_over(self, *, upto: int, letters: Collection[int]) -> None:
        """Count numbers before the first segment as done with, or as damaged if a segment before it was set aside.

        Segments go only when every record in them is done with, also when no checkpoint could be written. Of those in
        one that was set aside the confirmed and the dead ``letters`` are done with all the same.
        """
        old = self.checkpoint
        if upto <= old.upto:
            return
        beyond = minus(old.beyond, ((1, upto),))
        known = size(old.beyond) - size(beyond) + sum(old.upto < seq <= upto for seq in letters)
        lost = upto - old.upto - known if self._first_was_set_aside else 0
        if lost:
            _log.error("shard %d: %d logged records are damaged and cannot be read back", self.shard, lost)
        self.checkpoint = attrs.evolve(old, upto=upto, damaged=old.damaged + lost, beyond=beyond)

    def _sync_last(self) -> None:
        """Make durable what was read at the end: a crash may have come before the sync, and it counts from now on."""
        if self._segments:
            sync_file(self._segments[-1].path)

    def _report_missing(self, found: int) -> None:
        self.missing = self.durable_seq - self.checkpoint.upto - found
        if self.missing:
            _log.error("shard %d: %d logged records are damaged and cannot be read back", self.shard, self.missing)

    def append(self, payloads: Sequence[bytes]) -> int:
        """Write the payloads as records; return the first one's sequence number. Raises OSError."""
        writer = self._writer
        if writer is None or writer.size >= self._segment_max_bytes:
            writer = self._rotate()
        first_seq = self._next_seq
        writer.append(encode_records(first_seq, payloads))
        self._segments[-1].size = writer.size
        self._next_seq += len(payloads)
        return first_seq

    def _rotate(self) -> SegmentWriter:
        after_abandon = self._writer is None and self.generation > 0
        if self._writer is not None:
            self._writer.sync()  # without a sync before each reply nothing else would ever sync this segment
            self._writer.close()
            self._writer = None
        self._ordinal += 1  # even if the file cannot be made: what is left of it must not be in the way
        path = self.directory / f"{self._ordinal:012d}.wal"
        self._writer = SegmentWriter(path, shard=self.shard, first_seq=self._next_seq)
        with self._lock:
            self._segments.append(_Segment(path, self._ordinal, self._next_seq, self._writer.size))
        if after_abandon:
            self.generation += 1  # who read on meanwhile may hold records whose numbers are given out again now
        return self._writer

    def sync(self) -> None:
        """Make durable what was appended. Raises OSError; then :meth:`abandon` is due."""
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
        """Start a segment after :meth:`abandon`, if none was started since. Raises OSError: the disk still refuses."""
        if self._writer is None:
            self._rotate()

    def segment_of(self, seq: int) -> tuple[Path, int] | None:
        """Return path and ordinal of the segment that holds a number, or else of the first one."""
        with self._lock:
            holding = [segment for segment in self._segments if segment.first_seq <= seq][-1:]
            found = holding or self._segments[:1]
            return (found[0].path, found[0].ordinal) if found else None

    def following(self, ordinal: int) -> tuple[Path, int, int] | None:
        """Return path, ordinal and first sequence number of the segment after another one."""
        with self._lock:
            for segment in self._segments:
                if segment.ordinal > ordinal:
                    return segment.path, segment.ordinal, segment.first_seq
            return None

    def mark_damaged(self, ordinal: int) -> None:
        """Remember that a segment has damage in its middle: it will be kept, not deleted."""
        with self._lock:
            for segment in self._segments:
                segment.damaged = segment.damaged or segment.ordinal == ordinal

    def truncate(self, checkpoint: Checkpoint) -> None:
        """Write the journal and the checkpoint, then remove the segments that it makes superfluous. Blocking.

        Raises OSError when one of them cannot be written; the segments go all the same, or a full disk would never
        empty. A checkpoint is written only behind the journal: so the next start knows what is missing there.
        """
        self.checkpoint, self._checkpoint_is_written = checkpoint, False
        try:
            self.journal.write()
            write_checkpoint(self.directory, checkpoint)
            self._checkpoint_is_written = True
        finally:
            self._remove_done(checkpoint.upto)

    def _remove_done(self, upto: int) -> None:
        """Remove segments from the oldest on. One that cannot be removed is tried again the next time."""
        while len(self._segments) > 1 and self._segments[1].first_seq <= upto + 1:
            segment = self._segments[0]
            if segment.damaged:
                self._set_aside(segment.path)
            else:
                segment.path.unlink(missing_ok=True)
            with self._lock:
                self._segments.pop(0)

    def _set_aside(self, path: Path) -> Path:
        kept = self.directory / DAMAGED_DIRECTORY
        make_directory(kept)
        target = kept / f"{path.stem}-{os.urandom(4).hex()}.wal"
        path.replace(target)
        sync_directory(kept)
        return target

    def close(self) -> None:
        """Close the segment; everything acknowledged is already durable."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
