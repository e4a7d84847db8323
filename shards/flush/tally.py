"""What a shard has sent, and what became of its rows: each term of the accounting, counted by itself."""

from collections.abc import Sequence

import attrs

from shards.runs import Run, both, minus, size, union
from shards.wal.checkpoint import Checkpoint


@attrs.frozen
class Attempt:
    """Rows that were sent under one batch number; ``sample`` is one of them."""

    number: int
    seqs: Sequence[int]
    sample: bytes


@attrs.define(kw_only=True)
class Tally:
    """What became of a shard's rows so far. Whatever is *beyond* lies behind the checkpoint: the log still holds it.

    Attributes:
        confirmed: rows that the ledger has shown.
        dead_lettered: rows that were put aside, also those that were settled by hand since.
        damaged: rows that the disk has lost.
        confirmed_beyond: numbers of confirmed rows.
        dead: numbers of all dead letters, wherever they lie.
        dead_beyond: those of them behind the checkpoint.
        damaged_beyond: numbers of damaged rows.
    """

    confirmed: int
    dead_lettered: int
    damaged: int
    confirmed_beyond: tuple[Run, ...]
    dead: set[int]
    dead_beyond: set[int]
    damaged_beyond: tuple[Run, ...]

    def note_confirmed(self, runs: Sequence[Run], *, rows: int) -> None:
        """Count rows that the ledger has shown, and that were pending until now."""
        self.confirmed += rows
        self.confirmed_beyond = union((*self.confirmed_beyond, *runs))

    def note_dead(self, seq: int) -> None:
        """Count a row that was put aside."""
        self.dead.add(seq)
        self.dead_beyond.add(seq)
        self.dead_lettered += 1

    def note_damaged(self, runs: Sequence[Run]) -> None:
        """Count rows that were in the log at its recovery and cannot be read any more."""
        self.damaged += size(runs)
        self.damaged_beyond = union((*self.damaged_beyond, *runs))

    def checkpoint(self, old: Checkpoint, *, upto: int) -> Checkpoint:
        """Return the checkpoint up to which all is done with; :meth:`pass_over` follows."""
        passed: tuple[Run, ...] = ((1, upto),)
        beyond = minus(self.confirmed_beyond, passed)
        return Checkpoint(
            upto=upto,
            confirmed=self.confirmed - size(beyond),
            dead_lettered=old.dead_lettered + sum(seq <= upto for seq in self.dead_beyond),
            damaged=old.damaged + size(both(self.damaged_beyond, passed)),
            beyond=beyond,
        )

    def pass_over(self, upto: int) -> None:
        """Keep only what lies behind a checkpoint, which tells of the others by number."""
        passed: tuple[Run, ...] = ((1, upto),)
        self.confirmed_beyond = minus(self.confirmed_beyond, passed)
        self.damaged_beyond = minus(self.damaged_beyond, passed)
        self.dead_beyond = {seq for seq in self.dead_beyond if seq > upto}
