"""How long the metrics of a match take in a large table, uncached, and whether they are exact.

2,000 matches by the simulator's distribution over half a year, one of them huge and the last that began; and beside it,
in a database of its own, a table that has a few of the same matches only.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random

import attrs

from shards.reads.aggregates import MatchAggregates
from shards.reads.large.statements import sizes_statement
from shards.reads.matches import MatchReads
from shards.stores.server import ServerStore
from tests.bench.bench import Bench
from tests.bench.designs import compare_designs
from tests.bench.engines import DATABASE, Engine
from tests.bench.exact import Counts, plain_counts
from tests.bench.load import percentile
from tests.bench.simulated import Planned, SimulatedTables
from tests.bench.uncached import NothingPending, latencies, read
from tests.bench.written import Writer, written

SMALL_DATABASE = "small"
TARGET_MS = {"4k": 20, "1m": 150, "10m": 1_000}
STRETCH_MS = 500
GROWTH_MAX = 1.3
DAY_MS = 86_400_000
SPREAD_DAYS = 180


@attrs.frozen(kw_only=True)
class Plan:
    """The matches. ``many`` are of about 4,000 events."""

    huge: Planned
    large: Planned
    many: tuple[Planned, ...]
    between: tuple[Planned, ...]

    @classmethod
    def of(cls, bench: Bench) -> "Plan":
        """Return what the table shall hold; a twentieth of it in the short form."""
        chance = Random(bench.seed)
        now_ms = time.time_ns() // 1_000_000
        share = bench.pick(1, 0.05)

        def match(name: str, events: float, days_ago: float) -> Planned:
            return Planned(match_id=name, events=int(events), kickoff_ms=now_ms - int((days_ago + 0.1) * DAY_MS))

        days = sorted((chance.uniform(1, SPREAD_DAYS) for _ in range(int(1_998 * share))), reverse=True)
        sizes = [4_000 if turn % 5 == 0 else chance.uniform(4_000, 44_000) for turn in range(len(days))]
        matches = [match(f"m{turn}", sizes[turn], days[turn]) for turn in range(len(days))]
        return cls(
            huge=match("huge", 10_000_000 * share, 0),
            large=match("large", 1_000_000 * share, 20),
            many=tuple(one for one in matches if one.events == 4_000),
            between=tuple(one for one in matches if one.events != 4_000),
        )

    @property
    def by_age(self) -> list[tuple[bool, list[Planned]]]:
        """Return them in the order in which they were played; of the small ones copies are in parts of their own."""
        large = self.large.kickoff_ms
        small = sorted((*self.many, *self.between), key=lambda match: match.kickoff_ms)
        before = [match for match in small if match.kickoff_ms < large]
        return [(True, before), (False, [self.large]), (True, small[len(before) :]), (False, [self.huge])]


async def run(bench: Bench) -> None:
    """Fill both tables, and measure."""
    plan = Plan.of(bench)
    async with bench.started_engine() as engine:
        stores = {
            name: ServerStore(engine.url.replace(f"/{DATABASE}", f"/{name}"), shard_count=4)
            for name in (DATABASE, SMALL_DATABASE)
        }
        try:
            tables = await _fill(bench, engine, plan, stores)
            await _growth(bench, engine, plan, stores)
            store = stores[DATABASE]
            await _large(bench, engine, plan, store)
            await _huge(bench, engine, plan, store)
            await compare_designs(bench, engine, store, plan.huge.match_id)
            await _duplicates(bench, engine, tables, plan, store)
        finally:
            for store in stores.values():
                await store.close()


async def _fill(bench: Bench, engine: Engine, plan: Plan, stores: Mapping[str, ServerStore]) -> SimulatedTables:
    tables = SimulatedTables(engine=engine, seed=bench.seed)
    await tables.load_sample()
    for store in stores.values():
        await store.open()
    started = time.perf_counter()
    for apart, matches in plan.by_age:
        await tables.fill(DATABASE, matches, apart=apart)
    await tables.fill(SMALL_DATABASE, plan.many[:50], apart=True)
    await tables.fill(SMALL_DATABASE, [plan.large], apart=False)
    took = time.perf_counter() - started
    await merged(engine)
    for name in stores:
        [row] = await engine.query(
            f"SELECT count() AS parts, sum(rows) AS n, round(sum(bytes_on_disk) / 1e6) AS mb FROM system.parts "
            f"WHERE active AND database = '{name}' AND table = 'events'"
        )
        [matches] = await engine.query(f"SELECT uniqExact(match_id) AS n FROM {name}.events")
        what = f"{int(row['n']):,} rows, {int(matches['n']):,} matches, {row['parts']} parts, {row['mb']:,} MB"
        bench.figure(f"table of database {name!r}", what)
    bench.say(f"filled in {took:.0f} s")
    return tables


async def merged(engine: Engine, *, patience_s: float = 90.0) -> None:
    """Wait until ClickHouse has nothing to merge for a second, but not for ever."""
    deadline = time.perf_counter() + patience_s
    quiet = 0
    while quiet < 5 and time.perf_counter() < deadline:
        [row] = await engine.query("SELECT count() AS n FROM system.merges")
        quiet = 0 if int(row["n"]) else quiet + 1
        await asyncio.sleep(0.2)


def _report(bench: Bench, name: str, times_ms: Sequence[float], limit_ms: float) -> None:
    p99 = percentile(sorted(times_ms), 0.99)
    bench.figure(
        f"{name}, p50 / p99 / max",
        f"{latencies(times_ms)} ({len(times_ms)} reads)",
        target=f"p99 < {limit_ms:g} ms",
        met=p99 < limit_ms,
    )


async def _growth(bench: Bench, engine: Engine, plan: Plan, stores: Mapping[str, ServerStore]) -> None:
    """Read the same matches in both tables, in turns. Of a small match each read is the first one."""
    await _read_in_turns(stores, plan.many[:5], again=False)
    pairs = await _read_in_turns(stores, plan.many[:50] * int(bench.pick(4, 2)), again=False)
    _compare(bench, f"{plan.many[0].events:,} events", pairs)
    pairs = await _read_in_turns(stores, [plan.large] * int(bench.pick(60, 10)), again=True)
    _compare(bench, f"{plan.large.events:,} events", pairs)
    await _compare_ways(bench, engine, stores[DATABASE], plan.many[:100])
    reads = MatchReads(stores[DATABASE], NothingPending())
    found, least = [], []
    for turn, match in enumerate(Random(bench.seed).sample(plan.many, len(plan.many))):
        if turn % 2:
            least.append(await _count_only(stores[DATABASE], match))
        found.append(await read(reads, match.match_id))
    _report(bench, f"a match of {plan.many[0].events:,} events, each another one", [ms for ms, _ in found], 20)
    bench.figure("every other time before it, the bare number of its rows, p50 / p99 / max", latencies(least))
    wrong = [answer.match_id for _, answer in found if answer.total != plan.many[0].events - _withdrawn(answer)]
    bench.check("every small match has its number of events", not wrong, f"{len(wrong)} of {len(found)} have not")
    for match in (*plan.many[:2], *plan.between[:2]):
        await _check_exact(bench, engine, (await read(reads, match.match_id))[1])


async def _count_only(store: ServerStore, match: Planned) -> float:
    """Return how long ClickHouse takes, in ms, for the least that it can be asked of a match."""
    started = time.perf_counter()
    [(_, rows)] = await store.fetch(sizes_statement(DATABASE, [match.match_id]))
    assert rows >= match.events
    return (time.perf_counter() - started) * 1000


async def _compare_ways(bench: Bench, engine: Engine, store: ServerStore, matches: Sequence[Planned]) -> None:
    """Read matches in turns: as they are, without the skip index, and by the statement for intricate matches."""
    without_index = ServerStore(engine.url, shard_count=4)
    for connection in without_index._connections:
        connection._settings["use_skip_indexes"] = "0"
    try:
        ways = [MatchReads(one, NothingPending()) for one in (store, without_index, store)]
        ways[-1]._named.update((match.match_id, set()) for match in matches)
        found = [[await read(reads, match.match_id) for reads in ways] for match in matches]
    finally:
        await without_index.close()
    medians = [percentile(sorted(ms for ms, _ in way), 0.5) for way in zip(*found, strict=True)]
    for other, name in ((1, "without the skip index"), (2, "with named events apart")):
        bench.figure(
            f"a match of {matches[0].events:,} events, as it is read : {name}, p50",
            f"{medians[0] / medians[other]:.2f} ({medians[0]:.1f} : {medians[other]:.1f} ms)",
        )
    differ = sum(any(answer != answers[0][1] for _, answer in answers) for answers in found)
    bench.check("all ways lead to the same answer", not differ, f"{differ} of {len(found)} matches differ")


def _withdrawn(answer: MatchAggregates) -> int:
    return sum(highlight.retracted for highlight in answer.highlights)


async def _read_in_turns(
    stores: Mapping[str, ServerStore], matches: Sequence[Planned], *, again: bool
) -> dict[str, list[float]]:
    """``again``: only the very first read of a match is one that nothing is known for."""
    times: dict[str, list[float]] = {name: [] for name in stores}
    reads = {name: MatchReads(store, NothingPending()) for name, store in stores.items()}
    if again:
        for one in reads.values():
            await read(one, matches[0].match_id)
    for match in matches:
        for name, store in stores.items():
            one = reads[name] if again else MatchReads(store, NothingPending())
            times[name].append((await read(one, match.match_id))[0])
    return times


def _compare(bench: Bench, what: str, times: Mapping[str, Sequence[float]]) -> None:
    medians = {name: percentile(sorted(of_one), 0.5) for name, of_one in times.items()}
    ratio = medians[DATABASE] / medians[SMALL_DATABASE]
    bench.figure(
        f"the same match of {what}, in the large table : in the small one, p50",
        f"{ratio:.2f} ({medians[DATABASE]:.1f} : {medians[SMALL_DATABASE]:.1f} ms)",
        target=f"≤ {GROWTH_MAX:g}",
        met=ratio <= GROWTH_MAX,
    )


async def _large(bench: Bench, engine: Engine, plan: Plan, store: ServerStore) -> None:
    match, name = plan.large.match_id, f"a match of {plan.large.events:,} events"
    first = [(await read(MatchReads(store, NothingPending()), match))[0] for _ in range(5)]
    reads = MatchReads(store, NothingPending())
    await read(reads, match)
    found = [await read(reads, match) for _ in range(int(bench.pick(100, 20)))]
    _report(bench, name, [ms for ms, _ in found], TARGET_MS["1m"])
    bench.figure(f"{name}, the first read after a start, p50 / p99 / max", latencies(first))
    await _check_exact(bench, engine, found[-1][1])


async def _check_exact(bench: Bench, engine: Engine, answer: MatchAggregates, *, said: str = "") -> None:
    expected = await plain_counts(engine, DATABASE, answer.match_id)
    bench.check(
        f"match {answer.match_id!r}{said}: every figure as in a plain count of distinct ids",
        Counts.of(answer) == expected,
        f"{answer.total:,} and {expected.total:,} events",
    )


async def _huge(bench: Bench, engine: Engine, plan: Plan, store: ServerStore) -> None:
    match = plan.huge.match_id
    before = (await read(MatchReads(store, NothingPending()), match))[1]
    await _check_exact(bench, engine, before)
    async with written(store, engine.directory / "data", match, seed=bench.seed) as writer:
        await asyncio.sleep(bench.pick(8, 3))  # by then as much is pending as there ever will be
        reads = MatchReads(store, writer.shards)
        first = [(await read(MatchReads(store, writer.shards), match))[0] for _ in range(3)]
        await read(reads, match)
        found, wrong = await _read_written(reads, writer, before.total, seconds=bench.pick(40, 5))
    name = f"a match of {plan.huge.events:,} events that is written"
    _report(bench, name, found, TARGET_MS["10m"])
    p99 = percentile(sorted(found), 0.99)
    bench.figure(f"{name}: the stretch", f"p99 {p99:.0f} ms", target=f"< {STRETCH_MS} ms", met=p99 < STRETCH_MS)
    bench.figure(f"{name}: the first read after a start, p50 / p99 / max", latencies(first))
    detail = f"{wrong} of {len(found)} answers were not; {writer.acknowledged:,} events were written meanwhile"
    bench.check("all that was acknowledged before, nothing that was not sent, nothing twice", not wrong, detail)
    answer = (await read(reads, match))[1]
    bench.check(
        "no event was lost or counted twice",
        answer.total == before.total + writer.acknowledged,
        f"{answer.total - before.total:,} and {writer.acknowledged:,} events",
    )
    await _check_exact(bench, engine, answer, said=", written")


async def _read_written(reads: MatchReads, writer: Writer, there: int, *, seconds: float) -> tuple[list[float], int]:
    """Return how long each answer took, and how many were wrong or lower than the one before."""
    times, wrong, lowest = [], 0, 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        acknowledged = writer.acknowledged
        ms, answer = await read(reads, writer.match_id)
        times.append(ms)
        wrong += not max(lowest, there + acknowledged) <= answer.total <= there + writer.begun
        lowest = answer.total
        await asyncio.sleep(0.1)
    return times, wrong


async def _duplicates(bench: Bench, engine: Engine, tables: SimulatedTables, plan: Plan, store: ServerStore) -> None:
    """Copies, a replay and a merge: what the reads say must stay the same."""
    match = plan.large
    expected = await plain_counts(engine, DATABASE, match.match_id)
    reads = MatchReads(store, NothingPending())

    async def equal(said: str, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(work())
        times: list[float] = []
        differ = 0
        while not task.done() or not times:
            ms, answer = await read(reads, match.match_id)
            times.append(ms)
            differ += Counts.of(answer) != expected
        await task
        ms, answer = await read(reads, match.match_id)
        differ += Counts.of(answer) != expected or await plain_counts(engine, DATABASE, match.match_id) != expected
        detail = f"{differ} of {len(times) + 1} answers differ; reads took {latencies([*times, ms])}"
        bench.check(f"{said}: every figure as in a plain count of distinct ids", not differ, detail)

    await equal("1 % more copies", lambda: tables.copy(DATABASE, match, percent=1, later_ms=4_000))
    await equal("30 % duplicates", lambda: tables.copy(DATABASE, match, percent=30, later_ms=9_000))
    await equal("a replay of half of it", lambda: tables.copy(DATABASE, match, percent=50, later_ms=0))
    await equal("a merge in progress", lambda: _merge(engine))


async def _merge(engine: Engine) -> None:
    await engine.query(f"OPTIMIZE TABLE {DATABASE}.events SETTINGS optimize_throw_if_noop = 0")
    await merged(engine, patience_s=30)
