import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from app.observability import logs
from shards.stores.base import Store
from shards.stores.embedded import EmbeddedStore
from shards.stores.server import ServerStore
from tests.clickhouse import ClickHouseServer

SHARDS = 2


@pytest.fixture(scope="session", autouse=True)
def _lines_reach_caplog() -> None:
    """Lines go to `logging`, as in the service: tests/logged.py reads them from there."""
    logs.hand_over()


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a ClickHouse without a database: ``TEST_CLICKHOUSE_URL``, or one of our own for all tests."""
    if given := os.environ.get("TEST_CLICKHOUSE_URL"):
        yield given.rstrip("/")
        return
    server = ClickHouseServer(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def own_clickhouse(tmp_path: Path) -> Iterator[ClickHouseServer]:
    """A ClickHouse of this test alone, started, to be killed; that it did not die by itself is checked."""
    server = ClickHouseServer(tmp_path / "clickhouse")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database() -> str:
    """A name that no other test uses."""
    return f"test_{secrets.token_hex(6)}"


@pytest.fixture(params=["server", "embedded"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Callable[[], Store]:
    """Makes stores of one database, not opened, each time another object: with both ways to ClickHouse."""
    if request.param == "embedded":
        return lambda: EmbeddedStore(tmp_path / "chdb", shards=SHARDS, database=database)
    url = request.getfixturevalue("clickhouse_url")
    return lambda: ServerStore(f"{url}/{database}", shards=SHARDS)


@pytest.fixture
async def store(make_store: Callable[[], Store]) -> AsyncIterator[Store]:
    """An open store on a database of its own."""
    store = make_store()
    await store.open()
    yield store
    await store._schema(f"DROP DATABASE IF EXISTS {store.database} SYNC")
    await store.close()
