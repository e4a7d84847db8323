from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.config import Config
from tests.http.service import Service, running

MAX_BODY_BYTES = 1 << 20


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The embedded engine in a directory of its own, a free port, small bodies, quick checkpoints."""
    return Config(
        data_dir=tmp_path_factory.mktemp("data"),
        port=0,
        monitor=None,
        max_body_bytes=MAX_BODY_BYTES,
        checkpoint_interval_ms=500,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(config: Config) -> AsyncIterator[Service]:
    """One service for a module, whose tests need ``asyncio(loop_scope="module")`` and matches of their own."""
    async with running(config) as service:
        yield service
