"""Rows leave ``events`` by their age: when it is set, changed and unset, and what that means for what is still sent."""

import asyncio
import time
import uuid
from collections.abc import Callable

import attrs
import pytest

from shards.errors import SchemaMismatch
from shards.events import Event
from shards.reads.matches import MatchReads
from shards.settings import ShardSettings
from shards.stores.base import Store
from shards.stores.retention import Retention
from tests.bench.uncached import NothingPending
from tests.contract.rows import batch, event, receipt, stored
from tests.contract.shardsets import running
from tests.logged import lines_of
from tests.statements import alter, execute

DAY_NS = 86_400 * 10**9


def aged(days: float, match_id: str = "old", count: int = 5) -> list[Event]:
    """Events received so many days ago."""
    return [event(match_id=match_id, **receipt(time.time_ns() - int(days * DAY_NS) + n)) for n in range(count)]


async def retain(store: Store, days: int) -> None:
    """Open the store as a service does that starts, whose setting says so many days, and beside which nobody writes."""
    store._retention = Retention(days, quiet_s=-60)
    await store.open()


async def ttl(store: Store) -> str:
    [(engine,)] = await store.fetch(
        f"SELECT engine_full FROM system.tables WHERE database = '{store.database}' AND name = 'events'"
    )
    return str(engine).partition(" TTL ")[2].partition(" SETTINGS ")[0]


async def matches(store: Store) -> list[tuple[str, int]]:
    """Rows by match after a merge of everything; by the projections, and without them, which must agree."""
    await mutated(store)
    await execute(store, "OPTIMIZE TABLE {db}.events FINAL")
    sql = "SELECT match_id, toInt64(count()), toString(max(received_at))"
    sql += f" FROM {store.database}.events GROUP BY match_id ORDER BY 1"
    found = await store.fetch(sql)
    assert found == await store.fetch(f"{sql} SETTINGS optimize_use_projections = 0")
    newest = f"SELECT match_id, toString(max(received_at)) FROM {store.database}.events GROUP BY match_id ORDER BY 1"
    assert await store.fetch(newest) == [(match_id, last) for match_id, _, last in found]
    return [(match_id, rows) for match_id, rows, _ in found]


async def mutated(store: Store) -> None:
    """Wait until the new TTL of what was there is written."""
    unfinished = f"SELECT toInt64(count()) FROM system.mutations WHERE database = '{store.database}' AND NOT is_done"
    while await store.fetch(unfinished) != [(0,)]:
        await asyncio.sleep(0.05)


async def test_the_setting_changes_while_old_rows_are_still_rewritten(store: Store) -> None:
    await store.insert_direct(batch(aged(90)))
    await execute(store, "SYSTEM STOP MERGES {db}.events")
    await alter(store, "MATERIALIZE COLUMN highlight")
    await retain(store, 60)
    assert await ttl(store) == "received_at + toIntervalDay(60)"
    await execute(store, "SYSTEM START MERGES {db}.events")
    assert await matches(store) == []


async def test_rows_go_when_they_are_older_and_younger_ones_stay(store: Store) -> None:
    for number, (days, match_id) in enumerate([(90, "oldest"), (20, "older"), (1, "young")]):
        await store.insert_direct(batch(aged(days, match_id), number=number))
    assert len(await matches(store)) == 3
    await retain(store, 60)
    assert await matches(store) == [("older", 5), ("young", 5)]
    await retain(store, 10)
    assert await matches(store) == [("young", 5)]
    await store.check()


async def test_the_setting_is_followed_and_opening_again_does_nothing(store: Store) -> None:
    mutations = f"SELECT toInt64(count()) FROM system.mutations WHERE database = '{store.database}'"
    assert await ttl(store) == ""
    await store.insert_direct(batch([event()]))
    for days in (30, 7):
        await retain(store, days)
        assert await ttl(store) == f"received_at + toIntervalDay({days})"
        begun = await store.fetch(mutations)
        await store.open()
        assert await store.fetch(mutations) == begun
    await retain(store, 0)
    assert await ttl(store) == ""
    await store.insert_direct(batch(aged(300), number=2))
    assert await matches(store) == [("match-1", 1), ("old", 5)]


async def test_a_row_that_has_expired_when_it_is_sent_is_confirmed_and_not_kept(store: Store) -> None:
    await retain(store, 30)
    mixed = [*aged(31), *aged(29, "kept", 3)]
    await store.insert_direct(batch(mixed, number=1))
    await store.insert_buffered(batch(mixed, number=2))
    await store.insert_direct(batch(aged(400), number=3))
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [1, 2, 3]) == {1: 8, 2: 8, 3: 5}
    assert await matches(store) == [("kept", 3)]


async def test_expired_rows_of_the_log_are_replayed_once_and_then_done_with(
    settings: ShardSettings, store: Store
) -> None:
    await retain(store, 30)
    for _ in range(2):
        async with running(attrs.evolve(settings, shard_count=1), store) as shards:
            await shards.append([*aged(31), *aged(0, "kept", 3)])
            await shards.flush()
            now = shards.snapshot()
            assert (now.confirmed, now.pending, now.dead_lettered) == (now.appended, 0, 0)
    assert await matches(store) == [("kept", 6)]


async def test_the_id_of_an_expired_event_is_free_again(store: Store) -> None:
    await retain(store, 30)
    name = str(uuid.uuid4())
    await store.insert_direct(batch([event(event_id=name, **receipt(time.time_ns() - 40 * DAY_NS))], number=1))
    await store.insert_direct(batch([event(event_id=name, team_id="2")], number=2))
    assert [e.team_id for e in await stored(store, final=True)] == ["2"]


@pytest.mark.parametrize(
    "by_hand",
    [
        "toDateTime(received_at) + toIntervalDay(5) TO VOLUME 'default'",
        "received_at + toIntervalDay(9) WHERE shard = 0",
    ],
)
async def test_a_ttl_set_by_hand_is_left_alone_and_named_where_another_is_needed(store: Store, by_hand: str) -> None:
    await alter(store, f"MODIFY TTL {by_hand}")
    before = await ttl(store)
    await retain(store, 0)
    with pytest.raises(SchemaMismatch, match=r"events has the TTL .*; it must hold received_at \+ toIntervalDay\(30\)"):
        await retain(store, 30)
    assert await ttl(store) == before
    await alter(store, f"MODIFY TTL {by_hand}, received_at + toIntervalDay(30)")
    await retain(store, 30)
    assert "toIntervalDay(30)" in await ttl(store)


async def test_metrics_count_what_is_left_however_a_match_is_read(store: Store) -> None:
    by_rows = MatchReads(store, NothingPending())
    by_parts = MatchReads(store, NothingPending(), large_events=1)
    old, young = aged(40, "m"), aged(0, "m", 3)
    again = [attrs.evolve(sent, **receipt(time.time_ns()), team_id="2") for sent in old[:2]]
    for number, events in enumerate((old, young, again)):
        await store.insert_direct(batch(events, number=number))

    async def counted() -> tuple[int, tuple[tuple[str, str, int], ...]]:
        found = []
        for reads in (by_rows, by_parts):
            match = (await reads.aggregates(["m"]))["m"]
            found.append((match.total, tuple(sorted(match.by_type_team))))
        assert found[0] == found[1]
        return found[0]

    assert await counted() == (8, (("pass", "1", 8),))
    await retain(store, 30)
    await mutated(store)
    await execute(store, "OPTIMIZE TABLE {db}.events FINAL")
    # Of those that were sent twice the first one received stood; it is gone.
    assert await counted() == (5, (("pass", "1", 3), ("pass", "2", 2)))
    await execute(store, "TRUNCATE TABLE {db}.events")
    assert await by_rows.aggregates(["m"]) == await by_parts.aggregates(["m"]) == {}


async def test_of_two_services_with_different_settings_the_second_is_refused_while_the_first_writes(
    store: Store, make_store: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    if not store.may_be_shared:
        pytest.skip("the embedded engine has one service")
    await retain(store, 90)
    await store.insert_direct(batch(aged(1)))
    second = make_store()
    second._retention = Retention(30, quiet_s=2)
    told = r"keeps rows for 90 days, another service .*RETENTION_DAYS=30 is set here"
    with pytest.raises(SchemaMismatch, match=told):
        await second.open()
    assert await ttl(store) == "received_at + toIntervalDay(90)"
    same = make_store()
    same._retention = Retention(90)
    await same.open()
    await asyncio.sleep(3.1)
    await second.open()
    assert await ttl(store) == "received_at + toIntervalDay(30)", "nobody has written for a while"

    caplog.clear()
    for _ in range(2):
        await store.check()
        await store.open()
    assert await ttl(store) == "received_at + toIntervalDay(30)", "who was there before never changes it back"
    lines = [(line["event"], line.get("found"), line.get("wanted")) for line in lines_of(caplog)]
    assert lines == [("retention changed by another service", "for 30 days", "for 90 days")]
    for other in (second, same):
        await other.close()
