"""Matches that are counted by the parts of the table, over both stores: equal to a count of distinct events, always."""

import asyncio
import random
import uuid

import attrs
import pytest

from shards.errors import StoreError
from shards.events import Event
from shards.reads import statements
from shards.reads.aggregates import MatchAggregates
from shards.reads.large import matches as large_matches
from shards.reads.large import statements as large_statements
from shards.reads.large.matches import LargeMatches
from shards.stores.base import Store
from tests.contract.rows import batch, event, receipt
from tests.statements import alter, drop, execute

MATCH = "m"


async def counted(large: LargeMatches, match_id: str = MATCH) -> MatchAggregates | None:
    assert await large.among([match_id]) == [match_id]
    return await large.aggregates(match_id, pending=(), targets=(), bucket_ms=10_000, as_of_ms=1)


async def total(large: LargeMatches) -> int:
    answer = await counted(large)
    assert answer is not None
    assert answer.pending_events == 0
    assert sum(n for *_, n in answer.by_type_team) == sum(n for *_, n in answer.curve) == answer.total
    return answer.total


def events(how_many: int) -> list[Event]:
    return [event(match_id=MATCH, event_id=str(uuid.uuid4())) for _ in range(how_many)]


@pytest.fixture
async def large(store: Store) -> LargeMatches:
    """Keeps every part as it was inserted, until a test says otherwise."""
    await execute(store, "SYSTEM STOP MERGES {db}.events")
    return LargeMatches(store, large_events=1)


async def merge(store: Store) -> None:
    await execute(store, "SYSTEM START MERGES {db}.events")
    await execute(store, "OPTIMIZE TABLE {db}.events FINAL")


async def test_only_matches_with_many_rows_are_large(store: Store) -> None:
    large = LargeMatches(store, large_events=3)
    await store.insert_direct(batch([*events(3), event(match_id="small")]))
    assert await large.among(["small", MATCH, "unknown"]) == [MATCH]
    large.note("small", 3)
    assert await large.among(["small", MATCH]) == ["small", MATCH]


async def test_what_is_forgotten_while_it_is_learnt_is_not_believed(
    store: Store, large: LargeMatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another match may need the memory just then."""
    sent = events(50)
    await store.insert_direct(batch(sent[:30], number=1))
    await store.insert_direct(batch(sent[20:], number=2))
    assert await total(large) == 50
    fetch = store.fetch

    async def forgetting(*statements: str) -> list[tuple[object, ...]]:
        answer = await fetch(*statements)
        if "HAVING count() > 1" in statements[-1]:
            large._known[MATCH].drop()
        return answer

    monkeypatch.setattr(store, "fetch", forgetting)
    sent += events(5)
    await store.insert_direct(batch(sent[-6:], number=3))
    assert await total(large) == 55
    monkeypatch.undo()
    assert await total(large) == 55


async def test_copies_in_parts_that_come_later_count_once(store: Store, large: LargeMatches) -> None:
    sent = events(50)
    await store.insert_direct(batch(sent[:30], number=1))
    assert await total(large) == 30
    await store.insert_direct(batch(sent[20:], number=2))
    assert await total(large) == 50
    await store.insert_direct(batch(sent, number=3))
    assert await total(large) == 50
    await merge(store)
    assert await total(large) == 50
    await store.insert_direct(batch([*sent[:5], *events(1)], number=4))
    assert await total(large) == 51


async def test_any_order_of_inserts_merges_and_reads_counts_the_distinct(store: Store, large: LargeMatches) -> None:
    rng = random.Random(4)
    sent: list[Event] = []
    for number in range(1, 25):
        again = rng.sample(sent, min(len(sent), rng.randrange(20)))
        new = events(rng.randrange(1, 20))
        rows = [*(attrs.evolve(row, **receipt(row.order_ns + rng.randrange(3))) for row in again), *new]
        await store.insert_direct(batch(rows, number=number))
        sent += new
        if rng.random() < 0.2:
            await merge(store)
        if rng.random() < 0.7:
            assert await total(large) == len(sent)
    assert await total(LargeMatches(store, large_events=1)) == len(sent)


async def test_reads_beside_inserts_and_merges_never_count_a_copy(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An INSERT has ten times more first copies than new events, and each look at the table is slow."""
    slow = f"{large_statements.SETTINGS}, merge_tree_storage_snapshot_sleep_ms = 5"
    monkeypatch.setattr(large_statements, "SETTINGS", slow)
    large = LargeMatches(store, large_events=1)
    sent = events(4_000)
    await store.insert_direct(batch(sent, number=1))
    begun = landed = len(sent)

    async def send() -> None:
        nonlocal begun, landed
        for number in range(2, 40):
            new = events(10)
            begun += len(new)
            await store.insert_direct(batch([*new, *sent[100 * number : 100 * number + 100]], number=number))
            landed += len(new)
            if number % 10 == 0:
                await merge(store)

    sending = asyncio.create_task(send())
    answers = 0
    while not sending.done():
        before = landed
        answer = await counted(large)
        if answer is not None:  # else the parts changed under each of the tries
            assert before <= answer.total <= begun
            answers += 1
    await sending
    assert answers
    assert await total(large) == landed


async def test_looking_at_all_ids_slice_by_slice_finds_every_copy(
    store: Store, large: LargeMatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_matches, "SLICE_ROWS", 10)
    sent = events(60)
    for number, rows in enumerate((sent, sent[10:40], sent[30:]), start=1):
        await store.insert_direct(batch(rows, number=number))
    assert await total(large) == 60
    await store.insert_direct(batch(sent, number=4))
    assert await total(large) == 60


async def test_events_that_clickhouse_lost_or_got_back_are_found_out(store: Store, large: LargeMatches) -> None:
    sent = events(10)
    await store.insert_direct(batch(sent, number=1))
    await store.insert_direct(batch(sent, number=2))
    assert await total(large) == 10
    await execute(store, "SYSTEM START MERGES {db}.events")
    await alter(store, f"DELETE WHERE event_id = '{sent[0].event_id}' SETTINGS mutations_sync = 2")
    assert await total(large) == 9
    await execute(store, f"DELETE FROM {{db}}.events WHERE event_id = '{sent[1].event_id}'")
    assert await total(large) == 8
    await execute(store, "TRUNCATE TABLE {db}.events")
    assert await counted(large) == (await counted(LargeMatches(store, large_events=0)))
    await store.insert_direct(batch(sent, number=3))
    assert await total(large) == 10


async def test_another_table_under_the_name_is_looked_at_anew(store: Store, large: LargeMatches) -> None:
    sent = events(10)
    await store.insert_direct(batch(sent, number=1))
    await store.insert_direct(batch(sent[:5], number=2))
    assert await total(large) == 10
    await drop(store, "ledger_view", "events")
    await store.open()
    await execute(store, "SYSTEM STOP MERGES {db}.events")
    other = events(6)
    await store.insert_direct(batch(other, number=1))
    await store.insert_direct(batch(other, number=2))
    assert await total(large) == 6


async def test_a_table_that_counts_its_blocks_anew_is_looked_at_anew(store: Store, large: LargeMatches) -> None:
    sent = events(20)
    for number in (1, 2, 3):
        await store.insert_direct(batch(sent[:10], number=number))
    assert await total(large) == 10
    for statement in ("TRUNCATE TABLE", "DETACH TABLE", "ATTACH TABLE", "SYSTEM STOP MERGES"):
        await execute(store, f"{statement} {{db}}.events")
    for number in (4, 5):
        await store.insert_direct(batch(sent[10:], number=number))
    assert await total(large) == 10


async def test_of_matches_that_were_asked_for_long_ago_no_copies_are_kept(
    store: Store, large: LargeMatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_matches, "COPIES_KEPT", 5)
    matches = [[attrs.evolve(row, match_id=name) for row in events(8)] for name in ("first", "second")]
    for number in (1, 2):
        await store.insert_direct(
            batch([row for rows in matches for row in rows[: 8 if number == 1 else 4]], number=number)
        )
    for name, kept in (("first", [4]), ("second", [0, 4]), ("first", [0, 4])):
        answer = await counted(large, name)
        assert answer is not None
        assert answer.total == 8
        longest_ago_first = sorted(large._known.values(), key=lambda known: known.asked_at)
        assert [len(known.copied) for known in longest_ago_first] == kept


async def test_too_many_copies_are_left_to_the_other_way_until_they_are_merged(
    store: Store, large: LargeMatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_matches, "COPIES_MAX", 9)
    monkeypatch.setattr(large_matches, "PAUSE_S", 0.0)
    sent = events(20)
    for number, rows in enumerate((sent, sent[:9]), start=1):
        await store.insert_direct(batch(rows, number=number))
        for _ in range(2):  # first the part is new, then it is known, with just as many copies as may be
            assert await total(large) == 20
    await store.insert_direct(batch(sent[9:11], number=3))
    assert await total(large) == 20
    assert await counted(large) is None
    assert not large._known[MATCH].copied, "what is not counted this way needs no memory"
    await merge(store)
    assert await total(large) == 20
    await store.insert_direct(batch(sent[:1], number=4))
    assert await total(large) == 20


async def test_an_answer_about_a_large_match_is_broken_off_when_it_grows_too_long(
    store: Store, large: LargeMatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.insert_direct(batch(events(3)))
    assert await total(large) == 3
    monkeypatch.setattr(statements, "ANSWER_MAX_BYTES", 10)
    with pytest.raises(StoreError) as raised:
        await counted(large)
    assert raised.value.code in statements.TOO_LONG
