"""One row among many that ClickHouse refuses by a constraint: it alone is put aside."""

import asyncio
import time
from typing import Any

from tests.bench.bench import Bench
from tests.bench.bulk import Bulk, stored
from tests.bench.engines import DATABASE, Server
from tests.bench.service import Service

MATCH = "poison"
ROWS = 10_000
WITHIN_S = 120.0


async def run(bench: Bench) -> None:
    """Send the rows in one request and count what becomes of them."""
    async with bench.started_engine() as engine:
        assert isinstance(engine, Server)
        bulk = Bulk(match_id=MATCH, seed=bench.seed, count=ROWS, batch=ROWS)
        refused = f"{bulk.id_prefix}{ROWS // 3:012x}"
        async with Service(engine.directory, engine) as service:
            await _refuse(engine, refused)
            began = time.perf_counter()
            await bulk.send(service.url)
            await _settled(service)
            bench.figure("from sending them until the one is put aside", f"{time.perf_counter() - began:.1f} s")
            letters = await _letters(service)
        found = await stored(engine, MATCH)
        bench.check(
            "all the others stored, once each", found.rows == found.ids == ROWS - 1, f"{found.ids:,} of {ROWS:,}"
        )
        ids = [letter["event"]["eventId"] for letter in letters]
        bench.check("one dead letter, the refused one", ids == [refused], f"{len(ids)} found")
        error = letters[0]["error"] if letters else ""
        bench.check("it has ClickHouse's own error", "no_poison" in str(error), str(error)[:300])


async def _refuse(engine: Server, event_id: str) -> None:
    await engine.query(
        f"ALTER TABLE {DATABASE}.events ADD CONSTRAINT no_poison CHECK toString(event_id) != '{event_id}'"
    )


async def _settled(service: Service) -> None:
    """Wait until nothing is pending any more."""
    async with asyncio.timeout(WITHIN_S):
        while (await service.gauges())["fanfinity_wal_pending_records"]:
            await asyncio.sleep(0.05)


async def _letters(service: Service) -> list[dict[str, Any]]:
    async with service.session.get("/api/deadletters", headers=service.admin) as reply:
        body = await reply.json()
        assert reply.status == 200, body
        letters: list[dict[str, Any]] = body["deadLetters"]
        return letters
