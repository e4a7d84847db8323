"""Millions of rows as a service of the release before has stored them, made within ClickHouse."""

import asyncio

from tests.bench.engines import DATABASE, Engine

MATCHES = 2_000
ROWS_AT_ONCE = 500_000
_AT_ONCE = 2

_INSERT = """INSERT INTO {database}.events (match_id, event_id, event_type, timestamp, team_id, player_id, metadata,
    received_at, writer, shard, batch, version)
  SELECT concat('made-', toString(number % {matches})),
    toUUID(concat('10000000-0000-4000-8000-', leftPad(lower(hex(number)), 12, '0'))),
    ['pass', 'carry', 'cheer', 'comment', 'shot', 'goal'][1 + cityHash64(number) % 6],
    fromUnixTimestamp64Milli(toInt64(1705343400000 + number % 5400000), 'UTC'), toString(1 + number % 2),
    toString(number % 11), concat('{{"x":', toString(number % 100), ',"minute":', toString(number % 90), '}}'),
    fromUnixTimestamp64Milli(toInt64({now_ms} - {rows} + number), 'UTC'), 'made', 0, {batch},
    18446744073709551615 - 1000000 * toUInt64({now_ms} - {rows} + number)
  FROM numbers({first}, {count})
  SETTINGS max_insert_threads = 1, max_block_size = 100000, min_insert_block_size_rows = 500000"""


async def make_rows(engine: Engine, rows: int, *, now_ms: int) -> None:
    """Insert so many rows, by the columns that both releases insert. Each match has as many as any other."""
    assert rows % MATCHES == 0
    waiting = iter(enumerate(range(0, rows, ROWS_AT_ONCE), 1))

    async def work() -> None:
        for batch, first in waiting:
            count = min(ROWS_AT_ONCE, rows - first)
            await engine.query(
                _INSERT.format(
                    database=DATABASE, matches=MATCHES, now_ms=now_ms, rows=rows, batch=batch, first=first, count=count
                )
            )

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


def expected_rows(rows: int) -> int:
    """Return the total of each match."""
    return rows // MATCHES


async def wrong_matches(engine: Engine, rows: int) -> int:
    """Return how many matches do not have their total, counted by distinct ids, some matches at a time."""
    wrong, matches = 0, 0
    for digit in range(10):
        [row] = await engine.query(
            f"SELECT countIf(n != {expected_rows(rows)}) AS wrong, count() AS matches FROM (SELECT match_id, "
            f"uniqExact(event_id) AS n FROM {DATABASE}.events WHERE startsWith(match_id, 'made-') "
            f"AND endsWith(match_id, '{digit}') GROUP BY match_id)"
        )
        wrong, matches = wrong + int(row["wrong"]), matches + int(row["matches"])
    return wrong + abs(MATCHES - matches)
