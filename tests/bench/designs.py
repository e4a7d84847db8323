"""Designs of the read path side by side, on the largest match: what each costs to store, to insert and to read.

``row by row`` reads every event with FINAL; ``by parts`` adds up what each part of the table counted of itself, and
knows the copies; ``states`` keeps the distinct ids of every minute, type and team in aggregation states.
"""

import time
import uuid
from collections.abc import Sequence

from shards.events import Event, encode_row
from shards.reads.matches import MatchReads
from shards.stores.schema import EVENTS, insert_columns
from shards.stores.server import ServerStore
from tests.bench.bench import Bench
from tests.bench.engines import DATABASE, Engine
from tests.bench.load import percentile
from tests.bench.uncached import NothingPending, latencies, read

DESIGNS = "designs"
NEVER = 10**12
THRESHOLDS = (50_000, 100_000, 150_000, 200_000)
PENDING = 1_000
SLICES = 10
BATCH_ROWS = 1_000
_GROUPED = """SELECT match_id, toStartOfMinute(timestamp) AS minute, event_type, team_id,
    uniqExactState(event_id) AS ids FROM {source} GROUP BY match_id, minute, event_type, team_id"""
_STATES = f"""CREATE TABLE {DESIGNS}.states (match_id String, minute DateTime('UTC'),
  event_type LowCardinality(String), team_id String, ids AggregateFunction(uniqExact, UUID))
  ENGINE = AggregatingMergeTree ORDER BY (match_id, minute, event_type, team_id)"""
_READ_STATES = f"""SELECT minute, event_type, team_id, uniqExactMerge(ids) AS n FROM {DESIGNS}.states
  WHERE match_id = '{{match_id}}' GROUP BY minute, event_type, team_id"""


async def compare_designs(bench: Bench, engine: Engine, store: ServerStore, match_id: str) -> None:
    """Measure all of them on one match; and, on its first events, from where on which way is the quicker one."""
    for events in THRESHOLDS:
        await _compare_at(bench, engine, store, match_id, int(bench.pick(events, events // 20)))
    await engine.query(f"CREATE DATABASE {DESIGNS}")
    await _compare_reads(bench, engine, store, match_id)
    await _compare_sizes(bench, engine, match_id)
    await _compare_inserts(bench, engine, match_id)


async def _compare_reads(bench: Bench, engine: Engine, store: ServerStore, match_id: str) -> None:
    row_by_row = MatchReads(store, NothingPending(), large_events=NEVER)
    by_parts = MatchReads(store, NothingPending())
    await read(by_parts, match_id)
    await _fill_states(engine, match_id)
    times: dict[str, list[float]] = {"row by row": [], "by parts": [], "states": []}
    for _ in range(int(bench.pick(5, 2))):
        times["row by row"].append((await read(row_by_row, match_id))[0])
        times["by parts"].append((await read(by_parts, match_id))[0])
        started = time.perf_counter()
        await engine.query(_READ_STATES.format(match_id=match_id))
        times["states"].append((time.perf_counter() - started) * 1000)
    for name, of_one in times.items():
        bench.figure(f"the largest match read {name}, p50 / p99 / max", latencies(of_one))


async def _compare_at(bench: Bench, engine: Engine, store: ServerStore, match_id: str, events: int) -> None:
    match = f"first-{events}"
    await engine.query(
        f"INSERT INTO {DATABASE}.{EVENTS.name} SELECT * REPLACE('{match}' AS match_id) FROM (SELECT * FROM "
        f"{DATABASE}.{EVENTS.name} FINAL WHERE match_id = '{match_id}' ORDER BY received_at LIMIT {events})"
    )
    pending = NothingPending(rows=tuple(_pending_row(match) for _ in range(PENDING)))
    ways = [MatchReads(store, pending, large_events=least) for least in (NEVER, 1)]
    times: list[list[float]] = [[], []]
    for _ in range(int(bench.pick(25, 5))):
        for reads, of_one in zip(ways, times, strict=True):
            of_one.append((await read(reads, match))[0])
    row_by_row, by_parts = map(_median, times)
    bench.figure(
        f"{events:,} events with {PENDING:,} pending, row by row : by parts, p50",
        f"{row_by_row:.0f} : {by_parts:.0f} ms",
    )


def _pending_row(match_id: str) -> bytes:
    now_ns = time.time_ns()
    return encode_row(
        Event(match_id, str(uuid.uuid4()), "cheer", now_ns // 1_000_000, "", "", '{"fan":"fan-1"}', now_ns, now_ns)
    )


async def _fill_states(engine: Engine, match_id: str) -> None:
    await engine.query(_STATES)
    grouped = _GROUPED.format(source=f"{DATABASE}.{EVENTS.name}")
    for turn in range(SLICES):
        sliced = grouped.replace(
            "GROUP BY", f"WHERE match_id = '{match_id}' AND cityHash64(event_id) % {SLICES} = {turn} GROUP BY"
        )
        await engine.query(f"INSERT INTO {DESIGNS}.states {sliced}")


async def _compare_sizes(bench: Bench, engine: Engine, match_id: str) -> None:
    """The states are of one match, the projection of all: both per million rows."""
    [match] = await engine.query(f"SELECT count() AS n FROM {DATABASE}.{EVENTS.name} WHERE match_id = '{match_id}'")
    where = f"WHERE active AND database = '{DATABASE}' AND table = '{EVENTS.name}'"
    [table] = await engine.query(f"SELECT sum(rows) AS n, sum(bytes_on_disk) AS size FROM system.parts {where}")
    [curve] = await engine.query(
        f"SELECT sum(bytes_on_disk) AS size FROM system.projection_parts {where} AND name = 'curve'"
    )
    [states] = await engine.query(
        f"SELECT sum(bytes_on_disk) AS size FROM system.parts WHERE active AND database = '{DESIGNS}'"
    )
    for name, size, rows in (
        ("all of `events`", table["size"], table["n"]),
        ("by parts: projection `curve`, of it", curve["size"], table["n"]),
        ("states", states["size"], match["n"]),
    ):
        bench.figure(f"on disk, {name}", f"{int(size) / int(rows):.1f} bytes a row")


async def _compare_inserts(bench: Bench, engine: Engine, match_id: str) -> None:
    """Insert the same rows, as many as a flush of 1,000 events/s has in a second, into a table of each design."""
    columns = insert_columns()
    await engine.query(f"CREATE DATABASE {DESIGNS}_rows")
    await engine.query(
        f"CREATE TABLE {DESIGNS}_rows.batch ENGINE = Memory AS SELECT {columns} FROM {DATABASE}.{EVENTS.name} "
        f"WHERE match_id = '{match_id}' LIMIT {BATCH_ROWS}"
    )
    for name in ("row_by_row", "by_parts", "with_states"):
        ddl = EVENTS.ddl(DESIGNS).replace(f"{DESIGNS}.{EVENTS.name}", f"{DESIGNS}.{name}", 1)
        await engine.query(ddl)
        if name != "by_parts":
            await engine.query(f"ALTER TABLE {DESIGNS}.{name} DROP PROJECTION curve")
    await engine.query(
        f"CREATE MATERIALIZED VIEW {DESIGNS}.feed TO {DESIGNS}.states AS "
        + _GROUPED.format(source=f"{DESIGNS}.with_states")
    )
    times: dict[str, list[float]] = {"row_by_row": [], "by_parts": [], "with_states": []}
    for _ in range(int(bench.pick(100, 20))):
        for name, of_one in times.items():
            started = time.perf_counter()
            await engine.query(f"INSERT INTO {DESIGNS}.{name} ({columns}) SELECT * FROM {DESIGNS}_rows.batch")
            of_one.append((time.perf_counter() - started) * 1000)
    base = _median(times["row_by_row"])
    for name, of_one in times.items():
        what = name.replace("_", " ")
        bench.figure(
            f"insert of {BATCH_ROWS:,} rows, {what}",
            f"{_median(of_one):.1f} ms, {_median(of_one) / base:.2f} times the first",
        )


def _median(times_ms: Sequence[float]) -> float:
    return percentile(sorted(times_ms), 0.5)
