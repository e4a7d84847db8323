"""From the release before this one to this one, and back: its database is taken over while rows come in."""

import asyncio
import json
from collections.abc import Sequence
from itertools import count

import attrs
import pytest

from shards.events import Event, encode_row
from shards.reads.aggregates import MatchAggregates
from shards.reads.matches import MatchReads
from shards.reads.pages.pages import EventReads, FoundEvent
from shards.reads.pages.statements import EventQuery
from shards.stores import base, inspection, schema
from shards.stores.base import Store
from shards.stores.sql import heredoc, rows_source
from tests.bench.uncached import NothingPending
from tests.contract.rows import CLOCK, MATCH, batch, event, receipt
from tests.logged import lines_of
from tests.statements import drop, execute

VERSION_BEFORE = 4
BEFORE = {
    "events": r"""CREATE TABLE {db}.events (match_id String, event_id UUID, event_type LowCardinality(String),
        timestamp DateTime64(3, 'UTC'), team_id String, player_id String, metadata String,
        received_at DateTime64(3, 'UTC'), writer LowCardinality(String), shard UInt16, batch UInt64, version UInt64,
        highlight String MATERIALIZED if(has(['goal', 'own_goal', 'penalty', 'yellow_card', 'red_card', 'var_review',
        'retraction', 'match_start', 'match_end', 'half_start', 'half_end', 'shootout_goal', 'shootout_miss'],
        event_type), concat(metadata, '\0', player_id), ''),
        PROJECTION activity (SELECT match_id, max(received_at) GROUP BY match_id),
        PROJECTION curve (SELECT match_id, intDiv(toUnixTimestamp64Milli(timestamp), 10000) AS tick, event_type,
        team_id, count(), min(timestamp), max(timestamp), max(received_at)
        GROUP BY match_id, tick, event_type, team_id),
        INDEX kinds event_type TYPE set(0) GRANULARITY 1, INDEX matches match_id TYPE bloom_filter(0.01) GRANULARITY 1)
        ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(received_at) ORDER BY (match_id, event_id)
        SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, deduplicate_merge_projection_mode = 'rebuild',
        lightweight_mutation_projection_mode = 'rebuild'""",
    "ingest_ledger": """CREATE TABLE {db}.ingest_ledger (writer LowCardinality(String), shard UInt16, batch UInt64,
        rows UInt64, inserted_at DateTime('UTC')) ENGINE = MergeTree ORDER BY (writer, shard, batch)
        TTL inserted_at + toIntervalDay(30) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1""",
    "schema_version": """CREATE TABLE {db}.schema_version (version UInt32, applied_at DateTime('UTC'))
        ENGINE = MergeTree ORDER BY version SETTINGS fsync_after_insert = 1, fsync_part_directory = 1""",
    "ledger_view": """CREATE MATERIALIZED VIEW {db}.ledger_view TO {db}.ingest_ledger AS SELECT writer, shard, batch,
        count() AS rows, now('UTC') AS inserted_at FROM {db}.events WHERE NOT ignore(match_id, event_id, event_type,
        timestamp, team_id, player_id, metadata, received_at, writer, shard, batch, version)
        GROUP BY writer, shard, batch""",
    **{
        f"events_buffer_{shard}": f"""CREATE TABLE {{db}}.events_buffer_{shard} (match_id String, event_id UUID,
        event_type LowCardinality(String), timestamp DateTime64(3, 'UTC'), team_id String, player_id String,
        metadata String, received_at DateTime64(3, 'UTC'), writer LowCardinality(String), shard UInt16, batch UInt64,
        version UInt64) ENGINE = Buffer('{{db}}', 'events', 1, 60, 300, 1000000, 10000000, 268435456, 1073741824)"""
        for shard in range(2)
    },
}
"""The objects of the release before, as it made them."""

INSERT_BEFORE = """INSERT INTO {{db}}.{table} (match_id, event_id, event_type, timestamp, team_id, player_id, metadata,
    received_at, writer, shard, batch, version)
  SELECT match_id, event_id, event_type, fromUnixTimestamp64Milli(timestamp, 'UTC'), team_id, player_id, metadata,
    fromUnixTimestamp64Milli(intDiv(received_ns, 1000000), 'UTC'), 'before', 0, {number},
    18446744073709551615 - toUInt64(received_ns)
  FROM {source}"""
ROW_BEFORE = (
    "match_id String, event_id UUID, event_type String, timestamp Int64, team_id String, player_id String, "
    "metadata String, received_ns Int64"
)
WAY_BACK = "DELETE FROM {db}.schema_version WHERE version = 5"
"""The statement of docs/UPGRADE.md."""

LATE = "late"
numbers = count(1)


async def insert_as_before(store: Store, events: Sequence[Event], *, table: str = "events") -> int:
    """Store rows as the release before does; return the number of the batch."""
    number, rows = next(numbers), []
    for sent in events:
        fields = json.loads(encode_row(sent))
        del fields["order_ns"]
        rows.append(json.dumps(fields).encode())
    await execute(store, INSERT_BEFORE.format(table=table, number=number, source=rows_source(rows, ROW_BEFORE)))
    return number


async def made_before(store: Store) -> None:
    """Have the database be one of the release before."""
    await drop(store, "ledger_view", *(name for name in BEFORE if name != "ledger_view"))
    for statement in BEFORE.values():
        await execute(store, statement)
    await execute(store, f"INSERT INTO {{db}}.schema_version SELECT {VERSION_BEFORE}, now('UTC')")


def some_events() -> list[Event]:
    """Every kind of event that is read in a way of its own: copies, highlights, withdrawn ones, fans' reactions."""
    start = event(event_type="match_start", metadata='{"home":{"id":"1","name":"A"},"away":{"id":"2","name":"B"}}')
    passes = [event(timestamp=start.timestamp + n * 1_000, metadata=json.dumps({"x": n})) for n in range(100)]
    goal, withdrawn = (event(event_type="goal", player_id=player, team_id="2") for player in ("9", "10"))
    retraction = event(event_type="retraction", metadata=json.dumps({"eventId": withdrawn.event_id}))
    replacing = event(event_type="pass", metadata=json.dumps({"replaces": passes[0].event_id}))
    again = [attrs.evolve(one, event_type="save", **receipt(CLOCK.order_ns())) for one in (goal, *passes[:5])]
    return [start, *passes, goal, withdrawn, retraction, replacing, *again]


def received_whole_ms(events: Sequence[Event]) -> list[Event]:
    """The same as rows of the release before, whose time of receipt is their order."""
    return [attrs.evolve(one, received_ns=one.order_ns) for one in events]


async def answers(store: Store) -> tuple[MatchAggregates, MatchAggregates, tuple[FoundEvent, ...]]:
    """What is read of the match: by rows, by parts, and its first page."""
    by_rows, by_parts = [
        (await MatchReads(store, NothingPending(), large_events=least).aggregates([MATCH]))[MATCH]
        for least in (1_000_000, 1)
    ]
    page = await EventReads(store, NothingPending()).page(EventQuery(match_id=MATCH, limit=500))
    assert page is not None
    assert by_rows == by_parts
    return by_rows, by_parts, page.events


@attrs.define
class WriterBefore:
    """A service of the release before, which stores rows of another match, one batch after the other."""

    store: Store
    rows: int = 0
    begun: asyncio.Event = attrs.field(factory=asyncio.Event)
    stopping: bool = False

    async def write(self) -> None:
        """Store rows until told to stop."""
        while not self.stopping:
            await insert_as_before(self.store, [event(match_id=LATE) for _ in range(10)])
            self.rows += 10
            self.begun.set()


async def mutations_left(store: Store) -> int:
    [(left,)] = await store.fetch(
        f"SELECT count() FROM system.mutations WHERE database = {heredoc(store.database)} AND NOT is_done"
    )
    return int(left)


async def assert_derived_are_whole(store: Store) -> None:
    """Each stored column holds what its expression gives."""
    for name, definition in schema.EVENTS.derived.items():
        expression = definition.split(" MATERIALIZED ", 1)[1]
        assert await store.fetch(f"SELECT count() FROM events WHERE {name} != {expression}") == [(0,)], name
    forced = "SETTINGS force_optimize_projection_name = 'tempo'"
    by_parts = await store.fetch(f"SELECT count(), sum(momentum) FROM events {forced}")
    assert by_parts == await store.fetch(
        "SELECT count(), sum(momentum) FROM events SETTINGS optimize_use_projections = 0"
    )


def as_the_release_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a store need, and note, what the release before does."""
    before = attrs.evolve(schema.EVENTS, derived={"highlight": schema.EVENTS.derived["highlight"]})
    monkeypatch.setattr(inspection, "TABLES", (before, *schema.TABLES[1:]))
    monkeypatch.setattr(inspection, "EVENTS", before)
    monkeypatch.setattr(base.schema, "VERSION", VERSION_BEFORE)
    monkeypatch.setattr(base.schema, "MIGRATIONS", schema.MIGRATIONS[: VERSION_BEFORE - 1])


async def test_a_database_of_the_release_before_is_taken_over_while_rows_come_in_and_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await made_before(store)
    events = received_whole_ms(some_events())
    for part in (events[::2], events[1::2], events[:20]):
        await insert_as_before(store, part)

    await execute(store, "SYSTEM STOP MERGES {db}.events")
    writer = WriterBefore(store)
    writing = asyncio.create_task(writer.write())
    await writer.begun.wait()
    await store.open()
    writer.stopping = True
    await writing
    assert await mutations_left(store) > 0, "rows of before are rewritten in the background"
    [line] = lines_of(caplog, "schema migrated")
    assert line["version"] == schema.VERSION
    before = await answers(store)
    assert (before[0].total, len(before[0].highlights)) == (103, 4), "a goal is withdrawn, and a pass replaced"
    new = some_events()
    await store.insert_direct(batch(new, number=1, writer="new"))
    assert await store.landed("new", 0, [1]) == {1: len(new)}
    both = await answers(store)
    assert both[0].total == 2 * before[0].total

    await execute(store, "SYSTEM START MERGES {db}.events")
    async with asyncio.timeout(60):
        while await mutations_left(store):
            await asyncio.sleep(0.05)
    assert await answers(store) == both
    await assert_derived_are_whole(store)
    assert await store.fetch(f"SELECT uniqExact(event_id) FROM events WHERE match_id = '{LATE}'") == [(writer.rows,)]

    await execute(store, WAY_BACK)
    assert await store.fetch("SELECT max(version) FROM schema_version") == [(VERSION_BEFORE,)]
    with monkeypatch.context() as patches:
        as_the_release_before(patches)
        await store.open()
        assert await store.fetch("SELECT max(version) FROM schema_version") == [(VERSION_BEFORE,)]
        assert len(lines_of(caplog, "schema migrated")) == 1, "no step is taken anew"
        back = [await insert_as_before(store, received_whole_ms(some_events()), table="events_buffer_0")]
        await store.flush_buffer(0)
        assert await store.landed("before", 0, back) == {back[0]: len(events)}
        assert (await answers(store))[0].total == 3 * before[0].total
    await store.open()
    assert await store.fetch("SELECT max(version) FROM schema_version") == [(schema.VERSION,)]
    assert (await answers(store))[0].total == 3 * before[0].total


async def test_a_database_that_this_release_made_is_given_back_too(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await store.insert_direct(batch(some_events()))
    before = await answers(store)
    await execute(store, WAY_BACK)
    as_the_release_before(monkeypatch)
    await store.open()
    assert lines_of(caplog, "schema migrated") == []
    assert await answers(store) == before
