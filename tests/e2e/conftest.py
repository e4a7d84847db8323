from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.process import Process, Start


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the service: on a free port, with two shards, without monitor, unless the settings say otherwise."""
    processes = []
    defaults = {"PORT": 0, "DATA_DIR": tmp_path / "data", "MONITOR": "", "SHARDS": 2, "LOG_FORMAT": "json"}

    async def _start(*arguments: str, **settings: object) -> Process:
        processes.append(await Process.start(*(arguments or ("serve",)), settings=defaults | settings))
        return processes[-1]

    yield _start
    for process in processes:
        await process.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
