"""One life of a process on a data directory: what `shards.ShardSet` does, one step at a time, without a ClickHouse.

The one module of this package that knows how the parts of ``shards`` are put together. Recovery is the real one, of the
whole directory. Appends go through the real committer and its thread, letters and their settlements through the real
files. In place of a flusher, the caller says which rows ClickHouse has shown.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from shards.clock import ReceiptClock
from shards.deadletters.settling import DeadLetters
from shards.events import Event, encode_row
from shards.flush.sender import Sender
from shards.flush.tally import Attempt
from shards.observer import Observer
from shards.receipts import Receipt, Stretch
from shards.recovery import recovered_shards
from shards.runs import Run, runs_of, union
from shards.settings import ShardSettings
from shards.shard import Shard
from shards.tasks.threads import Threads
from shards.wal.committer import Committer
from shards.wal.directory import DataDirectory
from shards.wal.journal import Confirmed
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader

DATA = "data"
SEGMENT_BYTES = 700
_writers = itertools.count(1)


def row_of(number: int, *, shard: int, padding: int, order_ns: int) -> bytes:
    """Return a row that no other is equal to."""
    return encode_row(
        Event(f"m{shard}", f"id-{number}", "pass", 1, "1", "", '{"x":"%s"}' % ("y" * padding), number, order_ns)
    )


@attrs.frozen(kw_only=True)
class LetterView:
    """One dead letter: its row, and what was done with it."""

    row: bytes
    action: str
    again: tuple[int, int] | None


@attrs.frozen(kw_only=True)
class ShardView:
    """What a start tells of one shard; ``shown`` are the numbers that the journal has an attempt for.

    ``counted`` is how many rows it counts as pending, ``pending`` those that its log gives; ``covered`` are all numbers
    that the journal names.
    """

    last_seq: int
    counted: int
    pending: dict[int, bytes]
    confirmed: int
    dead: int
    damaged: int
    done: tuple[Run, ...]
    dead_seqs: frozenset[int]
    letters: dict[str, LetterView]
    shown: tuple[Run, ...] = attrs.field(eq=False)
    covered: tuple[Run, ...] = attrs.field(eq=False)


@attrs.frozen(kw_only=True)
class View:
    """What a start tells of a data directory. Two starts that tell the same are equal.

    ``next_order`` is the order of the first event that it would take, ns since the epoch.
    """

    id: str
    shards: tuple[ShardView, ...]
    next_order: int = attrs.field(eq=False)


class Service:
    """The service on ``root/data``, from :meth:`start` to :meth:`close` or to a kill."""

    def __init__(self, root: Path, *, shards: int, ahead_ns: int = 0) -> None:
        """Start nothing yet; ``ahead_ns`` is what its clock is ahead of the right time."""
        self._settings = ShardSettings(data_dir=root / DATA, shard_count=shards, segment_max_bytes=SEGMENT_BYTES)
        self._directory = DataDirectory(self._settings.data_dir)
        self._recovered: list[tuple[ShardLog, Shard]] = []
        self._committer: Committer | None = None
        self._clock = ReceiptClock()
        self._clock.raise_to(time.time_ns() + ahead_ns if ahead_ns else 0)
        self._writer = f"{next(_writers):032x}"
        self._letters = DeadLetters(self._append_again, lambda match_id: False)
        self._numbers = itertools.count(1)
        self._shown: list[tuple[Run, ...]] = []

    def start(self) -> View:
        """Recover everything, and return what was found. Blocking; raises what a start raises."""
        self._directory.lock()
        self._recovered = recovered_shards(self._settings, self._directory, clock=self._clock, stopping=lambda: False)
        self._letters.take([shard.dead_letters for _, shard in self._recovered])
        shards = tuple(_view(log, shard) for log, shard in self._recovered)
        view = View(id=self._directory.id, shards=shards, next_order=self.next_order())
        self._shown = [shard.shown for shard in view.shards]
        return view

    def open(self) -> None:
        """Be ready to append; in the event loop."""
        self._committer = Committer(sync="always", observer=Observer())
        self._committer.start()

    def next_order(self) -> int:
        """Return the order of receipt for another event."""
        return self._clock.order_ns()

    @property
    def id(self) -> str:
        """The id of the directory."""
        return self._directory.id

    def append(self, shard: int, rows: Sequence[bytes]) -> asyncio.Future[int]:
        """Append rows as one request; the future gives the first one's number, or raises WalFailed."""
        log, of = self._recovered[shard]
        assert self._committer is not None

        def note(first_seq: int, durable: Sequence[bytes]) -> None:
            of.pending.add_durable(first_seq, [f"m{shard}"] * len(durable), durable)

        return self._committer.submit(log, rows, note)

    async def _append_again(self, events: Sequence[Event]) -> Receipt:
        shard = int(events[0].match_id[1:])
        first = await self.append(shard, [encode_row(event) for event in events])
        return Receipt(self.id, (Stretch(shard, first, first + len(events) - 1, len(events)),))

    def pending(self, shard: int) -> dict[int, bytes]:
        """Return the rows that wait for ClickHouse, by number."""
        pending = self._recovered[shard][1].pending
        seqs = [seq for seq in range(pending.done_upto + 1, pending.last_seq + 1) if pending.holds(seq)]
        return dict(zip(seqs, pending.rows(seqs), strict=True))

    def confirm(self, shard: int, seqs: Sequence[int]) -> None:
        """Take rows for shown by the ledger, as one attempt."""
        log, of = self._recovered[shard]
        unused: Any = None
        sender = Sender(
            shard=shard,
            writer=self._writer,
            numbers=self._numbers,
            pending=of.pending,
            tally=of.tally,
            dead_letters=of.dead_letters,
            journal=log.journal,
            store=unused,
            threads=Threads(),
            observer=Observer(),
        )
        sender.confirm(Attempt(next(self._numbers), seqs, of.pending.rows(seqs[:1])[0]))
        self._shown[shard] = union((*self._shown[shard], *runs_of(seqs)))

    def save(self, shard: int) -> tuple[int, tuple[Run, ...]]:
        """Write journal and checkpoint as a flusher does. Raises OSError.

        Return how many rows are confirmed, and the numbers that the journal has an attempt for.
        """
        log, of = self._recovered[shard]
        new = of.tally.checkpoint(log.checkpoint, upto=of.pending.done_upto)
        try:
            log.truncate(new)
        finally:
            of.pending.note_saved()
            of.tally.pass_over(new.upto)
        return of.tally.confirmed, self._shown[shard]

    async def put_aside(self, shard: int, seq: int) -> str:
        """Make a row a dead letter; return the letter's id. Raises OSError."""
        of = self._recovered[shard][1]
        await of.dead_letters.put_aside(seq=seq, row=of.pending.rows([seq])[0], code=469, error="refused")
        of.pending.remove([seq])
        of.tally.note_dead(seq)
        return f"{shard}-{seq}"

    async def settle(self, letter: str, action: str) -> None:
        """Requeue or discard a letter, as an operator does. Raises a subclass of ShardsError."""
        await (self._letters.requeue(letter) if action == "requeued" else self._letters.discard(letter))

    async def letters(self, shard: int) -> list[tuple[str, bytes]]:
        """Return id and row of the letters of a shard that are open, oldest first."""
        found = await self._letters.newest(limit=1000)
        return [(one.id, one.letter.row.encode()) for one in reversed(found) if one.letter.shard == shard]

    def reopen(self, shard: int) -> None:
        """Try whether the disk takes writes again, as the committer does a second after a failure. Raises OSError."""
        self._recovered[shard][0].reopen()

    async def end(self, *, orderly: bool) -> None:
        """Let the committer end, as it does at an orderly stop, and as its thread has to after a kill."""
        if self._committer is not None:
            await self._committer.close()
        if orderly:
            await self._letters.close()

    def close(self, *, orderly: bool = False) -> None:
        """Close every file, at an orderly end or of a process that was killed."""
        try:
            for log, _ in self._recovered if orderly else ():
                log.seal()
        finally:
            for log, _ in self._recovered:
                log.close()
            self._directory.close()


def _view(log: ShardLog, shard: Shard) -> ShardView:
    counted, last_seq = len(shard.pending), shard.pending.last_seq
    found: dict[int, bytes] = {}
    reader = LogReader(log, after_seq=log.checkpoint.upto)
    while records := reader.read(upto_seq=last_seq, max_rows=1000, max_bytes=1 << 24, but=shard.pending.done_before):
        found |= {record.seq: record.payload for record in records}
        shard.pending.add_loaded(records)
    reader.close()
    entries = log.journal.entries()
    letters = {
        filed.id: LetterView(
            row=filed.letter.row.encode(),
            action=filed.settlement.action if filed.settlement else "",
            again=filed.settlement.again if filed.settlement else None,
        )
        for filed in shard.dead_letters.newest(limit=100_000, before=None, settled=True)
    }
    tally = shard.tally
    return ShardView(
        last_seq=last_seq,
        counted=counted,
        pending=found,
        confirmed=tally.confirmed,
        dead=tally.dead_lettered,
        damaged=tally.damaged,
        done=union((*(((1, log.checkpoint.upto),) if log.checkpoint.upto else ()), *log.checkpoint.beyond)),
        dead_seqs=frozenset(tally.dead),
        letters=letters,
        shown=union(run for entry in entries if isinstance(entry, Confirmed) for run in entry.runs),
        covered=union(run for entry in entries for run in entry.runs),
    )
