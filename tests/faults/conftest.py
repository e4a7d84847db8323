import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.bench.engines import ENGINES, Engine, Server, engine_for_kills
from tests.faults.disk import MountRefused
from tests.faults.world import World


@pytest.fixture(params=sorted(ENGINES))
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """Each of the two ways to ClickHouse, started; its end is checked."""
    engine = engine_for_kills(request.param, tmp_path)
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A ClickHouse over TCP, started; its end is checked."""
    server = Server(tmp_path, relayed=True)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A service and a ClickHouse for a module, whose tests need ``asyncio(loop_scope="module")``."""
    async with World(tmp_path_factory.mktemp("world"), seed=20_240_115) as world:
        yield world


@pytest.fixture
async def small_disk_world(tmp_path: Path) -> AsyncIterator[World]:
    """One whose service has a file system of 64 MB for itself; skipped where mounting is not possible."""
    world = World(tmp_path, seed=5, small_disk=True)
    try:
        await world.__aenter__()
    except MountRefused as error:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            raise
        pytest.skip(f"no file system of its own for the service: {error}")
    async with _entered(world):
        yield world


@asynccontextmanager
async def _entered(world: World) -> AsyncIterator[None]:
    try:
        yield
    except BaseException as error:
        await world.__aexit__(type(error), error, None)
        raise
    await world.__aexit__(None, None, None)
