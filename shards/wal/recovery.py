"""Recovery of one shard's log: what its records and its checkpoint say together."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing

import attrs

from shards.errors import NotAccepting
from shards.events import head_of, letter_crc, stamps_of
from shards.runs import Run, contains, minus, runs_of, size, union
from shards.wal.checkpoint import Checkpoint
from shards.wal.reader import LogReader, ReadableLog
from shards.wal.record import Record


@attrs.frozen(kw_only=True)
class Recovery:
    """Contents of a log behind its checkpoint at the start; each number is confirmed or in exactly one of three sets.

    Attributes:
        pending: count of records by match.
        dead: numbers of records that are dead letters.
        damaged: numbers of records that the disk has lost.
        oldest_ns: receipt of the oldest pending record, ns since the epoch; 0: there is none.
        newest_order: largest order of a record, ns since the epoch; 0: there is none.
    """

    pending: Counter[str]
    dead: frozenset[int]
    damaged: tuple[Run, ...]
    oldest_ns: int
    newest_order: int


@attrs.define
class _Found:
    """Records read back so far: ``numbers`` of all of them; the rest as in :class:`Recovery`."""

    numbers: tuple[Run, ...] = ()
    pending: Counter[str] = attrs.field(factory=Counter)
    dead: set[int] = attrs.field(factory=set)
    oldest_ns: int = 0
    newest_order: int = 0

    def add(self, records: Sequence[Record], letters: Collection[tuple[int, int]]) -> None:
        """Take in the next records; ``letters`` are number and CRC-32 of every dead letter."""
        self.numbers = union((*self.numbers, *runs_of([record.seq for record in records])))
        self.dead |= _dead_among(records, letters)
        heads = [head_of(record.payload) for record in records if record.seq not in self.dead]
        if heads and not self.oldest_ns:
            self.oldest_ns = heads[0].received_ns
        self.newest_order = max(self.newest_order, *(stamps_of(record.payload)[1] for record in records))
        self.pending.update(head.match_id for head in heads)


def _dead_among(records: Sequence[Record], letters: Collection[tuple[int, int]]) -> set[int]:
    """Return the numbers of the records that are dead letters; the CRC-32 counts because numbers may come again."""
    return (
        {record.seq for record in records if (record.seq, letter_crc(record.payload)) in letters} if letters else set()
    )


def read_through(
    log: ReadableLog, checkpoint: Checkpoint, letters: Collection[tuple[int, int]], stopping: Callable[[], bool]
) -> tuple[int, Recovery]:
    """Read the records behind a checkpoint; return the number up to which the log is durable, and what was found.

    Blocking. Raises OSError, and :class:`~shards.errors.NotAccepting` once ``stopping()``.

    Args:
        log: its end is durable.
        checkpoint: what is done with.
        letters: number and CRC-32 (:func:`~shards.events.letter_crc`) of the dead letters behind it.
        stopping: whether to break off.
    """
    durable_seq, beyond = checkpoint.upto, checkpoint.beyond
    found = _Found()
    with closing(LogReader(log, after_seq=checkpoint.upto)) as reader:
        while records := reader.read(upto_seq=None, max_rows=4096, max_bytes=4 << 20, but=beyond):
            if stopping() and not log.segments.first_was_set_aside:  # which the next start would not know
                raise NotAccepting("the service is shutting down")
            durable_seq = records[-1].seq
            found.add(records, letters)
    if log.segments:  # numbers before a segment were durable, even if their records are damaged
        durable_seq = max(durable_seq, log.segments.last.first_seq - 1)
    # A number that was durable is not given out again, even if the log has lost its record.
    durable_seq = max(durable_seq, checkpoint.proven)
    lost = minus(((checkpoint.upto + 1, durable_seq),), union((*found.numbers, *beyond)))
    # A dead letter stays one even if its record is damaged.
    dead_and_lost = [seq for seq, _ in letters if contains(lost, seq)]
    return durable_seq, Recovery(
        pending=found.pending,
        dead=frozenset(found.dead.union(dead_and_lost)),
        damaged=minus(lost, runs_of(dead_and_lost)),
        oldest_ns=found.oldest_ns,
        newest_order=found.newest_order,
    )


def passed_over(old: Checkpoint, *, upto: int, letters: Collection[int], first_was_set_aside: bool) -> Checkpoint:
    """Return the checkpoint with the numbers up to ``upto``, which lie before the first segment, as done with.

    A segment is removed only when every record in it is done with, even if no checkpoint could be written. If the
    oldest file was set aside, numbers that are neither confirmed nor dead ``letters`` count as damaged.
    """
    if upto <= old.upto:
        return old
    beyond = minus(old.beyond, ((1, upto),))
    dead = sum(old.upto < seq <= upto for seq in letters)
    unknown = upto - old.upto - (size(old.beyond) - size(beyond)) - dead
    lost = unknown if first_was_set_aside else 0
    return attrs.evolve(
        old,
        upto=upto,
        confirmed=None if old.confirmed is None else old.confirmed + upto - old.upto - dead - lost,
        dead_lettered=old.dead_lettered + dead,
        damaged=old.damaged + lost,
        beyond=beyond,
    )


def passed_over_done(old: Checkpoint, recovery: Recovery) -> tuple[Checkpoint, Recovery]:
    """Return the checkpoint moved over numbers right behind it that are done with or damaged, and what is left.

    Without this the next start would take damaged numbers for confirmed, because their segment may be gone by then.
    """
    done = union((*old.beyond, *runs_of(tuple(recovery.dead)), *recovery.damaged))
    if not done or done[0][0] != old.upto + 1:
        return old, recovery
    passed = done[:1]
    beyond, damaged = minus(old.beyond, passed), minus(recovery.damaged, passed)
    dead = frozenset(seq for seq in recovery.dead if not contains(passed, seq))
    checkpoint = attrs.evolve(
        old,
        upto=passed[0][1],
        confirmed=None if old.confirmed is None else old.confirmed + size(old.beyond) - size(beyond),
        dead_lettered=old.dead_lettered + len(recovery.dead) - len(dead),
        damaged=old.damaged + size(recovery.damaged) - size(damaged),
        beyond=beyond,
    )
    return checkpoint, attrs.evolve(recovery, dead=dead, damaged=damaged)
