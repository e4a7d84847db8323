"""What ClickHouse quotes of a row reaches the dead letter and nothing else: no public answer, no line of the log."""

import io
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import attrs
import pytest
import pytest_asyncio

from app.config import Config
from app.observability import logs
from shards.stores.server import ServerStore
from tests.http.service import Service, eventually, running
from tests.statements import drop_database, execute

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "Jane Roe 0612345678"
PUBLIC = ("/ready", "/health", "/health/startup", "/api/status", "/metrics", "/", "/api/matches", "/api/receipts/none")
TABLE = "CREATE TABLE IF NOT EXISTS {db}.analysis (text String) ENGINE = Memory"
# A row without metadata passes, so that others get in beside the one that does not.
VIEW = (
    "CREATE MATERIALIZED VIEW {{db}}.private TO {{db}}.analysis AS "
    "SELECT if(metadata = '{{}}', '', toString({})) AS text FROM {{db}}.events"
)
END_OF_VIEW = "DROP TABLE {db}.private SYNC"
# What makes ClickHouse quote a row, each under another kind of error, and what ends it. Views fail after the row is in.
QUOTING = {
    "constraint": (
        "ALTER TABLE {db}.events ADD CONSTRAINT private CHECK metadata = '{}'",
        "ALTER TABLE {db}.events DROP CONSTRAINT private",
    ),
    "number": (VIEW.format("toUInt32(metadata)"), END_OF_VIEW),
    "name": (VIEW.format("CAST(JSONExtractString(metadata, 'player') AS Enum8('nobody' = 1))"), END_OF_VIEW),
    "uuid": (VIEW.format("toUUID(JSONExtractString(metadata, 'player'))"), END_OF_VIEW),
}


@pytest.fixture(scope="module", params=["embedded", "server"])
def url(request: pytest.FixtureRequest) -> str:
    name = f"test_{secrets.token_hex(6)}"
    return "" if request.param == "embedded" else f"{request.getfixturevalue('clickhouse_url')}/{name}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(url: str, config: Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    own = attrs.evolve(config, data_dir=tmp_path_factory.mktemp("data"), clickhouse_url=url)
    async with running(own) as service:
        yield service
    if url:
        store = ServerStore(url, shard_count=1)
        await drop_database(store)
        await store.close()


@pytest.fixture
def lines(config: Config) -> Iterator[io.StringIO]:
    """All that the service logs, as it is written."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(attrs.evolve(config, log_format="json", log_level="DEBUG"), stream=stream)
    written = root.handlers[:]
    root.handlers = [*handlers, *written]
    yield stream
    root.handlers, root.level = handlers, level


async def _told(service: Service) -> str:
    return "\n".join([f"{reply.headers} {reply.text}" for path in PUBLIC for reply in [await service.get(path)]])


@pytest.mark.parametrize("kind", QUOTING)
async def test_a_text_that_clickhouse_quotes_is_in_the_dead_letter_only(
    watched: Service, lines: io.StringIO, kind: str
) -> None:
    store, (begin, end) = watched.context.store, QUOTING[kind]
    await execute(store, TABLE)
    await execute(store, begin)
    match_id = f"private-{kind}"
    event: dict[str, Any] = {"matchId": match_id, "eventType": "goal", "teamId": "1"}
    told = []

    async def settled() -> bool:
        told.append(await _told(watched))
        snapshot = watched.context.shards.snapshot()
        return snapshot.pending == 0

    try:
        await watched.post("/api/events", [event] * 5 + [event | {"metadata": {"player": SECRET}}] + [event] * 5)
        await eventually(settled, lambda: lines.getvalue()[-2000:])
    finally:
        await execute(store, end)
    told.append(await _told(watched))
    assert SECRET not in "\n".join(told)
    assert SECRET not in lines.getvalue()
    assert '"code": ' in lines.getvalue()
    letters = await watched.get("/api/deadletters", headers=watched.admin)
    if kind == "constraint":
        [letter] = [one for one in letters.json["deadLetters"] if one["event"]["matchId"] == match_id]
        assert SECRET in letter["error"]
    assert (await watched.get("/api/deadletters")).status == 401
