"""Keys: what checking one costs, and what others notice of wrong ones and of one at its limit.

Everything is compared within one run, in turns, because the machine is not the same from one minute to the next.
"""

import asyncio
import statistics
import time
from collections.abc import Callable

from app.access.keys import ApiKey, Keys
from app.access.principal import Scope
from tests.bench.bench import Bench
from tests.bench.load import LoadOptions, LoadResult, run_load
from tests.bench.service import Service

TURNS = 8
SETTLE_S = 1.0
"""Time for what a turn has left to be stored, so that the next one has the machine to itself."""
KEY_RATIO_MAX = 1.03
OTHERS_RATIO_MAX = 2.0
WRONG_A_SECOND = 1_000
POSTS_A_SECOND = 100
LIMIT = 50
LOOKUPS = 2_000


async def run(bench: Bench) -> None:
    """Measure all of it."""
    text, key = ApiKey.new("feed", [Scope.INGEST])
    limited, other = ApiKey.new("limited", [Scope.INGEST])
    _lookups(bench, text, key)
    async with bench.started_engine() as engine:
        lines = {"FANFINITY_API_KEYS": f"{key.line()},{other.line()}"}
        async with (
            Service(engine.directory / "open", engine) as without,
            Service(engine.directory / "keys", engine, environment=lines) as with_keys,
        ):
            await _cost(bench, without, with_keys, text)
            await _wrong(bench, with_keys, text)
        rate = lines | {"FANFINITY_RATE_LIMIT": str(LIMIT)}
        async with Service(engine.directory / "limits", engine, environment=rate) as service:
            await _at_its_limit(bench, service, text, limited)


def _lookups(bench: Bench, text: str, key: ApiKey) -> None:
    """Compare the times of lookups, in turns."""
    revoked, _ = ApiKey.new("gone", [Scope.INGEST])
    keys = Keys([key, *(ApiKey.new(f"other-{number}", [Scope.READ])[1] for number in range(20))])
    texts = {"right": text, "wrong": f"ff_feed_{'A' * 27}", "unknown": f"ff_who_{'A' * 27}", "revoked": revoked}
    times: dict[str, list[int]] = {name: [] for name in texts}
    for _ in range(int(bench.pick(LOOKUPS * 10, LOOKUPS))):
        for name, one in texts.items():
            began = time.perf_counter_ns()
            keys.find(one)
            times[name].append(time.perf_counter_ns() - began)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    bench.figure("a key is looked up in, median", ", ".join(f"{name} {ns:,.0f} ns" for name, ns in medians.items()))


async def _cost(bench: Bench, without: Service, with_keys: Service, text: str) -> None:
    """Compare the processor time of an event with a key and without any, in turns."""
    spent: dict[str, list[float]] = {"without": [], "with": []}

    async def turn(name: str, service: Service, key: str) -> None:
        before = service.cpu_s()
        result = await _posts(service, key, seconds=bench.pick(5, 2), rate=0, seed=len(spent[name]))
        assert result.acknowledged, result
        spent[name].append((service.cpu_s() - before) * 1e6 / result.acknowledged)

    for number in range(TURNS + 1):
        turns = [("without", without, ""), ("with", with_keys, text)]
        for one in turns if number % 2 else turns[::-1]:
            await turn(*one)
            await asyncio.sleep(SETTLE_S)
        if not number:  # warmed up
            spent = {"without": [], "with": []}
    medians = {name: statistics.median(times) for name, times in spent.items()}
    ratio = medians["with"] / medians["without"]
    bench.figure(
        "processor time of an event with a key, against without keys",
        f"{medians['with']:.0f} and {medians['without']:.0f} µs: {ratio:.3f} times",
        target=f"≤ {KEY_RATIO_MAX:g} times",
        met=ratio <= KEY_RATIO_MAX,
    )


async def _wrong(bench: Bench, service: Service, text: str) -> None:
    """Compare the latency of a sender with and without very many wrong keys of another client."""
    wrong = f"ff_feed_{'A' * 27}"

    def trying() -> "asyncio.Task[LoadResult]":
        load = _posts(service, wrong, seconds=bench.pick(10, 4), rate=WRONG_A_SECOND, seed=7)
        return asyncio.create_task(load)

    alone, beside, tries = await _beside(bench, service, text, trying)
    _told(bench, f"POST beside {WRONG_A_SECOND:,} wrong keys a second, p99", alone, beside)
    bench.check("each wrong key was told 401", tries.statuses.keys() == {"401"}, f"{tries.statuses}")


async def _at_its_limit(bench: Bench, service: Service, text: str, limited: str) -> None:
    """Compare the latency of a key with and without another one that sends ten times what it may."""

    def pushing() -> "asyncio.Task[LoadResult]":
        load = _posts(service, limited, seconds=bench.pick(10, 4), rate=10 * LIMIT, seed=8)
        return asyncio.create_task(load)

    alone, beside, pushed = await _beside(bench, service, text, pushing, rate=LIMIT / 2)
    _told(bench, "POST of a key beside another that sends ten times its limit, p99", alone, beside)
    bench.figure("answers to that one", ", ".join(f"{status}: {n:,}" for status, n in sorted(pushed.statuses.items())))
    bench.check("that one was told 202 or 429", pushed.statuses.keys() <= {"202", "429"}, f"{pushed.statuses}")


async def _beside(
    bench: Bench,
    service: Service,
    text: str,
    other: Callable[[], "asyncio.Task[LoadResult]"],
    *,
    rate: float = POSTS_A_SECOND,
) -> tuple[LoadResult, LoadResult, LoadResult]:
    seconds = bench.pick(10, 4)
    alone = await _posts(service, text, seconds=seconds, rate=rate, seed=1)
    disturbing = other()
    beside = await _posts(service, text, seconds=seconds, rate=rate, seed=2)
    return alone, beside, await disturbing


def _told(bench: Bench, name: str, alone: LoadResult, beside: LoadResult) -> None:
    ratio = beside.p99_ms / alone.p99_ms
    bench.figure(
        name,
        f"{beside.p99_ms:.1f} ms against {alone.p99_ms:.1f} ms: {ratio:.2f} times",
        target=f"≤ {OTHERS_RATIO_MAX:g} times",
        met=ratio <= OTHERS_RATIO_MAX,
    )
    bench.check("no other POST failed", not (alone.errors + beside.errors), f"{alone.errors + beside.errors} failed")


async def _posts(service: Service, key: str, *, seconds: float, rate: float, seed: int) -> LoadResult:
    return await run_load(
        LoadOptions(
            url=f"{service.url}/api/events",
            match_id=f"keys-{service.port}",
            seconds=seconds,
            connections=32,
            rate=rate,
            seed=seed,
            key=key,
        )
    )
