"""The order in which the service starts and closes, in aiohttp's own terms."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from app.config import Config
from app.context import CONTEXT
from app.server.application import create_app
from shards.errors import DataDirectoryLocked

EVENT = {"matchId": "derby", "eventType": "cheer"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data_dir=tmp_path / "data", shards=2, monitor=None, port=0, shutdown_timeout_s=5)


@pytest.fixture
async def runner(config: Config) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(create_app(config), auto_decompress=False, access_log=None, shutdown_timeout=1)
    yield runner
    await runner.cleanup()


async def _serve(runner: web.AppRunner) -> str:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


async def _until_store_is_up(runner: web.AppRunner) -> None:
    """Wait until ClickHouse can be used."""
    async with asyncio.timeout(30):
        while not runner.app[CONTEXT].shards.snapshot().store.up:
            await asyncio.sleep(0.01)


async def test_nothing_happens_before_the_start(config: Config) -> None:
    create_app(config)
    assert not config.data_dir.exists()


async def test_the_order_of_the_shutdown(runner: web.AppRunner) -> None:
    app = runner.app
    context = app[CONTEXT]
    seen: dict[str, tuple[bool, int, bool]] = {}

    def note(moment: str) -> None:
        seen[moment] = (context.stopping, context.live.viewers, context.shards.snapshot().accepting)

    async def after_the_streams(_app: web.Application) -> None:
        note("streams ended")

    async def before_the_drain(_app: web.Application) -> AsyncIterator[None]:
        yield
        note("before the drain")

    app.on_shutdown.append(after_the_streams)
    app.cleanup_ctx.append(before_the_drain)
    url = await _serve(runner)
    await _until_store_is_up(runner)
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/api/events", json=EVENT) as reply:
            assert reply.status == 202
        async with session.get(f"{url}/api/matches/derby/stream") as stream:
            await stream.content.readline()
            note("running")
            await runner.cleanup()
            note("closed")
            await stream.read()
    assert seen == {
        "running": (False, 1, True),
        "streams ended": (True, 0, True),
        "before the drain": (True, 0, True),
        "closed": (True, 0, False),
    }
    left = context.shards.snapshot()
    assert (left.appended, left.confirmed, left.pending) == (1, 1, 0)


async def test_what_was_acknowledged_while_it_closed_is_stored(runner: web.AppRunner) -> None:
    url = await _serve(runner)
    acknowledged: set[str] = set()
    statuses: set[int] = set()
    enough = asyncio.Event()

    async def send_for_ever(session: aiohttp.ClientSession) -> None:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            while True:
                async with session.post(f"{url}/api/events", json=EVENT) as reply:
                    statuses.add(reply.status)
                    if reply.status == 202:
                        acknowledged.add((await reply.json())["eventId"])
                if len(acknowledged) >= 100:
                    enough.set()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(send_for_ever(session))
        await enough.wait()
        await runner.cleanup()
    left = runner.app[CONTEXT].shards.snapshot()
    # A connection may be cut after the fsync and before the reply, so there may be more.
    assert left.pending == 0
    assert left.confirmed >= len(acknowledged) >= 100
    assert statuses == {202}


async def test_a_body_that_is_cut_off_by_the_shutdown_is_neither_acknowledged_nor_stored(
    runner: web.AppRunner,
) -> None:
    url = await _serve(runner)

    async def half_a_body() -> AsyncIterator[bytes]:
        yield b'[{"matchId":"derby","eventType":"cheer"},'
        await asyncio.Event().wait()

    async with aiohttp.ClientSession() as session:
        headers = {"Content-Type": "application/json"}
        request = asyncio.create_task(session.post(f"{url}/api/events", data=half_a_body(), headers=headers))
        await _until_begun(runner)
        await runner.cleanup()
        with pytest.raises(aiohttp.ClientConnectionError):
            await request
    assert runner.app[CONTEXT].shards.snapshot().appended == 0


async def _until_begun(runner: web.AppRunner) -> None:
    assert runner.server is not None
    async with asyncio.timeout(30):
        while runner.server.requests_count == 0:
            await asyncio.sleep(0.01)


async def test_not_ready_once_a_shutdown_has_begun(runner: web.AppRunner) -> None:
    url = await _serve(runner)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/ready") as reply:
            assert reply.status == 200
        runner.app[CONTEXT].shutdown.begin()
        async with session.get(f"{url}/ready") as reply:
            assert reply.status == 503
        async with session.get(f"{url}/health") as reply:
            assert reply.status == 200


async def test_a_start_that_fails_leaves_nothing_behind(config: Config, runner: web.AppRunner) -> None:
    await _serve(runner)
    second = web.AppRunner(create_app(config))
    with pytest.raises(DataDirectoryLocked, match="in use by another"):
        await second.setup()
    await second.cleanup()
    await runner.cleanup()
    third = web.AppRunner(create_app(config))
    await third.setup()
    await third.cleanup()


async def test_it_drains_no_longer_than_it_may(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"clickhouse://127.0.0.1:{nobody.getsockname()[1]}"
        config = Config(data_dir=tmp_path, monitor=None, clickhouse_url=url, shutdown_timeout_s=0.5)
        runner = web.AppRunner(create_app(config), auto_decompress=False, shutdown_timeout=0.1)
        base = await _serve(runner)
        async with aiohttp.ClientSession(base) as session, session.post("/api/events", json=EVENT) as reply:
            assert reply.status == 202
        await runner.cleanup()
    left = runner.app[CONTEXT].shards.snapshot()
    assert (left.appended, left.pending, left.accepting) == (1, 1, False)
