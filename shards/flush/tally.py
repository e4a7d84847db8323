"""The tally of what became of a shard's rows: each term of the accounting, counted by itself."""

from collections.abc import Sequence
from time import monotonic

import attrs

from shards.runs import Run, both, joined, minus, size, union
from shards.wal.checkpoint import Checkpoint


@attrs.frozen
class Attempt:
    """Rows that were sent under one batch number; ``sample`` is one of them."""

    number: int
    seqs: Sequence[int]
    sample: bytes


@attrs.define(kw_only=True)
class Tally:
    """Counts of what became of a shard's rows so far. *Beyond*: behind the checkpoint, where the log still has them.

    Attributes:
        confirmed: rows that the ledger has shown.
        dead_lettered: rows that were put aside, including those settled by hand since.
        damaged: rows that the disk has lost.
        erased: rows that were erased with their match before they were stored.
        confirmed_beyond: numbers of the confirmed rows behind the checkpoint.
        dead: numbers of all dead letters, before and behind it.
        dead_beyond: numbers of the dead letters behind it.
        damaged_beyond: numbers of the damaged rows behind it.
        erased_beyond: numbers of the erased rows behind it.
        moved_at: when a row was last counted here, on the monotonic clock; at first, when the tally was made.
    """

    confirmed: int = 0
    dead_lettered: int = 0
    damaged: int = 0
    erased: int = 0
    confirmed_beyond: tuple[Run, ...] = ()
    dead: set[int] = attrs.field(factory=set)
    dead_beyond: set[int] = attrs.field(factory=set)
    damaged_beyond: tuple[Run, ...] = ()
    erased_beyond: tuple[Run, ...] = ()
    moved_at: float = attrs.field(factory=monotonic, init=False)

    def note_confirmed(self, runs: Sequence[Run], *, rows: int) -> None:
        """Count rows that were pending until now and that the ledger shows."""
        self.confirmed += rows
        self.confirmed_beyond = union((*self.confirmed_beyond, *runs))
        self.moved_at = monotonic()

    def note_dead(self, seq: int) -> None:
        """Count a row that was put aside."""
        self.dead.add(seq)
        self.dead_beyond.add(seq)
        self.dead_lettered += 1
        self.moved_at = monotonic()

    def note_damaged(self, runs: Sequence[Run]) -> None:
        """Count rows that were in the log at its recovery and cannot be read any more."""
        self.damaged += size(runs)
        self.damaged_beyond = union((*self.damaged_beyond, *runs))
        self.moved_at = monotonic()

    def note_erased(self, runs: Sequence[Run]) -> None:
        """Count rows that were pending until now and were erased with their match."""
        self.erased += size(runs)
        self.erased_beyond = joined(self.erased_beyond, tuple(runs))
        self.moved_at = monotonic()

    def checkpoint(self, old: Checkpoint, *, upto: int) -> Checkpoint:
        """Return the checkpoint at ``upto``, up to which all is done with; :meth:`pass_over` may follow.

        ``old`` is the checkpoint before it, whose counts it takes over.
        """
        beyond = minus(self.confirmed_beyond, ((1, upto),))
        return attrs.evolve(
            old,
            upto=upto,
            confirmed=self.confirmed - size(beyond),
            dead_lettered=old.dead_lettered + sum(old.upto < seq <= upto for seq in self.dead_beyond),
            damaged=old.damaged + size(both(self.damaged_beyond, ((old.upto + 1, upto),))),
            erased=old.erased + size(both(self.erased_beyond, ((old.upto + 1, upto),))),
            beyond=beyond,
        )

    def pass_over(self, upto: int) -> None:
        """Keep only the numbers behind a checkpoint, because it holds the counts of the others."""
        passed: tuple[Run, ...] = ((1, upto),)
        self.confirmed_beyond = minus(self.confirmed_beyond, passed)
        self.damaged_beyond = minus(self.damaged_beyond, passed)
        self.erased_beyond = minus(self.erased_beyond, passed)
        self.dead_beyond = {seq for seq in self.dead_beyond if seq > upto}
