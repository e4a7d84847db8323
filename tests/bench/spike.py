"""A goal falls: 1,000 single-event requests a second, all of one match, and one reader of its metrics a second."""

import asyncio
import time
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.load import LoadOptions, Requests, percentile, run_load
from tests.bench.sender import Journal, settled_account
from tests.bench.service import Service

MATCH = "spike"
RATE = 1_000
CONNECTIONS = 64
P99_MAX_MS = 200


class Reader:
    """Asks for a match's metrics once a second, and keeps how long that took and what it saw."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.took_ms: list[float] = []
        self.totals: list[int] = []

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            started = time.perf_counter()
            self.totals.append(await self._service.total(MATCH))
            self.took_ms.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(1)


async def run(bench: Bench) -> None:
    """Measure the spike."""
    async with bench.started_engine() as engine:
        acknowledged = engine.directory / "acknowledged"
        async with Service(engine.directory, engine) as service:
            options = LoadOptions(
                url=f"{service.url}/api/events",
                match_id=MATCH,
                seconds=bench.pick(60, 10),
                connections=CONNECTIONS,
                rate=RATE,
                seed=bench.seed,
                acknowledged=str(acknowledged),
            )
            journal = await _measure(bench, service, options)
            await _check_total(bench, service, len(journal.acknowledged))
        bench.check_account(await settled_account(engine, MATCH, journal))


async def _measure(bench: Bench, service: Service, options: LoadOptions) -> Journal:
    reader = Reader(service)
    reading = asyncio.create_task(reader.run())
    cpu_before = service.cpu_s()
    bench.say(f"{RATE} requests/s for {options.seconds:g} s over {CONNECTIONS} connections")
    result = await run_load(options)
    cpu = service.cpu_s() - cpu_before
    reading.cancel()
    await asyncio.wait({reading})
    bench.figure("requests/s, sent at", f"{RATE:,}")
    bench.figure(
        "requests sent / not answered by 202",
        f"{result.sent:,} / {result.errors:,} {_others(result.statuses)}",
    )
    bench.figure(
        "latency p50 / p95 / p99 / max, from the scheduled moment",
        f"{result.p50_ms:.1f} / {result.p95_ms:.1f} / {result.p99_ms:.1f} / {result.max_ms:.1f} ms",
        target=f"p99 < {P99_MAX_MS} ms",
        met=result.p99_ms < P99_MAX_MS,
    )
    took = sorted(reader.took_ms)
    bench.figure("GET metrics beside it p50 / max", f"{percentile(took, 0.5):.1f} / {percentile(took, 1.0):.1f} ms")
    bench.figure("CPU of the service", f"{cpu / result.seconds * 100:.0f} % of a core")
    bench.figure("resident memory of the service at the end", f"{service.resident_mb():.0f} MB")
    bench.check("every request answered by 202", result.errors == 0, f"{result.errors} were not")
    falls = sum(later < earlier for earlier, later in zip(reader.totals, reader.totals[1:], strict=False))
    bench.check("totalEvents never fell", falls == 0, f"{falls} of {len(reader.totals)} reads were lower")
    ids = set(Path(options.acknowledged).read_text(encoding="ascii").split())
    requests = Requests(options)
    return Journal(sent={one for index in range(result.sent) for one in requests.event_ids(index)}, acknowledged=ids)


def _others(statuses: dict[str, int]) -> str:
    others = {status: count for status, count in statuses.items() if status != "202"}
    return str(others) if others else ""


async def _check_total(bench: Bench, service: Service, expected: int) -> None:
    """Wait for the total to come to what was acknowledged; it may not stay below it, nor go beyond."""
    deadline = time.monotonic() + 30
    while (total := await service.total(MATCH)) < expected and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    bench.check("totalEvents equals acknowledged", total == expected, f"{total:,} and {expected:,}")
