"""A disk that is full for real: refused with 503, nothing acknowledged that is not kept, and back by itself."""

import asyncio
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults import faults
from tests.faults.world import CLEAN, World

RATE = 300.0
STEP = 60
TIMES = 4


async def test_a_full_disk_refuses_and_takes_up_again_by_itself(small_disk_world: World) -> None:
    world = small_disk_world
    fault = faults.DiskFull()
    async with world.load(rate=RATE) as load:
        for _ in range(TIMES):
            await load.more(STEP)
            await fault.inject(world)
            await load.refused(STEP)
            assert "No space left" in await world.says(fault.check, fault.says)
            await fault.heal(world)
            await load.more(STEP)
    assert load.statuses.keys() == {202, 503}, load.statuses
    assert await world.settled() == CLEAN
    await world.healthy()


async def test_a_kill_on_a_full_disk_loses_nothing_that_was_acknowledged(small_disk_world: World) -> None:
    world = small_disk_world
    fault = faults.KilledOnFullDisk()
    async with world.load(rate=RATE) as load:
        for _ in range(TIMES):
            await load.more(STEP)
            await fault.inject(world)
            await load.refused(STEP)
            await fault.heal(world)
            await load.more(STEP)
    assert await world.settled() == CLEAN


async def test_it_is_ready_again_without_a_single_request(small_disk_world: World) -> None:
    """A balancer sends nothing to who is not ready: then nothing but the service itself can find out."""
    world = small_disk_world
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        assert world.disk is not None
        await world.disk.fill(leave_bytes=0)
        await load.refused(STEP)
        status, _ = await world.ready()
        assert status == 503
        load.stop()
        await world.disk.empty()
        await world.healthy(deadline_s=15)
        assert (await world.ready())[0] == 200
    assert await world.settled() == CLEAN


async def test_too_little_room_is_over_without_a_single_request(small_disk_world: World) -> None:
    world = small_disk_world
    await world.service.stop()
    world.set(WAL_MIN_FREE_BYTES="16MiB")
    await world.service.start()
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        assert world.disk is not None
        await world.disk.fill(leave_bytes=8 << 20)
        await load.refused(STEP)
        await world.says("wal", "FANFINITY_WAL_MIN_FREE_BYTES")
        load.stop()
        await world.disk.empty()
        await world.healthy(deadline_s=15)
    assert await world.settled() == CLEAN


async def test_a_full_disk_with_clickhouse_away(small_disk_world: World) -> None:
    world = small_disk_world
    away, full = faults.ClickHouseKilled(), faults.DiskFull()
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        await away.inject(world)
        await load.more(STEP)
        await full.inject(world)
        await load.refused(STEP)
        await away.heal(world)
        await world.says("clickhouse", "^healthy$")
        await full.heal(world)
        await load.more(STEP)
    assert await world.settled() == CLEAN
    await world.healthy()


async def test_a_data_directory_that_takes_no_writes_any_more(small_disk_world: World) -> None:
    """Its files are made immutable: every write and every new file is refused, root's too."""
    world = small_disk_world
    wal = Path(world.directory / "data" / "wal")
    await world.service.stop()
    world.set(SHARDS="1", WAL_MAX_BYTES="1MiB")  # segments of a quarter of it: new files are needed soon
    await world.service.start()
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        made = await _attribute("+i", wal)
        try:
            if not made:
                pytest.skip("this file system knows no immutable files")
            await load.refused(STEP)
            await world.says("wal", "cannot accept events: .*")
        finally:
            await _attribute("-i", wal)
        await load.more(STEP)
    assert await world.settled() == CLEAN
    await world.healthy()


async def _attribute(change: str, directory: Path) -> bool:
    command = ["chattr", "-R", change, str(directory)]
    with suppress(OSError):
        return (await asyncio.to_thread(subprocess.run, command, capture_output=True)).returncode == 0
    return False
