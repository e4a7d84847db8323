from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench.engines import ENGINES, Engine, Server, engine_for_kills


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
