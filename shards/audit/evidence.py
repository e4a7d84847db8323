"""Evidence: what ClickHouse shows now of attempts that were confirmed before."""

from collections.abc import Mapping, Sequence

import attrs
import msgspec

from shards.errors import StoreError
from shards.stores import schema
from shards.stores.base import Store
from shards.stores.sql import rows_source
from shards.wal.journal import Confirmed

_RUNS = "id UInt32, shard UInt16, writer String, first UInt64, last UInt64"
_FOUND = """SELECT attempts.id, toUInt64(count()), toUInt64(sum(found.rows))
  FROM (
    SELECT toString(writer) AS writer, shard, batch, {rows} AS rows FROM {table} GROUP BY writer, shard, batch
  ) AS found
  ASOF JOIN (SELECT * FROM {attempts}) AS attempts
    ON found.writer = attempts.writer AND found.shard = attempts.shard AND found.batch >= attempts.first
  WHERE found.batch <= attempts.last GROUP BY attempts.id"""
_SAMPLES = """SELECT DISTINCT toString(event_id) FROM {events}
  WHERE event_id IN (SELECT event_id FROM {samples})"""

ShardAttempts = tuple[int, Confirmed]
"""A shard, and attempts of it."""


@attrs.frozen
class FoundRows:
    """Batches that were found of some attempts, and their rows."""

    batches: int = 0
    rows: int = 0


@attrs.frozen(kw_only=True)
class Evidence:
    """Rows that the ledger shows, and ``events`` holds, of each attempt by its index; one without is absent.

    ``samples`` are the attempts' event ids that ``events`` holds under any batch. If ``events`` could not be read, it
    is None, ``samples`` is empty, and ``error`` is the reason.
    """

    ledger: Mapping[int, FoundRows]
    events: Mapping[int, FoundRows] | None
    samples: frozenset[str]
    error: str


async def gather(store: Store, attempts: Sequence[ShardAttempts]) -> Evidence:
    """Ask for all attempts at once. Raises StoreError where the ledger cannot be read."""
    if not attempts:
        return Evidence(ledger={}, events={}, samples=frozenset(), error="")
    ledger = await _found(store, schema.LEDGER.name, "sum(rows)", attempts)
    try:
        events = await _found(store, schema.EVENTS.name, "count()", attempts)
        return Evidence(ledger=ledger, events=events, samples=await _samples(store, attempts), error="")
    except StoreError as error:
        return Evidence(ledger=ledger, events=None, samples=frozenset(), error=error.message)


async def _found(store: Store, table: str, rows: str, attempts: Sequence[ShardAttempts]) -> dict[int, FoundRows]:
    lines = [
        msgspec.json.encode(
            {"id": index, "shard": shard, "writer": a.writer, "first": a.first_batch, "last": a.last_batch}
        )
        for index, (shard, a) in enumerate(attempts)
    ]
    sql = _FOUND.format(table=f"{store.database}.{table}", rows=rows, attempts=rows_source(lines, _RUNS))
    return {index: FoundRows(batches, rows_) for index, batches, rows_ in await store.fetch(sql)}


async def _samples(store: Store, attempts: Sequence[ShardAttempts]) -> frozenset[str]:
    lines = [msgspec.json.encode({"event_id": a.event_id}) for _, a in attempts if a.event_id]
    if not lines:
        return frozenset()
    samples = rows_source(lines, "event_id UUID")
    sql = _SAMPLES.format(events=f"{store.database}.{schema.EVENTS.name}", samples=samples)
    return frozenset(event_id for (event_id,) in await store.fetch(sql))
