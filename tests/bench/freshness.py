"""How soon an acknowledged event is in the metrics, and whether an answer ever goes back, under constant flushing.

One writer sends 1,000 events/s of one match in batches, one after another; several readers ask without pause. Once with
the default settings, when thousands of rows are pending; once with flushes and checkpoints as often as possible, and,
where ClickHouse can be asked from outside, something else that runs ``OPTIMIZE`` on every Buffer table all the time.
"""

import asyncio
import time

import attrs

from tests.bench.bench import Bench
from tests.bench.engines import DATABASE, Engine
from tests.bench.events import make_events
from tests.bench.load import percentile
from tests.bench.sender import Journal, send_all, settled_account
from tests.bench.service import Service

MATCH = "freshness"
BATCH = 10
BATCHES_PER_S = 100
READERS = 4
READ_PAUSE_S = 0.005
LATE_S = 1.0
BUSY = {"FANFINITY_FLUSH_INTERVAL_MS": "5", "FANFINITY_CHECKPOINT_INTERVAL_MS": "50"}


@attrs.frozen
class Reading:
    """One answer of GET metrics: when it was asked for, when it was there, what it said."""

    asked: float
    answered: float
    total: int


@attrs.frozen
class Acknowledged:
    """From ``at`` on, at least ``count`` events were acknowledged."""

    at: float
    count: int


async def run(bench: Bench) -> None:
    """Measure freshness and look for answers that went back."""
    for settings, environment in (("default settings", {}), ("flushing without pause", BUSY)):
        bench.say(settings)
        async with bench.started_engine() as engine:
            async with Service(engine.directory, engine, environment=environment) as service:
                optimize = engine.asked_while_serving and bool(environment)
                journal, acknowledged, readings = await _write_and_read(bench, service, engine if optimize else None)
            _report(bench, settings, acknowledged, readings)
            bench.check_account(await settled_account(engine, MATCH, journal))


async def _write_and_read(
    bench: Bench, service: Service, optimized: Engine | None
) -> tuple[Journal, list[Acknowledged], list[Reading]]:
    readings: list[Reading] = []
    side_tasks = [asyncio.create_task(_read(service, readings)) for _ in range(READERS)]
    if optimized is not None:
        side_tasks.append(asyncio.create_task(_optimize(optimized)))
    journal = Journal()
    acknowledged = await _write(bench, service, journal)
    deadline = time.perf_counter() + 10
    while not readings or readings[-1].total < acknowledged[-1].count:
        if time.perf_counter() > deadline:
            break
        await asyncio.sleep(0.05)
    for task in side_tasks:
        task.cancel()
    ended = await asyncio.gather(*side_tasks, return_exceptions=True)
    failed = [error for error in ended if not isinstance(error, asyncio.CancelledError)]
    assert not failed, failed
    return journal, acknowledged, readings


async def _write(bench: Bench, service: Service, journal: Journal) -> list[Acknowledged]:
    batches = int(bench.pick(30, 6) * BATCHES_PER_S)
    events = make_events(seed=bench.seed, count=batches * BATCH, match_id=MATCH)
    acknowledged: list[Acknowledged] = []
    started = time.perf_counter()
    for turn in range(batches):
        part = events[turn * BATCH : (turn + 1) * BATCH]
        await send_all(service.url, part, journal, batch=BATCH, workers=1)
        acknowledged.append(Acknowledged(time.perf_counter(), (turn + 1) * BATCH))
        await asyncio.sleep(max(0.0, started + (turn + 1) / BATCHES_PER_S - time.perf_counter()))
    bench.say(f"{len(events) / (time.perf_counter() - started):,.0f} events/s written")
    return acknowledged


async def _read(service: Service, readings: list[Reading]) -> None:
    while True:
        asked = time.perf_counter()
        total = await service.total(MATCH)
        readings.append(Reading(asked, time.perf_counter(), total))
        await asyncio.sleep(READ_PAUSE_S)


async def _optimize(engine: Engine) -> None:
    names = await engine.query(f"SELECT name FROM system.tables WHERE database = '{DATABASE}' AND engine = 'Buffer'")
    while True:
        for row in names:
            await engine.query(f"OPTIMIZE TABLE {DATABASE}.{row['name']}")


def _report(bench: Bench, settings: str, acknowledged: list[Acknowledged], readings: list[Reading]) -> None:
    visible_ms = sorted(delay * 1000 for delay in visible_after(acknowledged, readings))
    bench.figure(
        f"{settings}: from the 202 to the metrics p50 / p99 / max",
        " / ".join(f"{percentile(visible_ms, q):.0f}" for q in (0.5, 0.99, 1.0)) + " ms",
    )
    bench.figure(
        f"{settings}: reads without an event acknowledged {LATE_S:g} s before", f"{late(acknowledged, readings):,}"
    )
    lower = fallen(readings)
    bench.check(
        f"{settings}: no answer lower than an earlier one", not lower, f"{lower} of {len(readings):,} reads were"
    )
    seen = len(visible_ms)
    bench.check(
        f"{settings}: every batch became visible", seen == len(acknowledged), f"{seen:,} of {len(acknowledged):,} did"
    )


def visible_after(acknowledged: list[Acknowledged], readings: list[Reading]) -> list[float]:
    """Return for each acknowledgement, in s, when an answer had it; those that none had are left out."""
    delays: list[float] = []
    waiting = iter(acknowledged)
    next_one = next(waiting, None)
    for reading in sorted(readings, key=lambda reading: reading.answered):
        while next_one is not None and next_one.count <= reading.total:
            delays.append(max(0.0, reading.answered - next_one.at))
            next_one = next(waiting, None)
    return delays


def late(acknowledged: list[Acknowledged], readings: list[Reading]) -> int:
    """Return how many answers lacked an event acknowledged ``LATE_S`` before they were asked for."""
    count = 0
    due = 0
    index = 0
    for reading in sorted(readings, key=lambda reading: reading.asked):
        while index < len(acknowledged) and acknowledged[index].at <= reading.asked - LATE_S:
            due = acknowledged[index].count
            index += 1
        count += reading.total < due
    return count


def fallen(readings: list[Reading]) -> int:
    """Return how many answers were lower than one that was there before they were asked for."""
    by_answer = sorted(readings, key=lambda reading: reading.answered)
    count = highest = index = 0
    for reading in sorted(readings, key=lambda reading: reading.asked):
        while by_answer[index].answered <= reading.asked:
            highest = max(highest, by_answer[index].total)
            index += 1
        count += reading.total < highest
    return count
