"""Loading rows from a real log: those that come in meanwhile are neither passed over nor taken for damaged."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from shards.events import Event, encode_row
from shards.flush.loader import Loader
from shards.flush.pending import PendingRows
from shards.flush.tally import Tally
from shards.tasks.threads import Threads
from shards.wal.log import ShardLog
from shards.wal.record import Record

ROOM = 1_000


def row(number: int) -> bytes:
    return encode_row(Event("m", f"id-{number}", "pass", 1, "1", "", "{}", number, number))


@attrs.define
class Restarted:
    """A shard with a log, as a start finds it: its rows are on disk only."""

    log: ShardLog
    pending: PendingRows
    tally: Tally
    loader: Loader
    next_number: int = 1

    @classmethod
    @contextmanager
    def with_rows(cls, directory: Path, count: int, *, max_rows: int = ROOM) -> Iterator["Restarted"]:
        log = ShardLog(directory, shard=0, segment_max_bytes=1 << 20)
        log.recover()
        pending = PendingRows(max_rows=max_rows, max_bytes=1 << 20)
        tally = Tally()
        made = cls(log, pending, tally, Loader(log, pending, tally, max_rows=ROOM, threads=Threads()))
        made._append(count)
        pending.recover(upto=0, last_seq=count, unread=Counter(m=count), age_s=0.0)
        made.loader = Loader(log, pending, tally, max_rows=ROOM, threads=Threads())
        yield made
        made.loader.close()
        log.close()

    def _append(self, count: int) -> list[bytes]:
        rows = [row(number) for number in range(self.next_number, self.next_number + count)]
        self.next_number += count
        self.log.append(rows)
        self.log.sync()
        self.log.acknowledge()
        return rows

    def add(self, count: int = 1) -> None:
        """Take rows that come in now."""
        first, rows = self.next_number, self._append(count)
        self.pending.add_durable(first, ["m"] * count, rows)

    def damage(self, *numbers: int) -> None:
        """Have the disk lose records."""
        path = self.log.segments.last.path
        data = bytearray(path.read_bytes())
        for number in numbers:
            data[data.index(row(number)) + 1] ^= 1
        path.write_bytes(data)

    def holds(self) -> list[int]:
        return [number for number in range(1, self.next_number) if self.pending.holds(number)]


@contextmanager
def during_next_read(shard: Restarted) -> Iterator[threading.Event]:
    """The next read of the log lasts until the end of the block; the event is set when it has found what it returns."""
    done, may_return = threading.Event(), threading.Event()
    reader = shard.loader._reader
    read = reader.read

    def slowly(**limits: Any) -> list[Record]:
        reader.read = read  # type: ignore[method-assign]
        found = read(**limits)
        done.set()
        may_return.wait()
        return found

    reader.read = slowly  # type: ignore[assignment,method-assign]
    try:
        yield done
    finally:
        may_return.set()


async def test_rows_that_come_in_during_a_read_are_read_next(tmp_path: Path) -> None:
    with Restarted.with_rows(tmp_path, 5) as shard:
        with during_next_read(shard) as done:
            loading = asyncio.create_task(shard.loader.load())
            await asyncio.to_thread(done.wait)
            shard.add(3)
        assert await loading == [1, 2, 3, 4, 5]
        assert (shard.pending.unread, shard.loader.may_load) == (3, True)
        assert await shard.loader.load() == [6, 7, 8]
        assert (shard.holds(), shard.pending.unread, shard.tally.damaged) == ([1, 2, 3, 4, 5, 6, 7, 8], 0, 0)


async def test_rows_that_come_in_while_nothing_can_be_read_are_read_next(tmp_path: Path) -> None:
    with Restarted.with_rows(tmp_path, 3) as shard:
        shard.damage(1, 2, 3)
        with during_next_read(shard) as done:
            loading = asyncio.create_task(shard.loader.load())
            await asyncio.to_thread(done.wait)
            shard.add(2)
        assert await loading is None
        assert (shard.tally.damaged, shard.pending.unread) == (0, 5), "the next read tells"
        assert await shard.loader.load() == [4, 5]
        assert (shard.holds(), shard.tally.damaged_beyond) == ([4, 5], ((1, 3),))
        assert (shard.pending.unread, shard.pending.loaded_seq) == (0, 5)


async def test_for_want_of_room_nothing_is_read_and_nothing_is_taken_for_damaged(tmp_path: Path) -> None:
    with Restarted.with_rows(tmp_path, 5, max_rows=3) as shard:
        assert await shard.loader.load() == [1, 2, 3]
        assert await shard.loader.load() is None
        assert (shard.pending.unread, shard.tally.damaged, shard.pending.loaded_seq) == (2, 0, 3)
        shard.pending.remove([1, 2])
        shard.pending.note_saved()
        assert await shard.loader.load() == [4, 5]
        assert shard.holds() == [3, 4, 5]


@pytest.mark.parametrize("lost", [(1,), (2, 3), (5,), (1, 3, 5), (1, 2, 3, 4, 5)])
async def test_rows_that_the_disk_has_lost_are_counted_once_and_named_in_the_journal(
    tmp_path: Path, lost: tuple[int, ...]
) -> None:
    with Restarted.with_rows(tmp_path, 5) as shard:
        shard.damage(*lost)
        while shard.loader.may_load:
            await shard.loader.load()
        assert shard.holds() == [number for number in range(1, 6) if number not in lost]
        assert shard.tally.damaged == len(lost)
        assert (shard.pending.unread, shard.pending.loaded_seq) == (0, 5)
        noted = [
            number
            for entry in shard.log.journal.entries()
            for first, last in entry.runs
            for number in range(first, last + 1)
        ]
        assert sorted(noted) == list(lost)
        shard.add()
        assert shard.pending.holds(6), "memory takes new rows again"


async def test_rows_that_were_done_with_before_are_passed_over_and_not_damaged(tmp_path: Path) -> None:
    with Restarted.with_rows(tmp_path, 6) as shard:
        shard.pending.recover(upto=0, last_seq=6, unread=Counter(m=3), age_s=0.0, done=((2, 3), (6, 6)))
        while shard.loader.may_load:
            await shard.loader.load()
        assert (shard.holds(), shard.tally.damaged) == ([1, 4, 5], 0)
        assert (shard.pending.unread, shard.pending.loaded_seq) == (0, 6)


async def test_a_read_that_fails_is_told_and_the_next_one_finds_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Restarted.with_rows(tmp_path, 3) as shard:
        reader = shard.loader._reader
        read = reader.read

        def failing(**limits: Any) -> list[Record]:
            read(**limits)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(reader, "read", failing)
        with pytest.raises(OSError, match="Input/output"):
            await shard.loader.load()
        assert (shard.pending.unread, shard.tally.damaged) == (3, 0)
        assert await shard.loader.load() == [1, 2, 3]


async def test_all_that_was_done_with_before_is_passed_over_in_however_many_reads(tmp_path: Path) -> None:
    with Restarted.with_rows(tmp_path, 6, max_rows=2) as shard:
        shard.pending.recover(upto=0, last_seq=6, unread=Counter(m=4), age_s=0.0, done=((2, 2), (5, 5)))
        assert await shard.loader.load() == [1, 3]
        shard.pending.remove([1, 3])
        shard.pending.note_saved()
        assert await shard.loader.load() == [4, 6]
        assert (shard.pending.unread, shard.tally.damaged) == (0, 0)
