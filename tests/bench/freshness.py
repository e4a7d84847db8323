"""How soon an acknowledged event is visible, and whether an answer ever goes back, under constant flushing.

One writer sends 1,000 events/s of one match in batches, one after another; several readers ask for the metrics without
pause, and one viewer follows the stream. Once with
the default settings, when thousands of rows are pending; once with flushes and checkpoints as often as possible, and,
where ClickHouse can be asked from outside, something else that runs ``OPTIMIZE`` on every Buffer table all the time.
"""

import asyncio
import json
import time
from typing import Any

import aiohttp
import attrs

from shards.events import HIGHLIGHT_TYPES
from tests.bench.bench import Bench
from tests.bench.engines import DATABASE, Engine
from tests.bench.events import make_events
from tests.bench.load import percentile
from tests.bench.sender import Journal, send_all, settled_account
from tests.bench.service import Service

MATCH = "freshness"
BATCH = 10
BATCHES_PER_S = 100
READERS = 16
READ_PAUSE_S = 0.02
READS_MIN = 10_000
LATE_S = 1.0
METRICS_MAX_MS = 1_200
HIGHLIGHT_MAX_MS = 300
DEFAULT = "default settings"
BUSY = {"FANFINITY_FLUSH_INTERVAL_MS": "5", "FANFINITY_CHECKPOINT_INTERVAL_MS": "50"}


@attrs.frozen
class Reading:
    """One answer of GET metrics: when it was asked for, when it was there, what it said."""

    asked: float
    answered: float
    total: int


@attrs.frozen
class Acknowledged:
    """From ``at`` on, at least ``count`` events were acknowledged; the last of them were sent from ``sent`` on."""

    sent: float
    at: float
    count: int
    highlights: tuple[str, ...] = ()


@attrs.define
class Seen:
    """What the readers and the viewer of the stream were told: answers, snapshots, and when each highlight came."""

    readings: list[Reading] = attrs.field(factory=list)
    snapshots: list[Reading] = attrs.field(factory=list)
    highlights: dict[str, float] = attrs.field(factory=dict)


async def run(bench: Bench) -> None:
    """Measure freshness and look for answers that went back."""
    for settings, environment in ((DEFAULT, {}), ("flushing without pause", BUSY)):
        bench.say(settings)
        async with bench.started_engine() as engine:
            async with Service(engine.directory, engine, environment=environment) as service:
                optimize = engine.asked_while_serving and bool(environment)
                journal, acknowledged, seen = await _write_and_read(bench, service, engine if optimize else None)
            _report(bench, settings, acknowledged, seen)
            bench.check_account(await settled_account(engine, MATCH, journal))


async def _write_and_read(
    bench: Bench, service: Service, optimized: Engine | None
) -> tuple[Journal, list[Acknowledged], Seen]:
    seen = Seen()
    readings = seen.readings
    side_tasks = [asyncio.create_task(_read(service, readings)) for _ in range(READERS)]
    side_tasks.append(asyncio.create_task(_follow(service, seen)))
    if optimized is not None:
        side_tasks.append(asyncio.create_task(_optimize(optimized)))
    journal = Journal()
    acknowledged = await _write(bench, service, journal)
    deadline = time.perf_counter() + 10
    while not all(found and found[-1].total >= acknowledged[-1].count for found in (readings, seen.snapshots)):
        if time.perf_counter() > deadline:
            break
        await asyncio.sleep(0.05)
    for task in side_tasks:
        task.cancel()
    ended = await asyncio.gather(*side_tasks, return_exceptions=True)
    failed = [error for error in ended if not isinstance(error, asyncio.CancelledError)]
    assert not failed, failed
    return journal, acknowledged, seen


async def _write(bench: Bench, service: Service, journal: Journal) -> list[Acknowledged]:
    batches = int(bench.pick(30, 6) * BATCHES_PER_S)
    events = make_events(seed=bench.seed, count=batches * BATCH, match_id=MATCH)
    acknowledged: list[Acknowledged] = []
    started = time.perf_counter()
    for turn in range(batches):
        part = events[turn * BATCH : (turn + 1) * BATCH]
        sent = time.perf_counter()
        await send_all(service.url, part, journal, batch=BATCH, workers=1)
        highlights = tuple(event["eventId"] for event in part if event["eventType"] in HIGHLIGHT_TYPES)
        acknowledged.append(Acknowledged(sent, time.perf_counter(), (turn + 1) * BATCH, highlights))
        await asyncio.sleep(max(0.0, started + (turn + 1) / BATCHES_PER_S - time.perf_counter()))
    bench.say(f"{len(events) / (time.perf_counter() - started):,.0f} events/s written")
    return acknowledged


async def _read(service: Service, readings: list[Reading]) -> None:
    while True:
        asked = time.perf_counter()
        total = await service.total(MATCH)
        readings.append(Reading(asked, time.perf_counter(), total))
        await asyncio.sleep(READ_PAUSE_S)


async def _follow(service: Service, seen: Seen) -> None:
    """Follow the stream from the moment on when the match is known."""
    path, forever = f"/api/matches/{MATCH}/stream", aiohttp.ClientTimeout(total=None)
    while True:
        async with service.session.get(path, timeout=forever) as reply:
            if reply.status == 200:
                kind = ""
                async for line in reply.content:
                    name, _, value = line.rstrip().partition(b": ")
                    if name == b"event":
                        kind = value.decode()
                    elif name == b"data":
                        _note(seen, kind, json.loads(value))
                raise AssertionError("the stream ended")
        await asyncio.sleep(0.02)


def _note(seen: Seen, kind: str, message: dict[str, Any]) -> None:
    now = time.perf_counter()
    if kind == "metrics":
        seen.snapshots.append(Reading(now, now, message["totalEvents"]))
    else:
        seen.highlights.setdefault(message["eventId"], now)


async def _optimize(engine: Engine) -> None:
    names = await engine.query(f"SELECT name FROM system.tables WHERE database = '{DATABASE}' AND engine = 'Buffer'")
    while True:
        for row in names:
            await engine.query(f"OPTIMIZE TABLE {DATABASE}.{row['name']}")


def _report(bench: Bench, settings: str, acknowledged: list[Acknowledged], seen: Seen) -> None:
    for name, readings in (("the metrics", seen.readings), ("the metrics on the stream", seen.snapshots)):
        visible = visible_after(acknowledged, readings)
        _delays(bench, f"{settings}: from the 202 to {name}", visible, METRICS_MAX_MS)
        detail = f"{len(visible):,} of {len(acknowledged):,} did"
        bench.check(f"{settings}: every batch became visible in {name}", len(visible) == len(acknowledged), detail)
        lower = fallen(readings)
        detail = f"{lower} of {len(readings):,} were"
        bench.check(f"{settings}: {name} never lower than before", not lower, detail)
    followed = [one for one in acknowledged if seen.snapshots and one.sent > seen.snapshots[0].answered]
    sent = {event_id: one.at for one in followed for event_id in one.highlights}
    delays = [max(0.0, seen.highlights[event_id] - at) for event_id, at in sent.items() if event_id in seen.highlights]
    _delays(bench, f"{settings}: from the 202 to a highlight on the stream", delays, HIGHLIGHT_MAX_MS)
    detail = f"{len(delays):,} of {len(sent):,} did"
    bench.check(f"{settings}: every highlight came on the stream", len(delays) == len(sent), detail)
    lacking, reads = late(acknowledged, seen.readings), len(seen.readings)
    bench.figure(
        f"{settings}: reads without an event acknowledged {LATE_S:g} s before",
        f"{lacking:,} of {reads:,}",
        target=f"0 of {READS_MIN:,} or more",
        met=not lacking and (reads >= READS_MIN or bench.quick),
    )


def _delays(bench: Bench, name: str, delays: list[float], limit_ms: float) -> None:
    """Only with the default settings somebody asked for limits."""
    asked = name.startswith(DEFAULT)
    found = sorted(delay * 1000 for delay in delays)
    bench.figure(
        f"{name} p50 / p99 / max",
        " / ".join(f"{percentile(found, q):.0f}" for q in (0.5, 0.99, 1.0)) + " ms",
        target=f"p99 < {limit_ms:,} ms" if asked else "",
        met=not asked or percentile(found, 0.99) < limit_ms,
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
        while by_answer[index].answered < reading.asked:
            highest = max(highest, by_answer[index].total)
            index += 1
        count += reading.total < highest
    return count
