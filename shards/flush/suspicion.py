"""Rows that fail alone, and the rule by which the row itself is at fault: ADR-010 has it as a table."""

from collections.abc import Iterable, Sequence

import attrs

from shards.errors import RowsRefused, StoreBusy, StoreError, StoreFailed
from shards.flush.tally import Tally

LONE_FAILURES_MAX = 8
"""Failures alone, one after the other, after which the rest of an attempt is not tried: the cause may lie elsewhere."""


UNKNOWN_FAILURES = 10
"""Failures alone, with other rows stored in between, before a row becomes a dead letter when its error does not blame
it."""


@attrs.frozen
class Stuck:
    """Rows that failed alone and stay pending; ``error`` is that of the last one.

    OSError: the row is at fault, but its dead letter cannot be written.
    """

    seqs: Sequence[int]
    error: StoreError | OSError


@attrs.frozen
class Failure:
    """A row that failed in an attempt of its own, and ClickHouse's error."""

    seq: int
    error: RowsRefused | StoreFailed


@attrs.define
class Suspicion:
    """Failures of a row alone while others got in, by kind of error.

    ``confirmed`` is the shard's count of confirmed rows at the last of them.
    """

    confirmed: int
    refused: int = 0
    failed: int = 0


@attrs.define(kw_only=True)
class Bisection:
    """Outcome of one delivery: rows confirmed, rows that failed alone, and how many in succession failed in vain."""

    replayed: bool
    split_unknown: bool
    confirmed: int = 0
    failures: list[Failure] = attrs.Factory(list)
    in_vain: int = 0

    @property
    def hopeless(self) -> bool:
        """Whether the cause may lie elsewhere, because too many failed alone one after the other.

        Refused rows do not count once others have got in, because their errors blame them.
        """
        return self.in_vain >= LONE_FAILURES_MAX

    def note_success(self, rows: int) -> None:
        """Count rows that were confirmed."""
        self.confirmed += rows
        self.in_vain = 0

    def note_lone_failure(self, failure: Failure) -> None:
        """Note a row that failed in an attempt of its own."""
        self.failures.append(failure)
        if not self.confirmed or isinstance(failure.error, StoreFailed):
            self.in_vain += 1


class Suspicions:
    """The rows of one shard that failed alone, until they are confirmed or dead letters.

    Args:
        tally: the shard's; it tells whether other rows were confirmed meanwhile.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._by_seq: dict[int, Suspicion] = {}

    def suspect(self, failure: Failure, *, others_confirmed: bool) -> None:
        """Count a row's failure alone, if other rows were confirmed since its last one.

        If none was, the cause may lie elsewhere: perhaps no row can meet a constraint.
        """
        confirmed = self._tally.confirmed
        suspicion = self._by_seq.setdefault(failure.seq, Suspicion(confirmed))
        if others_confirmed or confirmed > suspicion.confirmed:
            suspicion.confirmed = confirmed
            if isinstance(failure.error, RowsRefused):
                suspicion.refused += 1
            else:
                suspicion.failed += 1

    def is_at_fault(self, failure: Failure) -> bool:
        """Say whether the row itself must be at fault, because it failed as often as its error demands."""
        suspicion = self._by_seq[failure.seq]
        if isinstance(failure.error, RowsRefused):
            return suspicion.refused > 0
        return suspicion.failed >= UNKNOWN_FAILURES and not isinstance(failure.error, StoreBusy)

    def forget(self, seqs: Iterable[int]) -> None:
        """Forget the failures of rows that are done with."""
        if self._by_seq:
            for seq in seqs:
                self._by_seq.pop(seq, None)
