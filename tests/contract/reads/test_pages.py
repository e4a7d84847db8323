"""Pages of events over both stores: whatever happens between two, nothing is missing and nothing comes twice."""

import asyncio
import json
import random
import uuid
from collections.abc import Collection, Iterable
from itertools import count
from typing import Any

import attrs
import pytest

from shards.errors import StoreError
from shards.events import Event, encode_row
from shards.reads.pages import pages
from shards.reads.pages.pages import EventPage, EventQuery, EventReads, FoundEvent, rank_of
from shards.reads.source import Pending
from shards.settings import ShardSettings
from shards.stores.base import Store
from tests.contract.rows import CLOCK, batch, event, receipt
from tests.contract.shardsets import running
from tests.statements import execute

KICKOFF_MS = 1_705_327_200_000
MINUTE = 60_000
MATCH = "m"
KINDS = ("pass", "goal", "cheer", "own_goal")

numbers = count(1)


@attrs.define
class Held:
    """Pending rows as a test needs them: a real shard set would not hold still."""

    events: list[Event] = attrs.field(factory=list)
    unread: int = 0

    def pending(self, match_ids: Collection[str]) -> Pending:
        rows = tuple(encode_row(row) for row in self.events if row.match_id in match_ids)
        return Pending(rows=rows, unread={match_id: self.unread for match_id in match_ids if self.unread})

    def is_erasing(self, match_id: str) -> bool:
        return False

    def pending_matches(self) -> frozenset[str]:
        return frozenset(row.match_id for row in self.events)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def reads(store: Store, held: Held) -> EventReads:
    return EventReads(store, held)


def at(milliseconds: int, event_type: str = "pass", **fields: Any) -> Event:
    fields = {"match_id": MATCH, "event_type": event_type, "timestamp": KICKOFF_MS + milliseconds} | fields
    return event(**fields)


def retraction(of: Event, milliseconds: int = 0, **fields: Any) -> Event:
    return at(milliseconds, "retraction", metadata=json.dumps({"eventId": f"{{{of.event_id.upper()}}}"}), **fields)


async def insert(store: Store, *events: Event) -> None:
    await store.insert_direct(batch(events, number=next(numbers)))


def standing(events: Iterable[Event]) -> dict[str, Event]:
    first: dict[str, Event] = {}
    for row in sorted(events, key=lambda row: row.order_ns):
        first.setdefault(row.event_id, row)
    return first


def expected(events: Iterable[Event], query: EventQuery) -> list[FoundEvent]:
    """Work out in Python what all pages together hold."""
    first = standing(events)
    withdrawn = {
        json.loads(e.metadata)["eventId"].lower().strip("{}") for e in first.values() if e.event_type == "retraction"
    }
    rows = [
        row
        for row in first.values()
        if (not query.types or row.event_type in query.types)
        and (not query.team_id or row.team_id == query.team_id)
        and (query.from_ms is None or query.from_ms <= row.timestamp)
        and (query.to_ms is None or row.timestamp < query.to_ms)
    ]
    return [FoundEvent(row, row.event_id in withdrawn) for row in sorted(rows, key=rank_of, reverse=True)]


async def page_of(reads: EventReads, query: EventQuery) -> EventPage:
    page = await reads.page(query)
    assert page is not None
    return page


async def all_pages(reads: EventReads, query: EventQuery) -> list[FoundEvent]:
    found: list[FoundEvent] = []
    while True:
        page = await page_of(reads, query)
        found += page.events
        if page.end is None:
            return found
        assert len(page.events) == query.limit
        query = attrs.evolve(query, after=page.end)


@pytest.mark.parametrize("place", ["stored", "first pending", "second pending"])
async def test_of_two_copies_the_first_in_the_order_stands_though_the_clock_was_set_back(
    store: Store, reads: EventReads, held: Held, place: str
) -> None:
    first = at(0, "goal")
    second = attrs.evolve(
        first, event_type="pass", received_ns=first.received_ns - 3_600 * 10**9, order_ns=first.order_ns + 1
    )
    withdrawal = retraction(first)
    another = attrs.evolve(
        withdrawal, metadata="{}", received_ns=withdrawal.received_ns - 3_600 * 10**9, order_ns=withdrawal.order_ns + 1
    )
    stored = [row for row, name in ((second, "second"), (first, "first")) if place != f"{name} pending"]
    await insert(store, *stored, another)
    await insert(store, withdrawal)
    held.events = [row for row in (first, second) if row not in stored]
    found = await all_pages(reads, EventQuery(match_id=MATCH, limit=1))
    assert [(one.event.event_type, one.event.received_ns, one.retracted) for one in found] == [
        ("retraction", withdrawal.received_ns, False),
        ("goal", first.received_ns, True),
    ]


async def test_of_a_match_never_seen_there_is_no_page(store: Store, reads: EventReads, held: Held) -> None:
    await insert(store, at(0, match_id="other"))
    assert await reads.page(EventQuery(match_id=MATCH, limit=100)) is None
    held.unread = 3
    assert await page_of(reads, EventQuery(match_id=MATCH, limit=100)) == EventPage(
        events=(), end=None, pending_events=3
    )


async def test_what_is_filtered_out_is_no_unknown_match(store: Store, reads: EventReads, held: Held) -> None:
    await insert(store, at(0, match_id="stored"))
    held.events = [at(0, match_id="pending")]
    for match_id in ("stored", "pending"):
        page = await page_of(reads, EventQuery(match_id=match_id, types=frozenset({"goal"}), limit=100))
        assert (page.events, page.end) == ((), None)


async def test_pages_in_a_row_are_the_whole_match(store: Store, reads: EventReads, held: Held) -> None:
    for where, stored, pending in (("stored", 45, 45), ("pending", 0, 0), ("both", 45, 0), ("either", 20, 15)):
        events = [at(n // 4 * 1_000, KINDS[n % 4], match_id=where, metadata=f'{{"n": {n}}}') for n in range(30)]
        # Another process may have received something in the same nanosecond.
        events += [attrs.evolve(row, event_id=str(uuid.uuid4())) for row in events[::2]]
        await insert(store, *events[:stored], at(0, match_id="bystander"))
        held.events = events[pending:]
        for limit in (7, 44, 45):
            query = EventQuery(match_id=where, limit=limit)
            assert await all_pages(reads, query) == expected(events, query), query


FILTERS: list[dict[str, Any]] = [
    {"types": frozenset({"goal", "own_goal"})},
    {"team_id": "1"},
    {"from_ms": KICKOFF_MS + 10 * MINUTE},
    {"to_ms": KICKOFF_MS + 10 * MINUTE},
    {"from_ms": KICKOFF_MS + 10 * MINUTE, "to_ms": KICKOFF_MS + 10 * MINUTE + 1},
    {
        "types": frozenset({"pass"}),
        "team_id": "2",
        "from_ms": KICKOFF_MS + MINUTE,
        "to_ms": KICKOFF_MS + 19 * MINUTE,
    },
    {"from_ms": -62_135_596_800_000, "to_ms": 253_402_300_799_000},
    {"from_ms": 253_402_300_799_000},
    {"to_ms": -62_135_596_800_000},
]


async def test_filters_ask_what_the_event_that_stands_says(store: Store, reads: EventReads, held: Held) -> None:
    chance = random.Random(11)
    events = [at(n * MINUTE // 2, chance.choice(KINDS), team_id=chance.choice(("", "1", "2"))) for n in range(40)]
    again = [
        attrs.evolve(row, event_type="goal", team_id="1", timestamp=row.timestamp + MINUTE, **receipt(CLOCK.order_ns()))
        for row in events[::2]
    ]
    await insert(store, *events[:30])
    await insert(store, *again[:10])
    held.events = events[25:] + again[10:]
    for wanted in FILTERS:
        query = EventQuery(match_id=MATCH, limit=4, **wanted)
        assert await all_pages(reads, query) == expected(events + again, query), wanted


async def test_events_sent_again_by_the_hundred_do_not_push_out_those_that_stand(
    store: Store, reads: EventReads, held: Held
) -> None:
    for where in ("stored", "pending"):
        events = [at(n, match_id=where) for n in range(120)]
        again = [attrs.evolve(e, timestamp=e.timestamp + MINUTE, **receipt(CLOCK.order_ns())) for e in events[:100]]
        await insert(store, *events)
        if where == "stored":
            await insert(store, *again)
            await insert(store, *events)
        else:
            held.events = again
        query = EventQuery(match_id=where, limit=10)
        assert await all_pages(reads, query) == expected(events, query)


async def test_a_retracted_event_is_shown_and_marked(store: Store, reads: EventReads, held: Held) -> None:
    for where in ("none", "target", "retraction", "target retraction"):
        goal, other = at(1, "goal", match_id=where), at(2, "goal", match_id=where)
        withdrawal = retraction(goal, 3, match_id=where)
        again = attrs.evolve(withdrawal, metadata=json.dumps({"eventId": other.event_id}), **receipt(CLOCK.order_ns()))
        held.events = [row for name, row in (("target", goal), ("retraction", withdrawal)) if name in where]
        await insert(store, other, *(row for row in (goal, withdrawal) if row not in held.events))
        await insert(store, again)
        await insert(store, retraction(other, match_id="another"))
        marks = [found.retracted for found in (await page_of(reads, EventQuery(match_id=where, limit=100))).events]
        assert marks == [False, False, True], where
        alone = await page_of(reads, EventQuery(match_id=where, types=frozenset({"goal"}), limit=100))
        assert [found.retracted for found in alone.events] == [False, True], where


async def test_a_retraction_of_nothing_marks_nothing(store: Store, reads: EventReads, held: Held) -> None:
    for metadata in ("{}", '{"eventId":7}', '{"eventId":null}', "[]", '{"eventId":"none"}'):
        await insert(store, at(1), at(2, "retraction", metadata=metadata))
        held.events.append(at(3, "retraction", metadata=metadata))
    page = await page_of(reads, EventQuery(match_id=MATCH, limit=100))
    assert [found.retracted for found in page.events] == [False] * 15


async def test_of_an_id_named_twice_both_sides_read_the_same(store: Store, reads: EventReads, held: Held) -> None:
    one, two = at(1), at(2)
    twice = at(3, "retraction", metadata=f'{{"eventId":"{one.event_id}","eventId":"{two.event_id}"}}')
    await insert(store, one, two)
    held.events = [twice]
    pending = await page_of(reads, EventQuery(match_id=MATCH, limit=100))
    held.events = []
    await insert(store, twice)
    assert await page_of(reads, EventQuery(match_id=MATCH, limit=100)) == pending
    assert sum(found.retracted for found in pending.events) == 1


async def test_fields_are_those_that_were_sent(store: Store, reads: EventReads, held: Held) -> None:
    text = '{"n": 1234567890123456789012345678901, "t":"$$ \' \\\\ $a$ 🏟️", "_unmapped":{"x" : [1.0e2]}}'
    rows = [at(n, "goal", team_id="'$$\\", player_id="7🏟️", metadata=text, match_id="m'$$\\🏟️") for n in range(2)]
    await insert(store, rows[0])
    held.events = [rows[1]]
    page = await page_of(reads, EventQuery(match_id="m'$$\\🏟️", team_id="'$$\\", types=frozenset({"goal"}), limit=100))
    assert [found.event for found in page.events] == [rows[1], rows[0]]


BREAKERS = ["' OR 1=1 --", "$$", "$tag$x$tag$", "\\", '"', "🏟️", "{database}", "%s", "'); DROP TABLE events; --"]


async def test_text_is_text_and_nothing_else(store: Store, reads: EventReads) -> None:
    rows = [at(n, match_id=text, team_id=text, event_type=text) for n, text in enumerate(BREAKERS)]
    await insert(store, *rows)
    for row in rows:
        text = row.match_id
        for types, found in ((frozenset(BREAKERS), [row]), (frozenset(BREAKERS) - {text}, [])):
            query = EventQuery(match_id=text, types=types, team_id=text, limit=1)
            assert [one.event for one in await all_pages(reads, query)] == found


async def test_a_page_ends_early_before_it_gets_too_large(
    store: Store, reads: EventReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_MAX_BYTES", 3_000)
    events = [at(n, metadata=json.dumps({"text": "x" * (900 if n else 5_000)})) for n in range(10)]
    await insert(store, *events)
    query, sizes = EventQuery(match_id=MATCH, limit=8), []
    found: list[FoundEvent] = []
    while True:
        page = await page_of(reads, query)
        found += page.events
        sizes.append(len(page.events))
        if page.end is None:
            break
        query = attrs.evolve(query, after=page.end)
    assert found == expected(events, query)
    assert sizes == [3, 3, 3, 1]


@pytest.mark.parametrize("seed", range(2))
async def test_pages_stay_right_while_everything_happens_between_them(
    store: Store, reads: EventReads, held: Held, seed: int
) -> None:
    chance = random.Random(seed)
    events: list[Event] = []

    def receive(many: int) -> None:
        for _ in range(many):
            kind = chance.random()
            if kind < 0.6 or not events:
                new = at(chance.randrange(20) * MINUTE, chance.choice(KINDS), team_id=chance.choice(("1", "2")))
            elif kind < 0.8:
                again = chance.choice(events)
                moved = again.timestamp + chance.choice((-MINUTE, 0, MINUTE))
                new = attrs.evolve(again, timestamp=moved, team_id="1", **receipt(CLOCK.order_ns()))
            else:
                new = retraction(chance.choice(events), chance.randrange(20) * MINUTE)
            if new.event_type == "retraction" and new.metadata == "{}":
                continue
            events.append(new)
            held.events.append(new)

    async def store_some() -> None:
        stored = chance.sample(held.events, len(held.events) // 2)
        for part in (stored, chance.sample(events, 5)):  # and a replay of what may be anywhere
            await insert(store, *part)
        if chance.random() < 0.7:
            held.events = [row for row in held.events if row not in stored]

    receive(150)
    for _ in range(3):
        await store_some()
    for limit in (5, 30):
        query = EventQuery(match_id=MATCH, limit=limit, team_id=chance.choice(("", "1")))
        before = {found.event.event_id: found.event for found in expected(events, query)}
        pages: list[FoundEvent] = []
        while True:
            page = await page_of(reads, query)
            now = {found.event.event_id: found for found in expected(events, query)}
            assert all(now[found.event.event_id] == found for found in page.events)
            pages += page.events
            if page.end is None:
                break
            assert len(page.events) == limit
            query = attrs.evolve(query, after=page.end)
            receive(chance.randrange(8))
            if chance.random() < 0.3:
                await store_some()
        seen = [found.event.event_id for found in pages]
        assert len(seen) == len(set(seen))
        assert before.keys() <= set(seen)
        assert [rank_of(found.event) for found in pages] == sorted((rank_of(f.event) for f in pages), reverse=True)


async def test_pages_go_on_where_they_ended_while_rows_are_stored_and_after_restarts(
    store: Store, settings: ShardSettings
) -> None:
    settings = attrs.evolve(settings, flush_interval_ms=5, checkpoint_interval_ms=60_000)
    sent = [at(n // 2 * 1_000) for n in range(60)]
    query, seen = EventQuery(match_id=MATCH, limit=10), list[Event]()
    for part in range(3):
        async with running(settings, store) as shards:
            if part == 0:
                await shards.append(sent)
            else:
                await shards.append([attrs.evolve(row, **receipt(CLOCK.order_ns())) for row in sent[::7]])
            for _ in range(2):
                page = await page_of(EventReads(store, shards), query)
                seen += [found.event for found in page.events]
                query = attrs.evolve(query, after=page.end)
                await shards.append([at(90_000)])
                if part == 1:
                    await shards.flush()
    assert query.after is None
    assert seen == sorted(sent, key=rank_of, reverse=True)


async def test_who_comes_when_too_many_wait_is_refused(store: Store, reads: EventReads) -> None:
    await insert(store, at(0))
    queries = [EventQuery(match_id=MATCH, limit=n + 1) for n in range(pages.WAITING_MAX + 5)]
    for _ in range(2):
        answers = await asyncio.gather(*map(reads.page, queries), return_exceptions=True)
        assert [isinstance(answer, StoreError) for answer in answers] == [False] * pages.WAITING_MAX + [True] * 5
    assert await page_of(reads, queries[0])


async def test_pages_are_read_one_at_a_time(store: Store, reads: EventReads, monkeypatch: pytest.MonkeyPatch) -> None:
    await insert(store, at(0))
    fetch, running_now, most = store.fetch, 0, 0

    async def counted(*statements: str) -> list[tuple[Any, ...]]:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        try:
            return await fetch(*statements)
        finally:
            running_now -= 1

    monkeypatch.setattr(store, "fetch", counted)
    await asyncio.gather(*(reads.page(EventQuery(match_id=MATCH, limit=1)) for _ in range(3)))
    assert most == 1


async def test_a_page_with_a_copy_of_every_other_event_takes_one_look_at_the_rows(
    store: Store, reads: EventReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(store, "SYSTEM STOP MERGES {db}.events")
    sent = [at(-n * MINUTE) for n in range(12)]
    await insert(store, *sent)
    await insert(store, *(attrs.evolve(row, **receipt(CLOCK.order_ns())) for row in sent[:5]))
    fetch, looks = store.fetch, list[str]()

    async def noted(*statements: str) -> list[tuple[Any, ...]]:
        looks.extend(text for text in statements if "ORDER BY timestamp DESC" in text)
        return await fetch(*statements)

    monkeypatch.setattr(store, "fetch", noted)
    page = await page_of(reads, EventQuery(match_id=MATCH, limit=8))
    assert [found.event for found in page.events] == sent[:8]
    assert len(looks) == 1
