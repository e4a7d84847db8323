"""The audit over HTTP and by the command line: who may ask, what it names, what it cannot say."""

import json
import uuid
from typing import Any

import pytest

from tests.clickhouse import free_port
from tests.http.command import run
from tests.http.problem import assert_problem
from tests.http.service import Service, eventually
from tests.statements import execute

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def store_events(service: Service, count: int) -> None:
    sent = [{"matchId": "audited", "eventType": "cheer", "eventId": str(uuid.uuid4())} for _ in range(count)]
    assert (await service.post("/api/events?ack=stored&timeout=30", sent)).status == 200


async def audited(service: Service) -> dict[str, Any]:
    reply = await service.get("/api/audit", headers=service.admin)
    assert reply.status == 200, reply.text
    assert reply.headers["Cache-Control"] == "no-store"
    return dict(reply.json)


async def test_the_command_names_what_differs(service: Service) -> None:
    await store_events(service, 30)

    async def checked() -> bool:
        return sum(shard["checkpoint"] for shard in (await audited(service))["shards"]) == 30

    await eventually(checked, lambda: "no checkpoint")
    whole = await run("audit", environment=service.environment)
    assert (whole.code, whole.out.splitlines()[0]) == (0, "whole")

    await execute(service.context.store, "TRUNCATE TABLE {db}.events")
    different = await run("audit", environment=service.environment)
    assert (different.code, different.out.splitlines()[0]) == (1, "different")
    assert "the ledger shows them, the table events holds none of them" in different.out

    await execute(service.context.store, "TRUNCATE TABLE {db}.ingest_ledger")
    found = json.loads((await run("audit", "--json", environment=service.environment)).out)
    assert found == await audited(service) | {"timestamp": found["timestamp"]}
    assert {one["kind"] for one in found["differences"]} == {"ledger"}
    assert found["differencesTotal"] == len(found["differences"])
    assert sum(shard["missing"] for shard in found["shards"]) == 30


async def test_what_cannot_be_checked_has_an_exit_code_of_its_own(service: Service) -> None:
    await store_events(service, 1)
    # A table that is missing would be made again by the service, sooner or later.
    await execute(service.context.store, "ALTER TABLE {db}.ingest_ledger RENAME COLUMN rows TO away")
    try:
        assert_problem(await service.get("/api/audit", headers=service.admin), 503, says="")
        refused = await run("audit", environment=service.environment)
        assert (refused.code, refused.out) == (2, "")
        assert f"{service.url}/api/audit answered 503: " in refused.err
    finally:
        await execute(service.context.store, "ALTER TABLE {db}.ingest_ledger RENAME COLUMN away TO rows")
    url = f"http://127.0.0.1:{free_port()}"
    alone = await run("audit", "--url", url)
    assert (alone.code, alone.out) == (2, "")
    assert alone.err.startswith(f"Error: {url} does not answer")
    assert len(alone.err.splitlines()) == 1
