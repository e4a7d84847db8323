import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from app.observability import logs
from shards.stores.base import Store
from shards.stores.embedded import EmbeddedStore
from shards.stores.server import ServerStore
from tests.clickhouse import ClickHouseServer
from tests.statements import drop_database

LONG = ("upgrade", "power", "faults", "contract/test_erasure.py", "http/test_fuzz.py", "e2e/test_monitor.py")
"""Folders and files that take long. They begin first, so that no process is left with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of :data:`LONG` first; all others stay in their order."""
    first = tuple(Path(__file__).parent / folder for folder in LONG)
    items.sort(key=lambda item: not any(item.path.is_relative_to(folder) for folder in first))


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


@pytest.fixture(scope="module")
def embedded_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Directory of an embedded engine that runs until the module ends: its start takes longer than most tests."""
    from chdb.session import Session  # not at the top: the library takes long to load, and most tests do without

    directory = tmp_path_factory.mktemp("engine") / "chdb"
    session = Session(str(directory))
    yield directory
    session.close()


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


@pytest.fixture
def store_shards() -> int:
    """How many shards the store is for: a test that needs another number is parametrized with it."""
    return 2


@pytest.fixture(params=["server", "embedded"])
def make_store(request: pytest.FixtureRequest, database: str, store_shards: int) -> Callable[..., Store]:
    """Makes stores of one database, not opened, each time another object: with both ways to ClickHouse."""
    if request.param == "embedded":
        return partial(
            EmbeddedStore, request.getfixturevalue("embedded_directory"), database=database, shard_count=store_shards
        )
    url = request.getfixturevalue("clickhouse_url")
    return partial(ServerStore, f"{url}/{database}", shard_count=store_shards)


@pytest.fixture
async def store(make_store: Callable[..., Store]) -> AsyncIterator[Store]:
    """An open store on a database of its own."""
    store = make_store()
    await store.open()
    yield store
    await drop_database(store)
    await store.close()
