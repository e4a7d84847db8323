"""Thousands of readers of one match that is written: how often ClickHouse is asked for them, and how long they wait.

What ClickHouse is asked is counted on the wire, by a relay in front of it.
"""

import asyncio
import itertools
import time

import aiohttp

from tests.bench.baseline import bare_aiohttp
from tests.bench.bench import Bench
from tests.bench.engines import Server
from tests.bench.events import make_events
from tests.bench.load import LoadOptions, LoadResult, run_load
from tests.bench.sender import Journal, send_all
from tests.bench.service import Service

MATCH = "readers"
READERS = 2_000
EVENTS_PER_S = 1_000
BATCH = 10
EVENTS_BEFORE = 10_000
COUNTED = b"enable_shared_storage_snapshot_in_query"
"""Only the statements that count a match have it, each once."""

LOADS_MAX_PER_S = 2
P99_MAX_MS = 100
WARM_UP_S = 3.0
LINGER_S = 2.0
ARRIVAL_S = 10.0
"""So much longer than the readers ask events are written: they come beside them, too, however slowly."""


async def run(bench: Bench) -> None:
    """Measure plain and conditional readers."""
    async with bench.started_engine(for_kills=True) as engine, Service(engine.directory, engine) as service:
        assert isinstance(engine, Server)
        engine.relay.marker = COUNTED
        events = make_events(seed=bench.seed, count=EVENTS_BEFORE, match_id=MATCH)
        await send_all(service.url, events, Journal(), batch=500)
        await asyncio.gather(
            _readers(service.url, WARM_UP_S, conditional=False), _writer(service.url, WARM_UP_S, seed=1, batch=1)
        )
        await _measure(bench, engine, service, f"during 1,000 events/s, {BATCH} in a request", batch=BATCH)
        await _measure(bench, engine, service, "during 1,000 events/s, 1 in a request", batch=1)
        await _measure(bench, engine, service, "without new events, If-None-Match", batch=0)
        answer_bytes = await _answer_bytes(service)
    await _yardstick(bench, answer_bytes)


async def _yardstick(bench: Bench, answer_bytes: int) -> None:
    """The same load upon a handler that knows nothing: what this machine can give at all."""
    name, seconds = f"bare aiohttp, a fixed answer of {answer_bytes:,} bytes", bench.pick(30, 6)
    for batch in (BATCH, 1):
        async with bare_aiohttp(answer_bytes=answer_bytes) as url:
            writing = asyncio.create_task(_writer(url, seconds + ARRIVAL_S, seed=bench.seed, batch=batch))
            readers, writer = await _readers(url, seconds, conditional=False), await writing
        bench.figure(
            f"{name}, during 1,000 events/s, {batch} in a request: {READERS:,} readers, p50 / p99 / max",
            f"{readers.p50_ms:.1f} / {readers.p99_ms:.1f} / {readers.max_ms:.1f} ms",
        )
        failed = readers.errors + writer.errors
        bench.check(f"{name}, {batch} in a request: every answer came, and was 200 or 202", not failed, f"{failed} not")


async def _answer_bytes(service: Service) -> int:
    """Return the size of an answer as it is sent, compressed."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(f"{service.url}/api/matches/{MATCH}/metrics") as reply,
    ):
        assert reply.headers["Content-Encoding"] == "gzip"
        return len(await reply.read())


async def _measure(bench: Bench, engine: Server, service: Service, name: str, *, batch: int) -> None:
    """Readers beside a writer; or, where nothing is written, readers that ask whether there is anything new.

    The readers come first, as quickly as they are answered; how long that takes is a figure of its own.
    """
    seconds = bench.pick(30, 6)
    engine.relay.seen.clear()
    selects, cpu_s, started = await _selects(engine), service.cpu_s(), time.perf_counter()
    written_s = seconds + ARRIVAL_S if batch else 0.0
    writing = asyncio.create_task(_writer(service.url, written_s, seed=bench.seed + 1 + batch, batch=batch or 1))
    readers = await _readers(service.url, seconds, conditional=not batch)
    took = time.perf_counter() - started
    queries = list(engine.relay.seen)
    loads = (len(queries) - 1) / (queries[-1] - queries[0]) if len(queries) > 1 else 0.0
    apart_s = min((after - before for before, after in itertools.pairwise(queries)), default=0.0)
    bench.figure(
        f"{name}: metric queries that ClickHouse was sent, from the first to the last",
        f"{loads:.2f}/s ({len(queries)} for {readers.sent:,} readings), {apart_s * 1000:.0f} ms or more apart",
        target=f"≤ {LOADS_MAX_PER_S}/s",
        met=0 < loads <= LOADS_MAX_PER_S,
    )
    others, cpu = (await _selects(engine) - selects) / took, (service.cpu_s() - cpu_s) / took
    writer = await writing
    bench.figure(f"{name}: SELECTs of any kind, those of the flushes too", f"{others:.1f}/s")
    bench.figure(
        f"{name}: until {READERS:,} readers had come, and how long one took p99 / max",
        f"{readers.arrived_s:.1f} s, {readers.arrival_p99_ms:.0f} / {readers.arrival_max_ms:.0f} ms",
    )
    bench.figure(
        f"{name}: {READERS:,} readers, each once a second, p50 / p99 / max",
        f"{readers.p50_ms:.1f} / {readers.p99_ms:.1f} / {readers.max_ms:.1f} ms",
        target=f"p99 < {P99_MAX_MS} ms",
        met=readers.p99_ms < P99_MAX_MS and not readers.unanswered,
    )
    bench.figure(f"{name}: readings without an answer {LINGER_S:g} s after the last one", f"{readers.unanswered:,}")
    if batch:
        beside = f"{writer.p50_ms:.1f} / {writer.p99_ms:.1f} / {writer.max_ms:.1f} ms"
        bench.figure(f"{name}: POST beside them, p50 / p99 / max", beside)
    else:
        bench.figure(f"{name}: answered by 304", f"{readers.statuses.get('304', 0):,} of {readers.sent:,}")
    bench.figure(f"{name}: CPU of the service", f"{cpu:.0%} of a core")
    if batch:
        bench.check(
            f"{name}: written until the last reading", readers.arrived_s < ARRIVAL_S, f"{readers.arrived_s:.1f} s"
        )
    wrong = sum(one.errors - one.unanswered for one in (readers, writer))
    bench.check(f"{name}: no answer but 200, 202 and 304", not wrong, f"{wrong} were, or broke off")


async def _selects(engine: Server) -> int:
    rows = await engine.query("SELECT value FROM system.events WHERE event = 'SelectQuery'")
    return int(rows[0]["value"]) if rows else 0


async def _readers(url: str, seconds: float, *, conditional: bool) -> LoadResult:
    return await run_load(
        LoadOptions(
            url=f"{url}/api/matches/{MATCH}/metrics",
            match_id=MATCH,
            seconds=seconds,
            connections=READERS,
            rate=READERS,
            reads=1,
            conditional=int(conditional),
            linger_s=LINGER_S,
        )
    )


async def _writer(url: str, seconds: float, *, seed: int, batch: int) -> LoadResult:
    return await run_load(
        LoadOptions(
            url=f"{url}/api/events",
            match_id=MATCH,
            seconds=seconds,
            connections=64,
            rate=EVENTS_PER_S / batch,
            batch=batch,
            seed=seed,
        )
    )
