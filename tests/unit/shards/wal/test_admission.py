"""Room for events: whatever leaves none refuses before anything is appended, and for its own reason."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from shards.clock import ReceiptClock
from shards.errors import Saturated, Unavailable, WalFailed, WalFull
from shards.observer import Observer
from shards.settings import ShardSettings
from shards.wal import admission
from shards.wal.admission import Room
from shards.wal.committer import Committer
from shards.wal.log import ShardLog
from tests.logged import lines_of
from tests.unit.shards.wal.logs import row


class SlowLog(ShardLog):
    """A log on a disk that takes no sync until it is let go, or fails one."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, shard=0, segment_max_bytes=1 << 20)
        self.go_on = threading.Event()
        self.error: OSError | None = None

    def sync(self) -> None:
        assert self.go_on.wait(60)
        if self.error is not None:
            raise self.error
        super().sync()


@pytest.fixture
def settings(tmp_path: Path) -> ShardSettings:
    return ShardSettings(data_dir=tmp_path, queue_max_bytes=len(row(1)) + len(row(2)), wal_min_free_bytes=0)


@pytest.fixture
def log(tmp_path: Path) -> SlowLog:
    log = SlowLog(tmp_path / "log")
    log.recover()
    return log


def reserved() -> ReceiptClock:
    clock = ReceiptClock()
    clock.reserve(clock.to_reserve_ns())
    return clock


@asynccontextmanager
async def running() -> AsyncIterator[Committer]:
    committer = Committer(sync="always", observer=Observer())
    committer.start()
    yield committer
    await committer.close()


def problem(room: Room) -> str:
    refusal = room.refusal()
    return refusal.reason if refusal else ""


async def test_a_queue_that_is_full_refuses_until_the_disk_has_taken_it(settings: ShardSettings, log: SlowLog) -> None:
    async with running() as committer:
        room = Room(settings, committer, reserved(), lambda: 0)
        first = committer.submit(log, [row(1)], lambda *_: None)
        room.check()
        second = committer.submit(log, [row(2)], lambda *_: None)
        with pytest.raises(Saturated):
            room.check()
        assert problem(room) == "", "it is no fault, and soon over"
        log.go_on.set()
        await asyncio.gather(first, second)
        room.check()


async def test_a_disk_that_has_failed_refuses_for_a_while(
    settings: ShardSettings, log: SlowLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    log.error = OSError(5, "Input/output error")
    log.go_on.set()
    async with running() as committer:
        room = Room(settings, committer, reserved(), lambda: 0)
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(1)], lambda *_: None)
        with pytest.raises(WalFailed):
            room.check()
        assert problem(room) == "Input/output error"
        now = committer.failed_at + admission.FAILED_PAUSE_S
        monkeypatch.setattr(admission, "monotonic", lambda: now)
        room.check()
        log.error = None
        await committer.submit(log, [row(1)], lambda *_: None)
        now = committer.failed_at
        room.check()
        assert problem(room) == ""


async def test_a_log_that_is_full_refuses_at_its_limit(settings: ShardSettings) -> None:
    size = 0
    async with running() as committer:
        at_limit, below = attrs.evolve(settings, wal_max_bytes=1000), attrs.evolve(settings, wal_max_bytes=1001)
        size = 1000
        Room(below, committer, reserved(), lambda: size).check()
        with pytest.raises(WalFull, match="FANFINITY_WAL_MAX_BYTES"):
            Room(at_limit, committer, reserved(), lambda: size).check()


async def test_a_disk_of_which_nothing_is_known_refuses(settings: ShardSettings, log: SlowLog) -> None:
    async with running() as committer:
        room = Room(attrs.evolve(settings, data_dir=settings.data_dir / "gone"), committer, reserved(), lambda: 0)
        with pytest.raises(WalFull, match="cannot be read: No such file"):
            room.check()
        assert "cannot be read" in problem(room)


async def test_too_little_room_on_the_disk_refuses(settings: ShardSettings) -> None:
    free = shutil.disk_usage(settings.data_dir).free
    async with running() as committer:
        Room(attrs.evolve(settings, wal_min_free_bytes=free // 2), committer, reserved(), lambda: 0).check()
        with pytest.raises(WalFull, match="FANFINITY_WAL_MIN_FREE_BYTES"):
            Room(attrs.evolve(settings, wal_min_free_bytes=free * 2), committer, reserved(), lambda: 0).check()


async def test_the_disk_is_asked_ten_times_a_second_at_most(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked = 100.0, 0

    def size() -> int:
        nonlocal asked
        asked += 1
        return 0

    monkeypatch.setattr(admission, "monotonic", lambda: now)
    async with running() as committer:
        room = Room(settings, committer, reserved(), size)
        room.check()
        now += admission.LOOK_EVERY_S / 2
        room.check()
        assert asked == 1
        now += admission.LOOK_EVERY_S
        room.check()
        assert asked == 2


async def test_without_a_committer_nothing_is_taken(settings: ShardSettings) -> None:
    async with running() as committer:
        room = Room(settings, committer, reserved(), lambda: 0)
        room.check()
    with pytest.raises(WalFailed, match="not being written"):
        room.check()


async def test_nothing_is_accepted_before_an_order_is_reserved(settings: ShardSettings) -> None:
    """A later start could give out the same order, and a later copy of an event could win."""
    async with running() as committer:
        clock = ReceiptClock()
        room = Room(settings, committer, clock, lambda: 0)
        assert "cannot be reserved" in problem(room)
        with pytest.raises(WalFailed, match="cannot be reserved"):
            room.check()
        clock.reserve(clock.to_reserve_ns())
        room.check()
        assert problem(room) == ""


async def test_one_answer_is_raised_and_told(settings: ShardSettings) -> None:
    free = shutil.disk_usage(settings.data_dir).free
    async with running() as committer:
        full = Room(attrs.evolve(settings, wal_max_bytes=1), committer, reserved(), lambda: 1)
        short = Room(attrs.evolve(settings, wal_min_free_bytes=free * 2), committer, reserved(), lambda: 0)
        shut = Room(settings, committer, reserved(), lambda: 0)
        shut.shut("stopping", "the service is shutting down")
        for room, word in ((full, "log_full"), (short, "disk_short"), (shut, "stopping")):
            with pytest.raises(Unavailable) as raised:
                room.check()
            told = room.refusal()
            assert told is not None
            assert (raised.value.refusal, told.refusal) == (word, word)
            assert (type(raised.value), raised.value.reason) == (type(told), told.reason)
        assert full.limits.wal_max_bytes == 1
        assert short.limits.disk_min_free_bytes == free * 2
        assert short.limits.disk_free_bytes


async def test_both_edges_of_a_want_of_room_are_told_though_nobody_asks(
    settings: ShardSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 0
    monkeypatch.setattr(admission, "WATCH_EVERY_S", admission.LOOK_EVERY_S * 1.5)

    async def told(count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while len(found := [one for one in lines_of(caplog) if one["event"].startswith("events ")]) < count:
                await asyncio.sleep(0.01)
        return found

    async with running() as committer:
        room = Room(attrs.evolve(settings, wal_max_bytes=10), committer, reserved(), lambda: size)
        room.open()
        assert await told(0) == []
        size = 10
        await told(1)
        size = 9
        await told(2)
        room.shut("stopping", "the service is shutting down")
        refused, taken = await told(2)
    assert (refused["event"], taken["event"]) == ("events refused", "events taken again")
    assert refused["setting"] == taken["setting"] == "FANFINITY_WAL_MAX_BYTES"
    assert (refused["room"]["wal_bytes"], refused["room"]["wal_bytes_max"], taken["room"]["wal_bytes"]) == (10, 10, 9)
    assert refused["level"] == taken["level"] == "warning"
