"""A store in memory, for answers that no ClickHouse can be made to give at a given moment, and a shard that uses it.

``tests/contract`` has the same promises over ClickHouse itself, as far as it can be brought to break them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from shards.errors import StoreError
from shards.events import Event, encode_row
from shards.flush.gate import StoreGate
from shards.flush.steps import Steps
from shards.observer import Observer
from shards.settings import ShardSettings
from shards.shard import Shard, wal_directory
from shards.stores.base import Batch, Lane, Store
from shards.wal.log import ShardLog

Statement = Literal[
    *("open", "check", "insert_buffered", "insert_direct", "flush_buffer", "reset_buffer", "landed", "newest_order")
]


class MemoryStore(Store):
    """Keeps batches in lists, and what it is asked in ``calls``.

    Attributes:
        errors: raised by the next calls of a statement, one each, before they do anything.
        refused: returns the error of an INSERT into ``events``, None if it may land.
        lands: returns the count of rows that the ledger shows of a batch that landed.
        newest: the largest order of a row that was there before.
    """

    kind: ClassVar[str] = "memory"

    def __init__(self) -> None:
        super().__init__(database="memory", shard_count=1)
        self.calls: list[Statement] = []
        self.errors: defaultdict[Statement, list[StoreError]] = defaultdict(list)
        self.refused: Callable[[Batch], StoreError | None] = lambda batch: None
        self.lands: Callable[[Batch], int] = lambda batch: len(batch.rows)
        self.direct: list[Batch] = []
        self.buffered: list[Batch] = []
        self.ledger: Counter[int] = Counter()
        self.newest = 0

    def _note(self, statement: Statement) -> None:
        self.calls.append(statement)
        if self.errors[statement]:
            raise self.errors[statement].pop(0)

    async def close(self) -> None:
        """Nothing is open."""

    async def _run(self, *statements: str, lane: Lane, timeout_s: float) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    async def open(self) -> None:
        self._note("open")

    async def check(self) -> None:
        self._note("check")

    async def insert_buffered(self, batch: Batch) -> None:
        self._note("insert_buffered")
        self.buffered.append(batch)

    async def insert_direct(self, batch: Batch) -> None:
        self._note("insert_direct")
        if (error := self.refused(batch)) is not None:
            raise error
        self.direct.append(batch)
        self.ledger[batch.number] += self.lands(batch)

    async def flush_buffer(self, shard: int) -> None:
        self._note("flush_buffer")
        for batch in self.buffered:
            self.ledger[batch.number] += self.lands(batch)
        self.buffered.clear()

    async def reset_buffer(self, shard: int) -> None:
        self._note("reset_buffer")
        self.buffered.clear()

    async def landed(self, writer: str, shard: int, batches: Sequence[int]) -> dict[int, int]:
        self._note("landed")
        return {number: self.ledger[number] for number in batches if number in self.ledger}

    async def newest_order(self) -> int:
        self._note("newest_order")
        return self.newest


class OneShard:
    """A shard on a real log, whose steps are taken by hand."""

    def __init__(self, data_dir: Path, *, observer: Observer | None = None, index: int = 0, **settings: Any) -> None:
        self.settings = ShardSettings(data_dir=data_dir, shard_count=1, **settings)
        self.store, self.observer = MemoryStore(), observer or Observer()
        self.gate = StoreGate(self.store, self.observer)
        directory = wal_directory(data_dir, index)
        self.log = ShardLog(directory, shard=index, segment_max_bytes=self.settings.segment_max_bytes)
        self.shard = Shard(index, self.settings, log=self.log)
        self.pending, self.tally = self.shard.pending, self.shard.tally
        self.flusher = self.shard.attach(writer="w", store=self.store, gate=self.gate, observer=self.observer)

    @property
    def steps(self) -> Steps:
        """The flusher's present steps."""
        return self.flusher._steps

    @property
    def to_replay(self) -> list[int]:
        """Numbers of the rows that are to be sent again, in their order."""
        return list(self.steps._replay)

    def accept(self, count: int, *, metadata: str = "{}", first_is_missed: bool = False) -> list[bytes]:
        """Make rows durable and give them to the flusher, which may miss the first; return them."""
        first = self.pending.last_seq + 1
        rows = [
            encode_row(Event("m", f"id-{number}", "pass", 1, "1", "", metadata, number, number))
            for number in range(first, first + count)
        ]
        assert self.log.append(rows) == first
        self.log.sync()
        self.log.acknowledge()
        told = slice(int(first_is_missed), None)
        self.shard._note_durable(["m"] * len(rows[told]), first + int(first_is_missed), rows[told])
        return rows
