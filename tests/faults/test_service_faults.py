"""What happens to the service itself: killed, terminated, started wrongly, twice, with other settings, at a wrong time.

After each: nothing lost, nothing extra, nothing twice, no dead letter.
"""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.bench.service import Service
from tests.faults import faults
from tests.faults.clock import NoCompiler
from tests.faults.faults import Fault
from tests.faults.world import BUSY, CLEAN, DEADLINE_S, World

RATE = 200.0
STEP = 60
DAY_S = 86_400
AGE = "fanfinity_wal_oldest_unconfirmed_age_seconds"

LOOP = pytest.mark.asyncio(loop_scope="module")


@LOOP
@pytest.mark.parametrize(
    "fault",
    [faults.ServiceKilled(), faults.ServiceTerminated(), faults.BothKilled(), faults.WrongPassword()],
    ids=lambda fault: fault.name.replace(" ", "-"),
)
async def test_who_sends_gets_through_in_the_end(world: World, fault: Fault) -> None:
    async with world.load(rate=RATE) as load:
        for _ in range(2):
            await load.more(STEP)
            await fault.inject(world)
            await load.more(STEP)
            if fault.says:
                await world.says(fault.check, fault.says)
            await fault.heal(world)
            await load.more(STEP)
    assert not load.statuses.keys() - {0, 202, 503}, load.statuses
    assert await world.settled() == CLEAN
    await world.healthy()


@LOOP
async def test_what_the_operator_sees_while_clickhouse_is_away(world: World) -> None:
    fault = faults.ClickHouseKilled()
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        await fault.inject(world)
        said = await world.says("clickhouse", fault.says)
        assert "events are kept on disk" in said
        status, body = await world.ready()
        assert (status, body["status"]) == (200, "degraded")
        assert {name for name, check in body["checks"].items() if check != "healthy"} == {"clickhouse"}
        assert await world.gauge("fanfinity_clickhouse_up") == 0
        first = await world.gauge(AGE)
        backlog = await world.gauge("fanfinity_wal_pending_records")
        await load.more(STEP)
        await asyncio.sleep(1.2)
        grown = await world.gauge(AGE)
        assert grown > first + 1
        assert await world.gauge("fanfinity_wal_pending_records") >= backlog + STEP
        assert '"event": "clickhouse not usable"' in world.service.log
        await world.service.kill()
        await world.service.start()
        await world.says("clickhouse", fault.says)
        assert await world.gauge(AGE) > grown, "a restart does not make the events younger"
        await fault.heal(world)
    assert await world.settled() == CLEAN
    await world.healthy()
    assert await world.gauge("fanfinity_clickhouse_up") == 1
    assert await world.gauge(AGE) == 0


@LOOP
async def test_what_the_operator_sees_while_the_destination_is_read_only(world: World) -> None:
    fault = faults.READ_ONLY
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        await fault.inject(world)
        assert "could not store for" in await world.says("flush", fault.says)
        first = await world.gauge(AGE)
        await load.more(STEP)
        await asyncio.sleep(1.2)
        assert await world.gauge(AGE) > first + 1
        assert (await world.ready())[1]["status"] == "degraded"
        assert '"event": "flush failed"' in world.service.log
        await fault.heal(world)
    assert await world.settled() == CLEAN
    await world.healthy()
    assert await world.gauge(AGE) == 0


@LOOP
async def test_terminated_while_clickhouse_is_away(world: World) -> None:
    away = faults.ClickHouseKilled()
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        await away.inject(world)
        await load.more(STEP)
        await world.service.stop()
        await world.service.start()
        await load.more(STEP)
        await away.heal(world)
    assert await world.settled() == CLEAN


@LOOP
async def test_a_second_process_on_the_directory_is_refused_and_harms_nothing(world: World, tmp_path: Path) -> None:
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        second = Service(tmp_path, world.server, environment={"FANFINITY_DATA_DIR": str(world.directory / "data")})
        with pytest.raises(AssertionError, match="ended with 1"):
            await second.__aenter__()
        assert "is in use by another fanfinity process" in second.log
        await load.more(STEP)
    assert not load.statuses.keys() - {202}
    assert await world.settled() == CLEAN


@LOOP
@pytest.mark.parametrize("shards", ["1", "7", "4"])
async def test_another_number_of_shards_with_records_pending(world: World, shards: str) -> None:
    away = faults.ClickHouseKilled()
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        await away.inject(world)
        await load.more(STEP)
        assert await world.gauge("fanfinity_wal_pending_records") > 0
        world.set(SHARDS=shards)
        await world.service.kill()
        await world.service.start()
        await load.more(STEP)
        await away.heal(world)
    assert await world.settled() == CLEAN


async def test_two_services_on_one_clickhouse(tmp_path: Path) -> None:
    async with World(tmp_path, seed=21) as world, _another(world, tmp_path) as other:
        async with world.load(rate=RATE, urls=[world.service.url, other.url]) as load:
            await load.more(STEP)
            await world.service.kill()
            await world.service.start()
            await load.more(STEP)
            await world.server.kill()
            await load.more(STEP)
            await world.server.start()
            await other.stop()
            await other.start()
            await load.more(STEP)
        assert await world.settled(world.service, other) == CLEAN


async def test_a_destination_dropped_with_rows_under_way(tmp_path: Path) -> None:
    """What was not confirmed yet is stored into the table that the service makes anew."""
    never = {"FANFINITY_CHECKPOINT_INTERVAL_MS": "600000"}
    async with World(tmp_path, seed=23, environment=never) as world:
        async with world.load(rate=RATE) as load:
            await load.more(STEP)
            await world.sql("DROP TABLE {db}.events SYNC")
            await load.more(STEP)
            # The service looks at its objects every few seconds, and makes what is missing.
            while not await world.sql("SELECT 1 FROM system.tables WHERE database = '{db}' AND name = 'events'"):
                await load.more(1)
            await load.more(STEP)
        await world.healthy()
        await world.service.stop()
        await world.service.start()
        assert await world.settled() == CLEAN


@asynccontextmanager
async def _another(world: World, directory: Path) -> AsyncIterator[Service]:
    settings = {**BUSY, "FANFINITY_DATA_DIR": str(directory / "other-data"), "FANFINITY_SHARDS": "2"}
    async with Service(directory / "other", world.server, environment=settings) as other:
        yield other


async def test_a_clock_that_is_set_back_and_forward(tmp_path: Path) -> None:
    """Also between two starts, and so far that resent events fall into other partitions."""
    try:
        world = World(tmp_path, seed=22, moved_clock=True)
    except NoCompiler as error:
        pytest.skip(f"the clock cannot be moved: {error}")
    async with world:
        async with world.load(rate=RATE) as load:
            for days in (40, -40, 1, -400):
                moved = faults.ClockMoved(days * DAY_S)
                await load.more(STEP)
                await moved.inject(world)
                await load.more(STEP)
                await world.service.kill()
                await world.service.start()
                await load.more(STEP)
                await moved.heal(world)
                await load.more(STEP)
        assert await world.settled() == CLEAN
        (row,) = await world.sql("SELECT uniqExact(toDate(received_at)) AS days FROM {db}.events")
        assert int(row["days"]) >= 3, "the clock was never wrong"


@pytest.mark.parametrize("moved_s", [3_600, -3_600, 30 * DAY_S])
@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
async def test_the_first_copy_stands_and_its_match_goes_on_while_the_clock_is_set(
    tmp_path: Path, moved_s: int, restarts: bool
) -> None:
    try:
        world = World(tmp_path, seed=24, moved_clock=True)
    except NoCompiler as error:
        pytest.skip(f"the clock cannot be moved: {error}")
    assert world.clock is not None
    async with world:
        goal = {"matchId": "m", "eventId": str(uuid.uuid4()), "eventType": "goal", "teamId": "1"}
        world.clock.move(moved_s)
        await _send(world, goal)
        assert await _shown(world, "m") == (1, 1, "live", ["m"])
        if restarts:
            await world.service.kill()
        world.clock.move(0)
        if restarts:
            await world.service.start()
        if moved_s > 0 or not restarts:  # a start cannot know that what looks old is new
            assert await _shown(world, "m") == (1, 1, "live", ["m"])
        await _send(world, goal | {"eventType": "pass"})
        await _send(world, {"matchId": "m", "eventType": "cheer"})
        assert await _shown(world, "m") == (2, 1, "live", ["m"])
        (row,) = await world.sql(
            "SELECT max(abs(dateDiff('second', timestamp, received_at))) AS apart FROM {db}.events"
        )
        assert int(row["apart"]) == 0, "an absent timestamp is the time of receipt"
        steps = re.findall(r'"wall clock stepped", "seconds": (-?[0-9.]+)', world.service.log)
        assert [float(step) for step in steps] == [moved_s, -moved_s][: 1 if restarts else 2]


async def _send(world: World, event: dict[str, str]) -> None:
    """Send an event, and wait until everything is in ClickHouse."""
    async with world.service.session.post("/api/events", json=event) as reply:
        assert reply.status == 202, await reply.text()
    async with asyncio.timeout(DEADLINE_S):
        while await world.gauge("fanfinity_wal_pending_records"):
            await asyncio.sleep(0.05)


async def _shown(world: World, match_id: str) -> tuple[int, int, str, list[str]]:
    """Events and goals of a match, its status, and the ids of the matches that are listed as live; as of now."""
    await asyncio.sleep(1)  # an answer is given for so long
    async with world.service.session.get(f"/api/matches/{match_id}/metrics", raise_for_status=True) as reply:
        found = await reply.json()
    async with world.service.session.get("/api/matches?active=true", raise_for_status=True) as reply:
        listed = [match["matchId"] for match in (await reply.json())["matches"]]
    return found["totalEvents"], found["goals"], found["status"], listed
