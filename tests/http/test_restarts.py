"""Tasks that end are told of everywhere, and what they did goes on."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.dashboard.board import BOARD
from shards.tasks import watch
from tests.http.service import DEADLINE_S, Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STEADY_S", 0.05)


def cancel(name: str) -> None:
    """Cancel one task of this name; nobody is told."""
    next(task for task in asyncio.all_tasks() if task.get_name().startswith(name) and not task.done()).cancel()


@pytest.fixture
def stays_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends is started anew by :func:`start_anew` only."""
    monkeypatch.setattr(watch, "backoff_s", lambda _: 3600.0)


def start_anew(service: Service) -> None:
    """Start the one task that has ended."""
    [ended] = [watched for watched in service.context.shards.watch._watched if watched.ended]
    assert ended._pause is not None
    ended._pause.cancel()
    ended._restart()


async def has_ended(service: Service) -> None:
    async def ended() -> bool:
        return bool(service.context.shards.snapshot().ended)

    await eventually(ended, lambda: "nothing has ended")


async def is_ready(service: Service) -> None:
    async def ready() -> bool:
        reply = await service.get("/ready")
        return bool(reply.json["status"] == "ready")

    await eventually(ready, lambda: str(service.context.shards.snapshot()))


async def value(service: Service, series: str) -> float:
    lines = (await service.get("/metrics")).text.splitlines()
    [found] = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")]
    return found


async def dashboard(service: Service) -> str:
    page = await service.app[BOARD]._page()
    return page.service.condition


async def test_every_kind_of_task_has_a_series_from_the_start(service: Service) -> None:
    for task in ("flusher", "match-poller", "store-gate", "throughput", "wal-committer", "wal-recovery", "erasures"):
        for family in ("fanfinity_task_restarts_total", "fanfinity_task_down"):
            assert await value(service, f'{family}{{task="{task}"}}') == 0


@pytest.mark.parametrize(("task", "where"), [("flusher", "shard "), ("store-gate", ""), ("throughput", "")])
@pytest.mark.usefixtures("stays_ended")
async def test_a_task_that_ends_degrades_until_it_runs_again_and_all_say_so(
    service: Service, task: str, where: str
) -> None:
    await is_ready(service)
    restarts = f'fanfinity_task_restarts_total{{task="{task}"}}'
    before = await value(service, restarts)
    cancel(task)
    await has_ended(service)
    [ended] = service.context.shards.snapshot().ended
    ready, status = await service.get("/ready"), (await service.get("/api/status")).json
    assert (ready.status, ready.json["status"], status["status"]) == (200, "degraded", "degraded")
    check = ready.json["checks"]["tasks"]
    assert check.startswith(f"ended, and started anew: {task}")
    assert "(cancelled)" in check
    [told] = status["tasks"]
    assert (told["task"], told["reason"], told["where"]) == (task, "cancelled", ended.where)
    assert ended.where.startswith(where)
    since = datetime.fromisoformat(told["since"])
    seconds = (since, since - timedelta(seconds=1))  # one of the two is rounded, the other cut
    assert any(f"{second:%Y-%m-%dT%H:%M:%S}" in check for second in seconds)
    assert await value(service, f'fanfinity_task_down{{task="{task}"}}') == 1
    assert await dashboard(service) == "degraded"
    start_anew(service)
    await is_ready(service)
    assert await value(service, restarts) == before + 1
    assert await value(service, f'fanfinity_task_down{{task="{task}"}}') == 0
    assert await dashboard(service) == "healthy"
    assert (await service.get("/api/status")).json["tasks"] == []


@pytest.mark.usefixtures("stays_ended")
async def test_a_viewer_goes_on_to_see_what_changes_when_the_poller_was_cancelled(service: Service) -> None:
    await service.post("/api/events", {"matchId": "polled", "eventType": "view"})
    async with service.context.live.subscribe("polled") as messages:
        first = await anext(messages)
        cancel("match-poller")
        await has_ended(service)
        assert (await service.get("/ready")).json["status"] == "degraded"
        start_anew(service)
        await service.post("/api/events", {"matchId": "polled", "eventType": "view"})
        async with asyncio.timeout(DEADLINE_S):
            async for message in messages:
                if message.value.total == first.value.total + 1:
                    break
    await is_ready(service)


async def test_a_poller_that_is_closed_as_it_is_about_to_be_started_anew_stays_closed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "backoff_s", lambda _: 0.05)
    await service.post("/api/events", {"matchId": "left", "eventType": "view"})
    async with service.context.live.subscribe("left"):
        cancel("match-poller")
        await has_ended(service)
    assert service.context.shards.snapshot().ended == ()
    await asyncio.sleep(0.1)
    assert all(not task.get_name().startswith("match-poller") for task in asyncio.all_tasks())


async def test_a_load_that_is_cancelled_before_it_began_does_not_block_its_match(service: Service) -> None:
    await service.post("/api/events", {"matchId": "loaded", "eventType": "view"})
    asking = asyncio.create_task(service.context.live.aggregates("loaded"))
    async with asyncio.timeout(DEADLINE_S):
        while all(task.get_name() != "load matches" for task in asyncio.all_tasks()):
            await asyncio.sleep(0)
    cancel("load matches")
    await asyncio.gather(asking, return_exceptions=True)
    assert (await service.get("/api/matches/loaded/metrics")).json["totalEvents"] == 1


@pytest.mark.usefixtures("stays_ended")
async def test_without_a_committer_events_are_refused_and_soon_taken_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await is_ready(service)
    committer = service.context.shards._committer
    commit, failures = committer._commit, [MemoryError()]

    def failing(group: list[Any]) -> None:
        if failures:
            raise failures.pop()
        commit(group)

    monkeypatch.setattr(committer, "_commit", failing)
    event = {"matchId": "refused", "eventType": "view"}
    assert (await service.post("/api/events", event)).status == 503
    ready = await service.get("/ready")
    assert (ready.status, ready.json["status"]) == (503, "not ready")
    assert ready.json["checks"]["wal"].startswith("cannot accept events: its thread has ended (MemoryError)")
    assert (await service.get("/api/status")).json["wal"]["error"]
    assert await dashboard(service) == "failing"
    assert (await service.post("/api/events", event)).status == 503
    start_anew(service)
    await is_ready(service)
    assert (await service.post("/api/events", event)).status == 202
    assert await value(service, 'fanfinity_task_restarts_total{task="wal-committer"}') == 1


async def test_a_shard_that_stores_nothing_degrades_and_all_say_so(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await is_ready(service)
    [shard] = [one for one in service.context.shards._shards if one.index == 0]
    monkeypatch.setattr(type(shard.flusher), "stalled_s", 42.0)
    monkeypatch.setattr(type(shard.pending), "__len__", lambda _: 1)
    try:
        ready = await service.get("/ready")
        status = (await service.get("/api/status")).json
        assert (ready.status, ready.json["status"], status["status"]) == (200, "degraded", "degraded")
        assert "has stored nothing since 2" in ready.json["checks"]["flush"]
        assert status["shards"][0]["stalledSeconds"] == 42
        assert await value(service, 'fanfinity_shard_stalled_seconds{shard="0"}') == 42
        assert await dashboard(service) == "degraded"
    finally:
        monkeypatch.undo()


async def test_a_log_that_cannot_be_read_is_told_with_its_reason(service: Service) -> None:
    shards = service.context.shards
    shards._room.shut("unreadable", "the write-ahead log cannot be read: x")
    recovered, shards._shards = shards._shards, []
    try:
        ready = await service.get("/ready")
        assert (ready.status, ready.json["checks"]["recovery"]) == (503, "the write-ahead log cannot be read: x")
        assert await dashboard(service) == "failing"
    finally:
        shards._shards = recovered
        shards._room.open()
