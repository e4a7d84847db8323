"""ClickHouse goes away, events keep coming, it comes back: memory and latency meanwhile, and how fast it catches up.

Most events come in batches, paced so that the machine is not saturated; single ones come beside them, at the rate of
a spike, all of the same match: its one shard carries everything.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs

from tests.bench.bench import Bench
from tests.bench.bulk import Bulk, all_stored, stored
from tests.bench.engines import Engine, Server
from tests.bench.events import make_events
from tests.bench.load import LoadOptions, LoadResult, Requests, run_load
from tests.bench.sender import Account, Journal, send_all
from tests.bench.service import Service

MATCH = "outage"
EVENTS_PER_S = 40_000
SINGLES_PER_S = 1_000
GROWTH_MAX_MB = 100
P99_MAX_MS = 100
STORED_MIN_PER_S = 50_000


@attrs.define
class _Resident:
    """The most resident memory that was seen, in MB."""

    peak_mb: float


async def run(bench: Bench) -> None:
    """Measure an outage."""
    async with bench.started_engine() as engine:
        assert isinstance(engine, Server)
        seconds = bench.pick(50, 4)
        singles = LoadOptions(
            url="", match_id=MATCH, seconds=seconds, connections=64, rate=SINGLES_PER_S, seed=bench.seed + 1
        )
        bulk_rate = EVENTS_PER_S - SINGLES_PER_S
        bulk = Bulk(match_id=MATCH, seed=bench.seed, count=int(seconds * bulk_rate), rate=bulk_rate)
        async with Service(engine.directory, engine) as service:
            singles = attrs.evolve(singles, url=f"{service.url}/api/events")
            await send_all(service.url, make_events(seed=0, count=1_000, match_id="warm"), Journal(), batch=500)
            result = await _outage(bench, service, engine, bulk, singles)
            await _catch_up(bench, service, engine, bulk.count + result.sent)
        await _account(bench, engine, bulk, singles, result)


async def _outage(bench: Bench, service: Service, engine: Server, bulk: Bulk, singles: LoadOptions) -> LoadResult:
    before_mb = service.resident_mb()
    await engine.kill()
    bench.say(f"ClickHouse is away; {EVENTS_PER_S:,} events/s for {singles.seconds:g} s")
    started = time.perf_counter()
    async with _watched(service) as resident, asyncio.TaskGroup() as group:
        loading = group.create_task(run_load(singles))
        await bulk.send(service.url)
        took = time.perf_counter() - started
    result, growth_mb = loading.result(), resident.peak_mb - before_mb
    accepted = bulk.acknowledged + result.acknowledged
    bench.figure(
        "events accepted while ClickHouse is away",
        f"{accepted:,}: {bulk.acknowledged:,} in batches of {bulk.batch}, {result.acknowledged:,} one by one",
    )
    bench.figure("accepted in", f"{took:.0f} s, {accepted / took:,.0f} events/s")
    bench.figure(
        "growth of resident memory, at its most",
        f"{growth_mb:.0f} MB, from {before_mb:.0f} MB",
        target=f"< {GROWTH_MAX_MB} MB",
        met=growth_mb < GROWTH_MAX_MB,
    )
    bench.figure(
        f"POST of one event, {singles.rate:,.0f}/s beside the batches, p50 / p99 / max",
        f"{result.p50_ms:.1f} / {result.p99_ms:.1f} / {result.max_ms:.1f} ms",
        target=f"p99 < {P99_MAX_MS} ms",
        met=result.p99_ms < P99_MAX_MS,
    )
    bench.check("every single event answered by 202", result.errors == 0, f"{result.errors} were not")
    bench.check("no batch had to be sent again", bulk.resent == 0, f"{bulk.resent} had to")
    return result


@asynccontextmanager
async def _watched(service: Service) -> AsyncIterator[_Resident]:
    seen = _Resident(service.resident_mb())

    async def watch() -> None:
        while True:
            seen.peak_mb = max(seen.peak_mb, service.resident_mb())
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _catch_up(bench: Bench, service: Service, engine: Server, expected: int) -> None:
    await engine.start()
    started = time.perf_counter()
    everything = await all_stored(engine, MATCH, expected)
    took = time.perf_counter() - started
    found = await stored(engine, MATCH)
    bench.check("the whole backlog is stored", everything, f"{found.ids:,} of {expected:,}")
    bench.figure(
        "stored, from ClickHouse's return to the last distinct event",
        f"{found.ids / took:,.0f} rows/s ({took:.1f} s)",
        target=f"≥ {STORED_MIN_PER_S:,} rows/s",
        met=found.ids / took >= STORED_MIN_PER_S,
    )
    bench.figure("resident memory after the catch-up", f"{service.resident_mb():.0f} MB")


async def _account(bench: Bench, engine: Engine, bulk: Bulk, singles: LoadOptions, result: LoadResult) -> None:
    """Count what was sent in batches and one by one; what is left of the match was never sent."""
    of_bulk = await stored(engine, MATCH, id_prefix=bulk.id_prefix)
    of_singles = await stored(engine, MATCH, id_prefix=Requests(singles).id_prefix)
    of_match = await stored(engine, MATCH)
    lost = max(0, bulk.acknowledged - of_bulk.ids) + max(0, result.acknowledged - of_singles.ids)
    sent = Account(
        lost=lost,
        extra=of_match.ids - of_bulk.ids - of_singles.ids,
        twice=of_match.rows - of_match.ids,
    )
    bench.check_account(sent)
