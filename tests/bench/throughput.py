"""As many single-event requests as one process takes, beside an aiohttp application that stores nothing."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.bench.bench import Bench
from tests.bench.load import LoadOptions, LoadResult, run_load
from tests.bench.service import Service
from tests.clickhouse import free_port

CONNECTIONS = (64, 256)


async def run(bench: Bench) -> None:
    """Measure both, one after the other, for each number of connections."""
    for connections in CONNECTIONS:
        async with _baseline() as url:
            bare = await _flat_out(bench, url, connections)
        async with bench.started_engine() as engine, Service(engine.directory, engine) as service:
            ours = await _flat_out(bench, service.url, connections)
        for name, result in (("bare aiohttp", bare), ("the service", ours)):
            bench.figure(
                f"{connections} connections, {name}",
                f"{result.per_second:,.0f} requests/s, p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms",
            )
        bench.figure(
            f"{connections} connections, the service : bare aiohttp",
            f"{ours.per_second / bare.per_second:.2f}",
        )
        refused = ours.statuses.get("503", 0)
        bench.check(
            f"{connections} connections: 202, or refused early by 503",
            ours.errors == refused,
            f"{ours.errors - refused} of {ours.sent:,} other answers or none, {refused} refused",
        )


async def _flat_out(bench: Bench, url: str, connections: int) -> LoadResult:
    return await run_load(
        LoadOptions(
            url=f"{url}/api/events",
            match_id="throughput",
            seconds=bench.pick(10, 3),
            connections=connections,
            seed=bench.seed,
        )
    )


@asynccontextmanager
async def _baseline() -> AsyncIterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.baseline", str(port))
    try:
        deadline = time.monotonic() + 20
        async with aiohttp.ClientSession() as session:
            while not await _answers(session, url):
                assert time.monotonic() < deadline, "the bare application does not answer"
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/ready") as reply:
            return reply.status == 200
    except aiohttp.ClientConnectionError:
        return False
