"""As many single-event requests as one process takes, beside an aiohttp application that stores nothing."""

from tests.bench.baseline import bare_aiohttp
from tests.bench.bench import Bench
from tests.bench.load import LoadOptions, LoadResult, run_load
from tests.bench.service import Service

CONNECTIONS = (64, 256)


async def run(bench: Bench) -> None:
    """Measure both, one after the other, for each number of connections."""
    for connections in CONNECTIONS:
        async with bare_aiohttp() as url:
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
