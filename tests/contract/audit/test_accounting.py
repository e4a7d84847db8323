"""The audit over both stores: whole when nothing happened, and every loss in ClickHouse named."""

import asyncio
import re
from collections.abc import Callable

import attrs
import pytest

from shards.audit.accounting import Audit
from shards.errors import StoreError
from shards.events import Event
from shards.flush import gate
from shards.runs import size, union
from shards.settings import ShardSettings
from shards.shard import wal_directory
from shards.shardset import ShardSet
from shards.stores.base import Store
from shards.wal import journal
from shards.wal.checkpoint import Checkpoint, write_checkpoint
from tests.contract.rows import receipt
from tests.contract.shardsets import DEADLINE_S, events, running
from tests.statements import alter, drop_database, execute


@pytest.fixture
def settings(settings: ShardSettings) -> ShardSettings:
    return attrs.evolve(settings, shard_count=1)


async def bring(shards: ShardSet, *sent: Event) -> None:
    """Append events as a batch of their own, and have them confirmed."""
    await shards.append(sent)
    await shards.flush()


async def checked(shards: ShardSet) -> Audit:
    """The audit once everything appended is behind a checkpoint; its sums are checked on the way."""
    async with asyncio.timeout(DEADLINE_S):
        found = await shards.audit()
        while any(one.upto < one.appended for one in found.shards):
            await asyncio.sleep(0.02)
            found = await shards.audit()
    for one in found.shards:
        parts = one.confirmed + one.dead_lettered + sum(one.unprovable.values()) + one.missing
        assert one.upto == parts
        of_shard = [d for d in found.differences if d.shard == one.shard and d.kind != "events"]
        assert one.missing == size(union(run for difference in of_shard for run in difference.runs))
    return found


async def test_whole_with_copies_crashes_and_other_shards(settings: ShardSettings, store: Store) -> None:
    async with running(settings, store) as shards:
        assert (await shards.audit()).verdict == "whole"
        first = events(shards, 100)
        await bring(shards, *first)
        await bring(shards, *(attrs.evolve(event, **receipt(shards.clock.order_ns())) for event in first[:30]))
        await execute(store, "OPTIMIZE TABLE {db}.events FINAL")
        found = await checked(shards)
        assert (found.verdict, found.ledger_rows, found.events_rows) == ("whole", 130, 100), (
            "no row of the second batch"
        )
        await shards.append(events(shards, 50))
    async with running(attrs.evolve(settings, shard_count=2), store) as shards:
        await bring(shards, *events(shards, 20), *(attrs.evolve(e, match_id="n") for e in events(shards, 20)))
        await execute(store, "OPTIMIZE TABLE {db}.events FINAL")
        found = await checked(shards)
        assert (found.verdict, found.differences) == ("whole", ())
        assert [one.confirmed for one in found.shards] == [one.appended for one in found.shards]
        assert sum(one.confirmed for one in found.shards) == 220
        assert found.ledger_rows >= 220
        assert found.events_rows == 190, "of the 30 copies none is left"


async def test_rows_gone_from_the_ledger_are_named_by_their_batch(settings: ShardSettings, store: Store) -> None:
    async with running(settings, store) as shards:
        for _ in range(3):
            await bring(shards, *events(shards, 100))
        [(writer, batch)] = await store.fetch(
            f"SELECT toString(writer), batch FROM {store.database}.ingest_ledger ORDER BY batch LIMIT 1, 1"
        )
        await execute(store, f"ALTER TABLE {{db}}.ingest_ledger DELETE WHERE batch = {batch} SETTINGS mutations_sync=2")
        found = await checked(shards)
        [difference] = found.differences
        assert found.verdict == "different"
        assert difference.runs == ((101, 200),)
        assert difference.text == (
            f"shard 0: rows 101 to 200, batch {batch} of writer {writer}: 100 sent, the ledger shows 0"
        )
        await execute(store, "TRUNCATE TABLE {db}.ingest_ledger")
        assert sum(difference.rows for difference in (await checked(shards)).differences) == 300


@pytest.mark.parametrize("lost", [0, 1])
async def test_what_was_replayed_is_covered_by_either_attempt(settings: ShardSettings, store: Store, lost: int) -> None:
    async with running(settings, store) as shards:
        await bring(shards, *events(shards, 10))
        await checked(shards)
    # As after a crash between the journal and the checkpoint.
    write_checkpoint(wal_directory(settings.data_dir, 0), Checkpoint())
    async with running(settings, store) as shards:
        await shards.flush()
        writers = [w for (w,) in await store.fetch(f"SELECT toString(writer) FROM {store.database}.ingest_ledger")]
        assert len(set(writers)) == 2
        delete = "ALTER TABLE {db}.ingest_ledger DELETE WHERE writer = '%s' SETTINGS mutations_sync=2"
        await execute(store, delete % writers[lost])
        assert (await checked(shards)).verdict == "whole"
        await execute(store, delete % writers[1 - lost])
        assert (await checked(shards)).differences[0].runs == ((1, 10),)


@pytest.mark.parametrize(
    "statement", ["TRUNCATE TABLE {db}.events", "ALTER TABLE {db}.events DROP PARTITION tuple({month})"]
)
async def test_rows_gone_from_events_are_named_by_their_month(
    settings: ShardSettings, store: Store, statement: str
) -> None:
    async with running(settings, store) as shards:
        await bring(shards, *events(shards, 7, days_ago=40))
        await bring(shards, *events(shards, 5))
        [(month,)] = await store.fetch(f"SELECT min(toYYYYMM(received_at)) FROM {store.database}.events")
        await execute(store, statement.replace("{month}", str(month)))
        found = await checked(shards)
        assert found.verdict == "different"
        assert {difference.kind for difference in found.differences} == {"events"}
        first = found.differences[0]
        assert first.runs == ((1, 7),)
        assert f"rows 1 to 7, received in {month}: the ledger shows them, the table events holds none" in first.text
        assert len(found.differences) == (2 if "TRUNCATE" in statement else 1)
        assert (await shards.audit(retention_days=30)).differences == found.differences[1:], "retention took the others"


async def test_a_dead_letter_is_one_also_when_it_is_settled(settings: ShardSettings, store: Store) -> None:
    await store.open()
    await alter(store, "ADD CONSTRAINT c CHECK metadata = '{}'")
    async with running(settings, store) as shards:
        await bring(shards, *events(shards, 3), *events(shards, 2, metadata='{"a":1}'))
        first, second = await shards.dead_letters(limit=2)
        await shards.discard(first.id)
        await alter(store, "DROP CONSTRAINT c")
        await shards.requeue(second.id)
        await shards.flush()
        found = await checked(shards)
        [account] = found.shards
        assert (found.verdict, account.confirmed, account.dead_lettered) == ("whole", 4, 2)


async def test_what_cannot_be_checked_is_told_apart_from_what_is_missing(settings: ShardSettings, store: Store) -> None:
    """Rows older than the journal are the former, rows that a checkpoint alone speaks of the latter."""
    path = wal_directory(settings.data_dir, 0) / journal.FILE_NAME
    async with running(settings, store) as shards:
        await bring(shards, *events(shards, 10))
        await checked(shards)
    path.unlink()
    async with running(settings, store) as shards:
        await bring(shards, *events(shards, 5))
        found = await checked(shards)
        assert found.verdict == "whole"
        assert (found.shards[0].confirmed, found.shards[0].unprovable["no_journal"]) == (5, 10)
        before = path.read_bytes()
        await bring(shards, *events(shards, 4))
        await checked(shards)
        path.write_bytes(before)
        [difference] = (await checked(shards)).differences
        assert (difference.kind, difference.runs) == ("journal", ((16, 19),))
        assert difference.text == ("shard 0: rows 16 to 19: counted as done with, but the journal names no attempt")


async def test_records_that_the_disk_damaged_are_told_apart(settings: ShardSettings, store: Store) -> None:
    async with running(settings, store) as shards:
        shards.pause(0)
        for number in range(5):
            await shards.append(events(shards, 1, metadata=f'{{"n":{number}}}'))
    [segment] = wal_directory(settings.data_dir, 0).glob("*.wal")
    written = segment.read_bytes()
    segment.write_bytes(written.replace(b'{\\"n\\":2}', b'{\\"n\\":7}'))
    assert segment.read_bytes() != written
    async with running(settings, store) as shards:
        await bring(shards, *events(shards, 1))
        found = await checked(shards)
        assert (found.verdict, found.shards[0].confirmed, found.shards[0].unprovable["damaged"]) == ("whole", 5, 1)


async def test_without_clickhouse_nothing_is_said(
    settings: ShardSettings, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "CHECK_INTERVAL_S", 3600)  # a table that is seen to be missing is made again
    closed = make_store()
    async with running(settings, closed) as shards:
        await bring(shards, *events(shards, 3))
        await execute(closed, "RENAME TABLE {db}.ingest_ledger TO {db}.away")
        with pytest.raises(StoreError):
            await shards.audit()
        await execute(closed, "RENAME TABLE {db}.away TO {db}.ingest_ledger, {db}.events TO {db}.away")
        found = await shards.audit()
        assert found.verdict == "incomplete"
        assert re.search("UNKNOWN_TABLE", found.events_error)
        assert found.events_rows is None
        await drop_database(closed)
    await closed.close()
