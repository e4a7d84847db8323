"""ClickHouse goes away, events keep coming, it comes back: memory and latency meanwhile, and how fast it catches up.

Most events come in batches; single ones come beside them, at most as many as in a spike, all of the same match: its one
shard carries everything. So that the machine is not saturated, whatever it can do on that day, each kind is paced at a
share of what goes at most: of single ones alone, then of batches beside them.
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
BULK_EVENTS = 1_950_000
BULK_MAX_PER_S = 39_000
SINGLES_MAX_PER_S = 1_000
SHARE = 0.4
TRIAL_S = 5
TRIAL_EVENTS = 40_000
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
        count = int(bench.pick(BULK_EVENTS, BULK_EVENTS / 12))
        async with Service(engine.directory, engine) as service:
            await send_all(service.url, make_events(seed=0, count=1_000, match_id="warm"), Journal(), batch=500)
            before_mb = service.resident_mb()
            trial = await _paced_singles(bench, service)
            bulk = Bulk(match_id=MATCH, seed=bench.seed, count=count, rate=await _bulk_rate(bench, service, trial))
            # With a seed, and so ids, of their own: what the trial stored must not pass for what the outage lost.
            singles = attrs.evolve(trial, match_id=MATCH, seed=bench.seed + 3, seconds=round(count / bulk.rate, 1))
            result = await _outage(bench, service, engine, bulk, singles, before_mb=before_mb)
            await _catch_up(bench, service, engine, bulk.acknowledged + result.acknowledged)
        await _account(bench, engine, bulk, singles, result)


async def _paced_singles(bench: Bench, service: Service) -> LoadOptions:
    """Return single events at a share of as many as go one by one, alone."""
    flat_out = LoadOptions(
        url=f"{service.url}/api/events", match_id="trial", seconds=TRIAL_S, connections=64, seed=bench.seed + 1
    )
    most = (await run_load(flat_out)).per_second
    rate = float(round(min(SINGLES_MAX_PER_S, SHARE * most)))
    bench.figure("single events/s", f"{rate:,.0f}, at most {SHARE:.0%} of the {most:,.0f} that went alone")
    return attrs.evolve(flat_out, rate=rate)


async def _bulk_rate(bench: Bench, service: Service, singles: LoadOptions) -> float:
    """Return how many events a second shall come in batches: a share of as many as go beside the single ones."""
    trial = Bulk(match_id="trial", seed=bench.seed + 2, count=TRIAL_EVENTS)
    async with asyncio.TaskGroup() as group:
        group.create_task(run_load(attrs.evolve(singles, seconds=2 * TRIAL_S)))
        await asyncio.sleep(1)
        started = time.perf_counter()
        await trial.send(service.url)
        most = trial.count / (time.perf_counter() - started)
    rate = min(BULK_MAX_PER_S, SHARE * most)
    bench.figure("events/s in batches beside them", f"{rate:,.0f}, at most {SHARE:.0%} of the {most:,.0f} that went")
    return rate


async def _outage(
    bench: Bench, service: Service, engine: Server, bulk: Bulk, singles: LoadOptions, *, before_mb: float
) -> LoadResult:
    await engine.kill()
    bench.say(f"ClickHouse is away; {bulk.rate + singles.rate:,.0f} events/s for {singles.seconds:g} s")
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
