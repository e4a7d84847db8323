"""Crowds: ten thousand readers of matches that nobody knows, and a match of a hundred thousand teams.

What others notice of either is a ratio within one run.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import Any

from tests.bench.bench import Bench
from tests.bench.load import LoadOptions, LoadResult, run_load
from tests.bench.service import Service

MATCH = "beside"
CROWD = 10_000
CROWD_NICE = 10
"""The crowd gives way to the sender that is measured, because it stands for ten thousand machines, not for this one."""

POSTS_PER_S = 100
POST_RATIO_MAX = 3.0
BEFORE_S = 1.0

TEAMS = 100_000
GOALS = 24_800
TEXT_BYTES = 16_000
PASSES_A_REQUEST = 1_000
GOALS_A_REQUEST = 100
ANSWER_MAX_BYTES = 100_000
OVERVIEW_RATIO_MAX = 1.2
OVERVIEW_PAUSE_S = 1.1
CHECKPOINT_S = 8.0
SMALL_MATCHES = 20


async def unknown_matches(bench: Bench) -> None:
    """Measure what a sender notices of a crowd that asks for matches that nobody knows."""
    crowd, seconds = int(bench.pick(CROWD, CROWD / 10)), bench.pick(20, 8)
    async with bench.started_engine() as engine, Service(engine.directory, engine) as service:
        await _posts(service.url, 2.0, seed=bench.seed)
        without = await _posts(service.url, seconds, seed=bench.seed + 1)
        writing = asyncio.create_task(_posts(service.url, seconds, seed=bench.seed + 2))
        await asyncio.sleep(BEFORE_S)
        cpu_s, started = service.cpu_s(), time.perf_counter()
        statuses = await _crowd(service, crowd)
        took, cpu_s = time.perf_counter() - started, service.cpu_s() - cpu_s
        beside = await writing
        async with service.session.get("/ready") as reply:
            ready = await reply.json()
    ratio = beside.p99_ms / without.p99_ms
    bench.figure(
        f"POST beside {crowd:,} reads of unknown matches at once, p99, against without",
        f"{beside.p99_ms:.1f} ms against {without.p99_ms:.1f} ms: {ratio:.1f} times",
        target=f"≤ {POST_RATIO_MAX:g} times",
        met=ratio <= POST_RATIO_MAX,
    )
    bench.figure("the crowd was answered after, with", f"{took:.1f} s, {cpu_s * 1e6 / crowd:.0f} µs of processor each")
    bench.figure("answers by status", ", ".join(f"{status}: {n:,}" for status, n in sorted(statuses.items())))
    bench.check("each reader was told 404 or 503", statuses.keys() <= {404, 503}, f"{dict(statuses)}")
    bench.check("no POST failed", not (without.errors + beside.errors), f"{without.errors + beside.errors} failed")
    told = ready["checks"]["clickhouse"]
    bench.check("ClickHouse was not called away", told == "healthy", told)


async def _crowd(service: Service, crowd: int) -> Counter[int]:
    """Ask over a connection each, all at once, from a process of its own; return the answers by status."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.crowd", str(service.port), str(crowd)),
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=lambda: os.nice(CROWD_NICE),
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, "the crowd failed"
    return Counter({int(status): count for status, count in json.loads(told).items()})


async def _posts(url: str, seconds: float, *, seed: int) -> LoadResult:
    return await run_load(
        LoadOptions(
            url=f"{url}/api/events", match_id=MATCH, seconds=seconds, connections=16, rate=POSTS_PER_S, seed=seed
        )
    )


async def very_many_teams(bench: Bench) -> None:
    """Measure the answers about a match of very many teams and long texts, and what an overview costs beside it."""
    teams, goals = int(bench.pick(TEAMS, TEAMS / 10)), int(bench.pick(GOALS, GOALS / 10))
    async with bench.started_engine() as engine, Service(engine.directory, engine) as service:
        for number in range(SMALL_MATCHES):
            await _send(service, [_event(f"small{number}", "pass", n % 2) for n in range(200)])
        await asyncio.sleep(CHECKPOINT_S)
        without_s, list_bytes = await _overviews(bench, service)
        for first in range(0, teams, PASSES_A_REQUEST):
            await _send(service, [_event("crowd", "pass", f"p{first + n}") for n in range(PASSES_A_REQUEST)])
        text = {"player": "Scorer", "padding": "x" * TEXT_BYTES}
        for first in range(0, goals, GOALS_A_REQUEST):
            batch = [_event("crowd", "goal", f"g{first + n}") | {"metadata": text} for n in range(GOALS_A_REQUEST)]
            await _send(service, batch)
        await asyncio.sleep(CHECKPOINT_S)
        metrics_bytes = await _bytes(service, "/api/matches/crowd/metrics")
        page_bytes = await _bytes(service, "/matches/crowd")
        with_s, list_bytes_with = await _overviews(bench, service)
    bench.figure(
        f"metrics of a match of {teams:,} teams and {goals:,} goals of {TEXT_BYTES:,} bytes each",
        f"{metrics_bytes:,} bytes",
        target=f"< {ANSWER_MAX_BYTES:,}",
        met=metrics_bytes < ANSWER_MAX_BYTES,
    )
    bench.figure("its page", f"{page_bytes:,} bytes")
    bench.figure("the list with it and without", f"{list_bytes_with:,} and {list_bytes:,} bytes")
    ratio = with_s / without_s
    bench.figure(
        "processor time of an overview a second (list and page), with that match and without",
        f"{with_s * 1000:.0f} and {without_s * 1000:.0f} ms: {ratio:.2f} times",
        target=f"≤ {OVERVIEW_RATIO_MAX:g} times",
        met=ratio <= OVERVIEW_RATIO_MAX,
    )


def _event(match_id: str, event_type: str, team: object) -> dict[str, Any]:
    return {"matchId": match_id, "eventType": event_type, "teamId": str(team)}


async def _send(service: Service, events: list[dict[str, Any]]) -> None:
    async with service.session.post("/api/events", json=events) as reply:
        assert reply.status == 202, await reply.text()


async def _bytes(service: Service, path: str) -> int:
    async with service.session.get(path) as reply:
        assert reply.status == 200, await reply.text()
        return len(await reply.read())


async def _overviews(bench: Bench, service: Service) -> tuple[float, int]:
    """Return the processor time of an overview, in s, and the bytes of the list; the first one is not counted."""
    count, list_bytes = int(bench.pick(20, 5)), await _bytes(service, "/api/matches")
    cpu_s = service.cpu_s()
    for _ in range(count):
        await asyncio.sleep(OVERVIEW_PAUSE_S)
        await _bytes(service, "/api/matches")
        await _bytes(service, "/")
    return (service.cpu_s() - cpu_s) / count, list_bytes
