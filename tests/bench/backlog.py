"""ClickHouse goes away, events keep coming, it comes back: memory meanwhile, and how fast the backlog goes in."""

import asyncio
import time

from tests.bench.bench import Bench
from tests.bench.engines import DATABASE, Engine, Server
from tests.bench.events import make_events
from tests.bench.sender import Journal, send_all, settled_account
from tests.bench.service import Service

MATCH = "backlog"
BATCH = 500
STORED_WITHIN_S = 300.0


async def run(bench: Bench) -> None:
    """Measure an outage. The embedded engine cannot go away, so it has none."""
    async with bench.started_engine() as engine:
        if not isinstance(engine, Server):
            bench.say("skipped: the embedded engine lives and dies with the service")
            return
        journal = Journal()
        async with Service(engine.directory, engine) as service:
            await send_all(service.url, make_events(seed=0, count=1_000, match_id="warm"), Journal(), batch=BATCH)
            await _outage(bench, service, engine, journal)
            await _catch_up(bench, service, engine, len(journal.acknowledged))
        bench.check_account(await settled_account(engine, MATCH, journal))


async def _outage(bench: Bench, service: Service, engine: Server, journal: Journal) -> None:
    events = make_events(seed=bench.seed, count=int(bench.pick(200_000, 20_000)), match_id=MATCH)
    before_mb = service.resident_mb()
    await engine.kill()
    bench.say(f"ClickHouse is away; sending {len(events):,} events in batches of {BATCH}")
    started = time.perf_counter()
    await send_all(service.url, events, journal, batch=BATCH, give_up_after_s=600)
    took = time.perf_counter() - started
    bench.figure("events accepted while ClickHouse is away", f"{len(events):,}, {len(events) / took:,.0f}/s")
    bench.figure("growth of resident memory meanwhile", f"{service.resident_mb() - before_mb:.0f} MB")
    bench.check("no batch had to be sent again", journal.resent == 0, f"{journal.resent} had to")


async def _catch_up(bench: Bench, service: Service, engine: Server, expected: int) -> None:
    await engine.start()
    started = time.perf_counter()
    first_at = 0.0
    while (stored := await _stored(engine)) < expected and time.perf_counter() < started + STORED_WITHIN_S:
        first_at = first_at or (time.perf_counter() if stored else 0.0)
        await asyncio.sleep(0.05)
    took = time.perf_counter() - started
    bench.check("the whole backlog is stored", stored == expected, f"{stored:,} of {expected:,}")
    bench.figure("stored, from ClickHouse's return", f"{stored / took:,.0f} rows/s ({took:.1f} s)")
    bench.figure("of which until the first row was there", f"{max(0.0, first_at - started):.1f} s")
    bench.figure("resident memory after the catch-up", f"{service.resident_mb():.0f} MB")


async def _stored(engine: Engine) -> int:
    rows = await engine.query(f"SELECT uniqExact(event_id) AS n FROM {DATABASE}.events WHERE match_id = '{MATCH}'")
    return int(rows[0]["n"])
