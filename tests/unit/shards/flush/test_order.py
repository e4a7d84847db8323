"""The order of receipts at a start: reserved before anything is accepted, and above what the database holds."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.clock import ReceiptClock
from shards.errors import StoreUnavailable
from shards.flush import order as order_module
from shards.flush.gate import StoreGate
from shards.flush.order import OrderStart
from shards.observer import Observer
from shards.tasks.threads import Threads
from shards.wal.checkpoint import read_checkpoint
from shards.wal.log import ShardLog
from tests.logged import lines_of
from tests.unit.shards.flush.memory_store import MemoryStore

HOUR_NS = 3600 * 10**9
DEADLINE_S = 60


class Start:
    """A start on a data directory with one log, in front of a store in memory."""

    def __init__(self, directory: Path) -> None:
        self.clock, self.store = ReceiptClock(), MemoryStore()
        self.log = ShardLog(directory, shard=0, segment_max_bytes=1 << 20, clock=self.clock)
        self.log.recover()
        self.gate = StoreGate(self.store, Observer())
        self.order = OrderStart(self.clock, [self.log], store=self.store, gate=self.gate, threads=Threads())

    async def run(self) -> None:
        self.gate._note_opened()
        await asyncio.wait_for(self.order.run(), DEADLINE_S)

    @property
    def reserved_ns(self) -> int:
        return read_checkpoint(self.log.directory).order_upto


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    asked: list[int] = []

    def no_pause(tries: int) -> float:
        asked.append(tries)
        return 0.0

    monkeypatch.setattr(order_module, "backoff_s", no_pause)
    return iter([asked])


async def test_a_new_directory_gives_out_no_order_that_the_database_has_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = Start(tmp_path)
    start.store.newest = newest = start.clock.now_ns() + HOUR_NS
    with caplog.at_level("INFO"):
        await start.run()
    assert start.clock.order_ns() > newest
    assert start.reserved_ns == start.clock.reserved_ns > newest + 1
    [line] = lines_of(caplog, "order of receipts raised")
    assert line["to_ns"] == newest
    start.log.close()


async def test_the_same_order_is_not_given_out_either(tmp_path: Path) -> None:
    start = Start(tmp_path)
    start.clock.raise_to(start.clock.now_ns() + HOUR_NS)
    start.log.save()
    start.store.newest = start.clock.last_ns
    await start.run()
    assert start.clock.order_ns() > start.store.newest
    start.log.close()


async def test_a_database_that_is_behind_raises_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start = Start(tmp_path)
    start.clock.order_ns()
    before, start.store.newest = start.reserved_ns, start.clock.last_ns - 1
    with caplog.at_level("INFO"):
        await start.run()
    assert (start.store.calls, start.reserved_ns) == (["newest_order"], before)
    assert lines_of(caplog, "order of receipts raised") == []
    start.log.close()


async def test_a_directory_whose_checkpoint_told_an_order_asks_nobody(tmp_path: Path) -> None:
    Start(tmp_path).log.close()
    start = Start(tmp_path)
    start.store.newest = start.clock.now_ns() + HOUR_NS
    await start.run()
    assert start.store.calls == []
    start.log.close()


async def test_a_disk_that_took_no_checkpoint_is_tried_until_it_does(
    tmp_path: Path, pauses: Iterator[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "checkpoint.json.new"
    in_the_way.mkdir()
    start = Start(tmp_path)
    assert start.clock.reserved_ns == 0
    running = asyncio.create_task(start.run())
    asked = next(pauses)
    async with asyncio.timeout(DEADLINE_S):
        while len(asked) < 3:
            await asyncio.sleep(0.001)
    in_the_way.rmdir()
    await running
    assert asked[:3] == [1, 2, 3]
    assert start.reserved_ns == start.clock.reserved_ns > 0
    assert start.store.calls == ["newest_order"], "it is asked once there is a reservation"
    assert len(lines_of(caplog, "order of receipts not settled")) == 1
    start.log.close()


async def test_the_database_is_asked_once_it_is_up_and_again_if_it_fails(
    tmp_path: Path, pauses: Iterator[list[int]]
) -> None:
    start = Start(tmp_path)
    start.store.newest = start.clock.now_ns() + HOUR_NS
    start.store.errors["newest_order"].append(StoreUnavailable("away"))
    running = asyncio.create_task(start.order.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert start.store.calls == []
    start.gate._note_opened()
    await asyncio.wait_for(running, DEADLINE_S)
    assert (start.store.calls, next(pauses)) == (["newest_order"] * 2, [1])
    assert start.clock.order_ns() > start.store.newest
    start.log.close()


async def test_a_single_failure_is_told(
    tmp_path: Path, pauses: Iterator[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    start = Start(tmp_path)
    start.store.errors["newest_order"].append(StoreUnavailable("away"))
    await start.run()
    assert next(pauses) == [1]
    [line] = lines_of(caplog, "order of receipts not settled")
    assert (line["level"], line["error"]) == ("warning", "away")
    start.log.close()
