"""The accounting, checked against ClickHouse: every row up to a checkpoint is shown to be where it should be.

The books name, for each sequence number, the attempt that brought it into ClickHouse, or the reason why none did. The
evidence is what ClickHouse shows of these attempts now. Any whole attempt covers a row; after a crash it may have two.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import attrs

from shards.audit.evidence import Evidence, FoundRows
from shards.runs import Run, both, minus, size, union
from shards.wal.journal import Confirmed, Entry, Reason, Unprovable

RUNS_NAMED = 3
_RETENTION_MARGIN_S = 86_400
_REASONS: tuple[Reason, ...] = ("damaged", "erased", "expired", "no_journal", "not_noted")

DifferenceKind = Literal["ledger", "events", "journal"]
Verdict = Literal["whole", "different", "incomplete"]


@attrs.frozen(kw_only=True)
class Books:
    """A shard's own account: its journal, its dead letters, and ``upto``, up to which all is done with."""

    shard: int
    appended: int
    upto: int
    dead: Collection[int]
    entries: Sequence[Entry]

    @property
    def confirmed(self) -> Iterator[Confirmed]:
        """Attempts that can be checked."""
        return (entry for entry in self.entries if isinstance(entry, Confirmed))


@attrs.frozen(kw_only=True)
class Difference:
    """Rows of one shard that are not where they should be; ``text`` is the sentence that says so.

    Kinds: ``ledger``, the ledger does not show an attempt whole; ``events``, the ledger does, but the table holds none
    of its rows; ``journal``, the journal names no attempt.
    """

    kind: DifferenceKind
    shard: int
    runs: tuple[Run, ...]
    text: str

    @property
    def rows(self) -> int:
        """Count of the rows."""
        return size(self.runs)


@attrs.frozen(kw_only=True)
class ShardAccount:
    """``upto`` = ``confirmed`` + ``dead_lettered`` + what is ``unprovable``, by reason, + ``missing``.

    ``dead_lettered`` includes letters settled by hand. Rows beyond ``upto`` are in the log.
    """

    shard: int
    appended: int
    upto: int
    confirmed: int
    dead_lettered: int
    unprovable: Mapping[Reason, int]
    missing: int


@attrs.frozen(kw_only=True)
class Audit:
    """The outcome. ``ledger_rows`` are rows of the books that the ledger shows, ``events_rows`` those in ``events``.

    Fewer ``events_rows`` are no fault, because only one copy of an event stays. None: ``events`` could not be read,
    for the reason ``events_error``.
    """

    at: datetime
    shards: tuple[ShardAccount, ...]
    differences: tuple[Difference, ...]
    ledger_rows: int
    events_rows: int | None
    events_error: str

    @property
    def verdict(self) -> Verdict:
        """``different`` if anything differs, else ``incomplete`` if ``events`` could not be read, else ``whole``."""
        if self.differences:
            return "different"
        return "incomplete" if self.events_rows is None else "whole"


def audit(books: Sequence[Books], evidence: Evidence, *, retention_days: int) -> Audit:
    """Compare the books with the evidence, whose indexes count the attempts of all books in their order.

    Args:
        books: one a shard.
        evidence: what was gathered for them.
        retention_days: how long ``events`` keeps rows after their receipt; 0: for ever.
    """
    accounts: list[ShardAccount] = []
    differences: list[Difference] = []
    index = 0
    for book in books:
        attempts = dict(enumerate(book.confirmed, index))
        index += len(attempts)
        whole = {
            i: attempt for i, attempt in attempts.items() if _is_whole(attempt, evidence.ledger.get(i, FoundRows()))
        }
        account, left = _account(book, whole.values())
        accounts.append(account)
        differences += _ledger_differences(book, attempts, left, evidence)
        differences += _journal_differences(book, left)
        differences += _events_differences(book, whole, evidence, retention_days)
    return Audit(
        at=datetime.now(UTC),
        shards=tuple(accounts),
        differences=tuple(differences),
        ledger_rows=sum(found.rows for found in evidence.ledger.values()),
        events_rows=None if evidence.events is None else sum(found.rows for found in evidence.events.values()),
        events_error=evidence.error,
    )


def _is_whole(attempt: Confirmed, found: FoundRows) -> bool:
    return found == FoundRows(attempt.last_batch - attempt.first_batch + 1, attempt.rows)


def _account(book: Books, whole: Iterable[Confirmed]) -> tuple[ShardAccount, tuple[Run, ...]]:
    """Return the account, and the rows that nothing covers."""
    left: tuple[Run, ...] = ((1, book.upto),) if book.upto else ()

    def covered(runs: Iterable[Run]) -> int:
        nonlocal left
        before, left = left, minus(left, union(runs))
        return size(before) - size(left)

    confirmed = covered(run for attempt in whole for run in attempt.runs)
    dead_lettered = covered((seq, seq) for seq in book.dead)
    unprovable = {
        reason: covered(run for e in book.entries if isinstance(e, Unprovable) and e.reason == reason for run in e.runs)
        for reason in _REASONS
    }
    account = ShardAccount(
        shard=book.shard,
        appended=book.appended,
        upto=book.upto,
        confirmed=confirmed,
        dead_lettered=dead_lettered,
        unprovable=unprovable,
        missing=size(left),
    )
    return account, left


def _ledger_differences(
    book: Books, attempts: Mapping[int, Confirmed], left: tuple[Run, ...], evidence: Evidence
) -> Iterator[Difference]:
    for index, attempt in attempts.items():
        if runs := both(attempt.runs, left):
            found = evidence.ledger.get(index, FoundRows()).rows
            text = (
                f"shard {book.shard}: {_named(runs)}, {_batches(attempt)} of writer {attempt.writer}: "
                f"{attempt.rows:,} sent, the ledger shows {found:,}"
            )
            yield Difference(kind="ledger", shard=book.shard, runs=runs, text=text)


def _journal_differences(book: Books, left: tuple[Run, ...]) -> Iterator[Difference]:
    noted = union(run for attempt in book.confirmed for run in attempt.runs)
    if runs := minus(left, noted):
        text = f"shard {book.shard}: {_named(runs)}: counted as done with, but the journal names no attempt"
        yield Difference(kind="journal", shard=book.shard, runs=runs, text=text)


def _events_differences(
    book: Books, whole: Mapping[int, Confirmed], evidence: Evidence, retention_days: int
) -> Iterator[Difference]:
    """Yield, per month of receipt (a partition), a difference if attempts left no trace in ``events``."""
    if evidence.events is None:
        return
    kept_since_s = time.time() - retention_days * 86_400 + _RETENTION_MARGIN_S if retention_days else 0
    gone: dict[str, list[Confirmed]] = {}
    expected = evidence.samples | {""}  # of an attempt whose sample was erased with its match nothing can be expected
    for index, attempt in whole.items():
        there = index in evidence.events or attempt.event_id in expected
        if not there and attempt.received_s >= kept_since_s:
            gone.setdefault(f"{datetime.fromtimestamp(attempt.received_s, UTC):%Y%m}", []).append(attempt)
    for month, attempts in sorted(gone.items()):
        runs = union(run for attempt in attempts for run in attempt.runs)
        text = (
            f"shard {book.shard}: {_named(runs)}, received in {month}: the ledger shows them, the table events holds "
            "none of them, nor copies (TRUNCATE, DROP PARTITION, or DELETE by hand)"
        )
        yield Difference(kind="events", shard=book.shard, runs=runs, text=text)


def _named(runs: Sequence[Run]) -> str:
    parts = [f"{first:,} to {last:,}" if first < last else f"{first:,}" for first, last in runs[:RUNS_NAMED]]
    more = f" and {size(runs[RUNS_NAMED:]):,} more" if len(runs) > RUNS_NAMED else ""
    return f"row{'s' if size(runs) > 1 else ''} {', '.join(parts)}{more}"


def _batches(attempt: Confirmed) -> str:
    first, last = attempt.first_batch, attempt.last_batch
    return f"batch {first}" if first == last else f"batches {first} to {last}"
