"""``fanfinity replay`` of a recorded match at full speed: every figure equal to a count of the file by itself.

Undisturbed, with the service killed in the middle, and with ClickHouse killed in the middle.
"""

import asyncio
import os
import random
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.engines import DATABASE, Engine, Server
from tests.bench.recorded import KICKOFF, count_file, differences, read_metrics
from tests.bench.service import Service

MATCH = "recorded"
SHOWN_WITHIN_S = 60.0
AT_KICKOFF = ("--kickoff", KICKOFF.isoformat())
SMALL_BATCHES = ("--batch", "5", "--connections", "2")
Fault = Callable[[], Awaitable[None]]


async def run(bench: Bench) -> None:
    """Replay the file in each way that this engine allows."""
    if bench.match_file is None:
        bench.say("skipped: no recorded match; name one in FANFINITY_BENCH_MATCH")
        return
    await _undisturbed(bench, bench.match_file)
    await _killed(bench, bench.match_file, "service killed in the middle")
    if bench.engine == Server.name:
        await _killed(bench, bench.match_file, "ClickHouse killed in the middle")


async def _undisturbed(bench: Bench, file: Path) -> None:
    async with bench.started_engine() as engine:
        async with Service(engine.directory, engine) as service:
            started = time.perf_counter()
            summary = await finished(await begin_replay(service, file, *AT_KICKOFF))
            bench.figure("replay at full speed, as a command", f"{time.perf_counter() - started:.1f} s")
            bench.say(summary)
            await _compare(bench, service, file, "undisturbed")
        await _check_stored(bench, engine, file, "undisturbed")


async def _killed(bench: Bench, file: Path, what: str) -> None:
    async with bench.started_engine(for_kills=True) as engine:
        async with Service(engine.directory, engine) as service:

            async def kill_service() -> None:
                await service.kill()
                await service.start()

            async def kill_clickhouse() -> None:
                assert isinstance(engine, Server)
                await engine.kill()
                await engine.start()

            moment = random.Random(bench.seed).uniform(0.2, 0.6)
            expected = count_file(file)["totalEvents"]
            process = await begin_replay(service, file, *AT_KICKOFF, *SMALL_BATCHES)
            taken = await _wait_until_taken(service, process, int(expected * moment))
            await (kill_service if what.startswith("service") else kill_clickhouse)()
            summary = await finished(process)
            bench.figure(what, f"after {taken:,} of {expected:,} events; {_repeated(summary)}")
            await _compare(bench, service, file, what)
        await _check_stored(bench, engine, file, what)


async def begin_replay(service: Service, file: Path, *options: str) -> asyncio.subprocess.Process:
    """Start the command, as a user would."""
    arguments = ["replay", str(file), "--url", service.url, "--match-id", MATCH, *options]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *arguments),
        env={name: value for name, value in os.environ.items() if not name.startswith("FANFINITY_")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def finished(process: asyncio.subprocess.Process) -> str:
    """Wait for the command and return what it printed; AssertionError unless it exits with 0."""
    out, _ = await process.communicate()
    text = out.decode(errors="replace")
    assert process.returncode == 0, f"replay ended with {process.returncode}:\n{text}"
    return text


async def _wait_until_taken(service: Service, process: asyncio.subprocess.Process, count: int) -> int:
    while (taken := await _taken(service)) < count:
        assert process.returncode is None, "the replay was over before the fault"
        await asyncio.sleep(0.002)
    return taken


async def _taken(service: Service) -> int:
    samples = await service.gauges()
    return int(sum(n for name, n in samples.items() if name.startswith("fanfinity_events_ingested_total")))


async def _compare(bench: Bench, service: Service, file: Path, what: str) -> None:
    """Wait until all is shown, then compare every figure."""
    counted = count_file(file)
    deadline = time.monotonic() + SHOWN_WITHIN_S
    while await service.total(MATCH) < counted["totalEvents"] and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    metrics = await service.metrics(MATCH)
    found = differences(counted, read_metrics(metrics)) if metrics else ["no metrics"]
    equal = f"{counted['totalEvents']:,} events, {counted['goals']} goals, score {counted['score']}"
    bench.check(f"{what}: every figure equal to the count of the file", not found, "; ".join(found) or equal)


async def _check_stored(bench: Bench, engine: Engine, file: Path, what: str) -> None:
    """Compare the destination table with the file: rows, and distinct ids."""
    expected = count_file(file)["totalEvents"]
    deadline = time.monotonic() + SHOWN_WITHIN_S
    while True:
        (row,) = await engine.query(
            f"SELECT count() AS n, uniqExact(event_id) AS ids FROM {DATABASE}.events FINAL WHERE match_id = '{MATCH}'"
        )
        stored, ids = int(row["n"]), int(row["ids"])
        if stored >= expected or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    bench.check(f"{what}: stored once each", stored == ids == expected, f"{stored:,} rows, {ids:,} ids")


def _repeated(summary: str) -> str:
    found = re.search(r"[\d,]+ attempts? had to be repeated", summary)
    return found[0] if found else "no attempt had to be repeated"
