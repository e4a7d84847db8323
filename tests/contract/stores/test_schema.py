"""Databases that are not as needed are named with what differs, and nothing is flushed into them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from shards.errors import RowsRefused, SchemaMismatch, StoreError, StoreFailed
from shards.events import HIGHLIGHT_TYPES
from shards.reads.matches import MatchReads
from shards.stores import base, schema
from shards.stores.base import Store
from shards.stores.derived import DERIVED
from shards.stores.embedded import EmbeddedStore
from shards.stores.server import ServerStore
from tests.bench.uncached import NothingPending
from tests.contract.rows import MATCH, batch, count, event, receipt, stored
from tests.logged import lines_of
from tests.statements import alter, drop, drop_database, execute


async def differences(store: Store) -> tuple[str, ...]:
    with pytest.raises(SchemaMismatch) as raised:
        await store.check()
    return raised.value.differences


UNFINISHED = "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done"


async def reopen_as_of(version: int, store: Store) -> None:
    """Open it without waiting for the rows that are there to be rewritten."""
    await execute(store, "SYSTEM STOP MERGES {db}.events")
    await execute(store, "TRUNCATE TABLE {db}.schema_version")
    await execute(store, f"INSERT INTO {{db}}.schema_version SELECT {version}, now()")
    await store.open()
    assert await store.fetch(UNFINISHED) != [(0,)]


async def as_of_step_4(store: Store) -> None:
    await alter(store, "DROP PROJECTION tempo")
    for column in ("target", "momentum", "texts"):
        await alter(store, f"DROP COLUMN {column}")


async def mutated(store: Store) -> None:
    await execute(store, "SYSTEM START MERGES {db}.events")
    while await store.fetch(UNFINISHED) != [(0,)]:
        await asyncio.sleep(0.05)


async def test_everything_needed_is_created_and_passes_the_check(store: Store) -> None:
    rows = await store.fetch(f"SELECT name, engine FROM system.tables WHERE database = '{store.database}' ORDER BY 1")
    assert rows == [
        ("events", "ReplacingMergeTree"),
        ("events_buffer_0", "Buffer"),
        ("events_buffer_1", "Buffer"),
        ("ingest_ledger", "MergeTree"),
        ("ledger_view", "MaterializedView"),
        ("schema_version", "MergeTree"),
    ]
    await store.check()


async def test_opening_again_changes_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await store.insert_direct(batch([event()]))
    await store.open()
    await store.open()
    assert await count(store) == 1
    noted = [(schema.VERSION - 1,), (schema.VERSION,)]
    assert await store.fetch("SELECT version FROM schema_version ORDER BY version") == noted
    assert lines_of(caplog, "schema one step newer") == []


async def test_another_store_object_finds_what_the_first_one_left(
    store: Store, make_store: Callable[..., Store]
) -> None:
    events = [event()]
    await store.insert_direct(batch(events))
    await store.close()
    other = make_store()
    await other.open()
    assert await other.landed("w1", 0, [1]) == {1: 1}
    assert [e.event_id for e in await stored(other)] == [events[0].event_id]
    await other.close()
    await store.open()


async def test_a_user_who_may_create_nothing_can_open_what_exists(clickhouse_url: str, database: str) -> None:
    store = ServerStore(f"{clickhouse_url}/{database}", shard_count=2)
    await store.open()
    guest = ServerStore(f"{clickhouse_url}/{database}", shard_count=2)
    guest._lanes["schema"] = guest._connection(allow_ddl="0")
    await guest.open()
    await drop(store, "events_buffer_1")
    with pytest.raises(StoreFailed, match="QUERY_IS_PROHIBITED"):
        await guest.open()
    await drop_database(store)
    await guest._lanes["schema"].close()
    await guest.close()
    await store.close()


async def test_closing_twice_and_before_opening_is_harmless(make_store: Callable[..., Store]) -> None:
    store = make_store()
    await store.close()
    await store.open()
    await drop_database(store)
    await store.close()
    await store.close()


@pytest.mark.parametrize("name", ["ledger_view", "ingest_ledger", "events_buffer_1", "events"])
async def test_a_missing_object_is_named_and_then_created(store: Store, name: str) -> None:
    await drop(store, name)
    kind = "view" if name.endswith("view") else "table"
    assert await differences(store) == (f"{kind} {store.database}.{name} is missing",)
    await store.open()
    await store.check()
    await store.insert_direct(batch([event()]))
    assert await store.landed("w1", 0, [1]) == {1: 1}


async def test_every_difference_is_named_not_only_the_first(store: Store) -> None:
    await drop(store, "ledger_view", "events_buffer_0")
    assert len(await differences(store)) == 2


@pytest.mark.parametrize(
    ("alteration", "sentence"),
    [
        ("MODIFY COLUMN player_id UInt64", "column events.player_id is UInt64, needed String"),
        ("RENAME COLUMN player_id TO player", "column events.player_id is missing, needed String"),
        ("MODIFY SETTING fsync_after_insert = 0", "table events lacks the setting fsync_after_insert = 1"),
        ("MODIFY COLUMN player_id String MATERIALIZED 'x'", "column events.player_id is MATERIALIZED, needed an"),
        ("DROP COLUMN highlight", "column events.highlight is missing, needed String MATERIALIZED if(has(['goal', "),
        (
            "MODIFY COLUMN highlight REMOVE MATERIALIZED",
            "column events.highlight is String, needed String MATERIALIZED",
        ),
        ("MODIFY COLUMN highlight String MATERIALIZED 'x'", "column events.highlight is String MATERIALIZED 'x', need"),
    ],
)
async def test_an_altered_table_is_named_and_left_alone(store: Store, alteration: str, sentence: str) -> None:
    await alter(store, alteration)
    before = await execute(store, "SHOW CREATE TABLE {db}.events")
    assert sentence in "; ".join(await differences(store))
    with pytest.raises(SchemaMismatch, match="events"):
        await store.open()
    assert await execute(store, "SHOW CREATE TABLE {db}.events") == before


async def test_clickhouse_refuses_to_drop_any_column_of_events(store: Store) -> None:
    for column in schema.EVENTS.columns:
        with pytest.raises(StoreError, match=r"^code ") as raised:
            await alter(store, f"DROP COLUMN {column}")
        assert column in raised.value.full_message


async def test_foreign_columns_and_tables_are_no_difference(store: Store) -> None:
    await alter(store, "ADD COLUMN note String, ADD INDEX i timestamp TYPE minmax")
    await execute(store, "CREATE TABLE {db}.other (x Int8) ENGINE = Memory")
    await store.open()
    await store.insert_buffered(batch([event()], number=1))
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [1]) == {1: 1}


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ("MergeTree PARTITION BY toYYYYMM(received_at) ORDER BY (match_id, event_id)", "has engine MergeTree, needed"),
        ("ReplacingMergeTree ORDER BY (match_id, event_id)", "has engine ReplacingMergeTree, needed Replacing"),
        ("ReplacingMergeTree(version) ORDER BY (match_id, event_id)", "has PARTITION BY nothing, needed toYYYYMM"),
        (
            "ReplacingMergeTree(version) PARTITION BY toYYYYMM(received_at) ORDER BY match_id",
            "has ORDER BY match_id, needed match_id, event_id",
        ),
        ("Log", "has engine Log, needed ReplacingMergeTree(version)"),
    ],
)
async def test_a_table_of_another_kind_is_not_taken_for_ours(
    make_store: Callable[..., Store], store: Store, engine: str, sentence: str
) -> None:
    await drop(store, "events")
    columns = ", ".join(f"{name} {type_}" for name, type_ in schema.EVENTS.columns.items())
    await execute(store, f"CREATE TABLE {{db}}.events ({columns}) ENGINE = {engine}")
    assert sentence in "; ".join(await differences(store))
    made = "SHOW CREATE TABLE {db}.events"
    before = await execute(store, made)
    for also in ("SELECT 1", "DROP TABLE {db}.schema_version SYNC"):
        await execute(store, also)
        with pytest.raises(SchemaMismatch):
            await store.open()
    assert await execute(store, made) == before


async def test_a_view_that_counts_otherwise_or_elsewhere_is_named(store: Store) -> None:
    await drop(store, "ledger_view")
    await execute(store, "CREATE TABLE {db}.elsewhere AS {db}.ingest_ledger")
    await execute(
        store,
        "CREATE MATERIALIZED VIEW {db}.ledger_view TO {db}.elsewhere AS SELECT writer, shard, batch, "
        "toUInt64(7) AS rows, now('UTC') AS inserted_at FROM {db}.events",
    )
    found = "; ".join(await differences(store))
    assert f"view ledger_view writes to {store.database}.elsewhere, needed {store.database}.ingest_ledger" in found
    assert "view ledger_view is SELECT writer, shard, batch, toUInt64(7) AS rows" in found


async def test_a_buffer_table_of_another_form_is_named(store: Store) -> None:
    await drop(store, "events_buffer_0")
    await execute(
        store, "CREATE TABLE {db}.events_buffer_0 AS {db}.events ENGINE = Buffer({db}, events, 16, 1, 2, 1, 2, 1, 2)"
    )
    assert "table events_buffer_0 has engine Buffer(" in "; ".join(await differences(store))


@pytest.mark.parametrize("gone", ["DROP TABLE {db}.events SYNC", "DROP DATABASE {db} SYNC"])
async def test_inserts_into_nothing_are_a_schema_mismatch(store: Store, gone: str) -> None:
    await execute(store, gone)
    with pytest.raises(SchemaMismatch, match=r"UNKNOWN_(TABLE|DATABASE)"):
        await store.insert_direct(batch([event()]))


async def test_without_its_ledger_no_insert_passes_for_landed(store: Store) -> None:
    await drop(store, "ingest_ledger")
    with pytest.raises(SchemaMismatch, match="UNKNOWN_TABLE"):
        await store.insert_direct(batch([event()]))
    with pytest.raises(SchemaMismatch, match="UNKNOWN_TABLE"):
        await store.landed("w1", 0, [1])


async def test_a_flush_into_a_dropped_table_loses_the_batch_and_says_so(store: Store) -> None:
    await store.insert_buffered(batch([event()], number=1))
    await drop(store, "events")
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [1]) == {}
    await store.open()
    await store.insert_direct(batch([event()], number=2))
    assert await store.landed("w1", 0, [1, 2]) == {2: 1}


async def test_a_column_of_another_type_refuses_rows_but_the_check_names_the_column(store: Store) -> None:
    await alter(store, "MODIFY COLUMN player_id UInt64")
    with pytest.raises((RowsRefused, SchemaMismatch)):
        await store.insert_direct(batch([event(player_id="Al-Hilal")]))
    assert any("events.player_id" in sentence for sentence in await differences(store))


async def test_resetting_a_buffer_makes_an_empty_one(store: Store) -> None:
    await store.insert_buffered(batch([event()], number=1))
    await store.reset_buffer(0)
    await store.check()
    await store.insert_buffered(batch([event(), event()], number=2))
    await store.flush_buffer(0)
    assert (await store.landed("w1", 0, [2])) == {2: 2}


async def test_a_missing_buffer_can_be_reset(store: Store) -> None:
    await drop(store, "events_buffer_0")
    with pytest.raises(SchemaMismatch, match="UNKNOWN_TABLE"):
        await store.insert_buffered(batch([event()]))
    await store.reset_buffer(0)
    await store.insert_buffered(batch([event()]))


async def test_a_start_with_more_shards_makes_their_buffers(store: Store, make_store: Callable[..., Store]) -> None:
    await store.close()
    more = make_store(shard_count=4)
    await more.open()
    await more.insert_buffered(batch([event()], shard=3))
    await more.flush_buffer(3)
    assert await more.landed("w1", 3, [1]) == {1: 1}
    await more.close()
    await store.open()


async def test_a_buffer_of_a_shard_that_is_no_more_is_flushed_at_the_opening(store: Store) -> None:
    await execute(store, schema.buffer_table(store.database, 9).ddl(store.database))
    await store.insert_buffered(batch([event()], shard=9))
    await store.open()
    assert await store.landed("w1", 9, [1]) == {1: 1}


async def test_a_database_two_steps_newer_is_refused_in_a_sentence(store: Store) -> None:
    newer = schema.VERSION + 2
    await execute(store, f"INSERT INTO {{db}}.schema_version SELECT {newer}, now()")
    sentence = f"has schema version {newer}, this release knows {schema.VERSION}, and goes on beside {newer - 1}: use"
    with pytest.raises(SchemaMismatch, match=sentence):
        await store.open()


async def test_beside_a_schema_one_step_newer_it_goes_on_and_says_so_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The step added a column, a derived one, a projection and an index; a lost table is made again beside it."""
    await alter(store, "ADD COLUMN venue String DEFAULT 'x'")
    await alter(store, "ADD COLUMN half UInt8 MATERIALIZED 1")
    await alter(store, "ADD PROJECTION halves (SELECT half, count() GROUP BY half)")
    await alter(store, "ADD INDEX halves half TYPE minmax")
    await execute(store, f"INSERT INTO {{db}}.schema_version SELECT {schema.VERSION + 1}, now()")
    caplog.set_level("INFO")
    await drop(store, "events_buffer_0")
    for _ in range(2):
        await store.open()
        await store.check()
    [line] = lines_of(caplog, "schema one step newer")
    assert (line["version"], line["known"]) == (schema.VERSION + 1, schema.VERSION)
    await store.insert_buffered(batch([event(event_type="goal")], number=1))
    await store.flush_buffer(0)
    await store.insert_direct(batch([event()], number=2))
    assert await store.landed("w1", 0, [1, 2]) == {1: 1, 2: 1}
    [counted] = (await MatchReads(store, NothingPending()).aggregates([MATCH])).values()
    assert (counted.total, len(counted.highlights)) == (2, 1)
    assert await store.fetch("SELECT max(version) FROM schema_version") == [(schema.VERSION + 1,)]


async def test_what_is_needed_is_needed_beside_a_newer_schema_too(store: Store) -> None:
    await execute(store, f"INSERT INTO {{db}}.schema_version SELECT {schema.VERSION + 1}, now()")
    await alter(store, "DROP COLUMN highlight")
    with pytest.raises(SchemaMismatch, match=r"column events\.highlight is missing"):
        await store.open()


async def test_an_older_database_is_migrated_step_by_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    new = schema.VERSION + 2
    steps = (
        schema.Migration(new - 1, ("ALTER TABLE {database}.events ADD COLUMN IF NOT EXISTS venue String",)),
        schema.Migration(new, ("ALTER TABLE {database}.events MODIFY COLUMN venue LowCardinality(String)",)),
    )
    await execute(store, f"INSERT INTO {{db}}.schema_version SELECT {new - 1}, now()")
    await alter(store, "ADD COLUMN venue String")
    monkeypatch.setattr(base.schema, "MIGRATIONS", steps)
    monkeypatch.setattr(base.schema, "VERSION", new)
    await store.open()
    columns = f"SELECT type FROM system.columns WHERE database = '{store.database}' AND name = 'venue'"
    assert ("LowCardinality(String)",) in await store.fetch(columns)
    assert await store.fetch("SELECT max(version) FROM schema_version") == [(new,)]


@pytest.mark.parametrize("lost", ["TRUNCATE TABLE {db}.schema_version", "DROP TABLE {db}.schema_version SYNC"])
async def test_where_no_version_is_noted_every_step_is_taken(store: Store, lost: str) -> None:
    """As when the first start of the release that made it ended before that."""
    goal = event(event_type="goal", player_id="7")
    await store.insert_direct(batch([goal]))
    await alter(store, "DROP INDEX matches")
    await as_of_step_4(store)
    await alter(store, "DROP COLUMN highlight")
    await execute(store, lost)
    await store.open()
    await store.check()
    assert await store.fetch("SELECT max(version) FROM schema_version") == [(schema.VERSION,)]
    [counted] = (await MatchReads(store, NothingPending()).aggregates([MATCH])).values()
    assert [shown.player_id for shown in counted.highlights] == ["7"]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
async def test_rows_of_an_older_release_get_what_makes_reads_fast(store: Store, version: int) -> None:
    await store.insert_direct(batch([event() for _ in range(5)]))
    if version == 1:
        await alter(store, "DROP INDEX kinds")
    if version <= 2:
        await alter(store, "DROP INDEX matches")
    await as_of_step_4(store)
    if version <= 3:
        await alter(store, "DROP COLUMN highlight")
    await reopen_as_of(version, store)
    await mutated(store)
    made = f"SELECT name FROM system.data_skipping_indices WHERE database = '{store.database}' AND marks_bytes > 0"
    assert await store.fetch(f"{made} ORDER BY name") == [("kinds",), ("matches",)]
    stored = "SELECT count() FROM system.parts_columns WHERE active AND database = currentDatabase()"
    for column in schema.EVENTS.derived:
        assert await store.fetch(f"{stored} AND table = 'events' AND column = '{column}'") == [(1,)]
    await store.insert_direct(batch([event()], number=2))
    forced = "SETTINGS force_optimize_projection_name = "
    assert await store.fetch(f"SELECT count(), sum(momentum) FROM events GROUP BY match_id {forced}'tempo'") == [
        (6, 6 * 187)
    ]


async def test_highlights_of_an_older_release_are_whole_before_and_after_they_are_rewritten(store: Store) -> None:
    goal = event(event_type="goal", player_id="7\0\0ß", metadata='{"assist": "\\u0000"}')
    await store.insert_direct(batch([goal, event()]))
    await alter(store, "DROP COLUMN highlight")
    await reopen_as_of(3, store)
    for _ in range(2):
        for large_events in (1, 1_000):
            counted = await MatchReads(store, NothingPending(), large_events=large_events).aggregates([MATCH])
            [shown] = counted[MATCH].highlights
            assert (shown.event_id, shown.metadata, shown.player_id) == (goal.event_id, goal.metadata, goal.player_id)
            assert shown.received_ms == goal.received_ns // 1_000_000
        await mutated(store)


async def test_analysts_see_no_version_that_does_not_stand(store: Store) -> None:
    """Two skip indexes, of which one may leave the version out that stands: FINAL has to look at it all the same."""
    first = event(event_type="pass")
    again = attrs.evolve(first, event_type="goal", **receipt(first.order_ns + 10**9))
    for number, version in enumerate((first, again), 1):
        await store.insert_direct(batch([version], number=number))
    goals = f"SELECT count() FROM events FINAL WHERE match_id = '{first.match_id}' AND event_type = 'goal'"
    assert await store.fetch(goals) == [(0,)]


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a.b", "`a`", "1a", "a" * 65, "ä"])
def test_a_database_must_have_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="database"):
        EmbeddedStore(tmp_path, shard_count=1, database=name)


def test_the_columns_of_an_insert_and_their_expressions_are_as_many() -> None:
    assert len(schema.insert_columns().split(", ")) == len(schema.EVENTS.columns)
    assert {field.name for field in attrs.fields(type(event()))} == {
        column.split()[0] for column in schema.ROW_STRUCTURE.split(", ")
    }


def test_which_events_are_highlights_is_part_of_the_schema() -> None:
    """Each database has these in its column: others need a migration that alters it, and a new line here."""
    types = "goal own_goal penalty yellow_card red_card var_review retraction match_start match_end"
    types += " half_start half_end shootout_goal shootout_miss"
    assert f"has({types.split()!r}, event_type)" in DERIVED["highlight"], "what the release before made"
    types += " card substitution suspended resumed abandoned postponed injury"
    assert types.split() == list(HIGHLIGHT_TYPES)
