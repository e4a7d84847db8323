"""Reads over both stores: every figure equals a plain count over distinct, not retracted events."""

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import attrs
import pytest

from shards.errors import StoreError
from shards.events import HIGHLIGHT_TYPES, Event
from shards.reads.aggregates import MatchAggregates
from shards.reads.counts import recent_since
from shards.reads.kinds import COURSE_TYPES, FEED_TYPES, PLAY_TYPES
from shards.reads.matches import MatchReads
from shards.settings import ShardSettings
from shards.shardset import ShardSet
from shards.stores.base import Store
from shards.stores.derived import WEIGHTS
from tests.contract.reads.counting import (
    MINUTE,
    SECONDS,
    Unconfirmed,
    count_of,
    event,
    insert,
    receipts,
    replacing,
    retraction,
)
from tests.contract.rows import receipt
from tests.contract.shardsets import DEADLINE_S, up
from tests.statements import execute


@pytest.fixture
def unconfirmed() -> Unconfirmed:
    return Unconfirmed()


class ByParts(MatchReads):
    """Reads every match as a large one."""

    def __init__(self, store: Store, unconfirmed: Unconfirmed) -> None:
        super().__init__(store, unconfirmed, large_events=1)

    async def _if_small(self, match_ids: Sequence[str], bucket_ms: int) -> None:
        return None

    async def _row_by_row(
        self, match_ids: Sequence[str], bucket_ms: int, *, max_rows: int = 0
    ) -> dict[str, MatchAggregates]:
        assert not await self._large.among(match_ids), "fell back to reading row by row"
        return await super()._row_by_row(match_ids, bucket_ms, max_rows=max_rows)


class EveryWay(MatchReads):
    """Reads each match row by row, as a large one, and as a crowded one: the answers must be equal."""

    def __init__(self, store: Store, unconfirmed: Unconfirmed) -> None:
        super().__init__(store, unconfirmed)
        self.by_parts = ByParts(store, unconfirmed)
        self.crowded = MatchReads(store, unconfirmed)

    async def aggregates(self, match_ids: Sequence[str], **options: Any) -> dict[str, MatchAggregates]:
        by_parts = await self.by_parts.aggregates(match_ids, **options)
        by_rows = await super().aggregates(match_ids, **options)
        assert by_rows.keys() == by_parts.keys()
        crowded = await self.crowded._crowded_ones(list(dict.fromkeys(match_ids)), options.get("bucket_ms", MINUTE))
        assert by_rows.keys() == crowded.keys()
        assert all(answer == crowded[match_id] for match_id, answer in by_rows.items() if answer.total)
        assert [answer for answer in by_rows.values() if answer.total] == [
            answer for answer in by_parts.values() if answer.total
        ]
        return by_rows


async def test_a_match_that_nothing_is_known_of_is_counted_whatever_its_size(
    store: Store, unconfirmed: Unconfirmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [event("goal", n * SECONDS, team="1") for n in range(30)]
    await insert(store, *rows)
    for limit in (10, 1_000_000):
        monkeypatch.setattr("shards.reads.matches.SMALL_MAX_ROWS", limit)
        for large_events in (1, 1_000):
            reads = MatchReads(store, unconfirmed, large_events=large_events)
            for _ in range(2):
                assert_plain_count(await count_of(reads), rows)
            assert await reads.aggregates(["unknown"]) == {}


@pytest.fixture
def reads(store: Store, unconfirmed: Unconfirmed) -> MatchReads:
    return EveryWay(store, unconfirmed)


def types(aggregates: MatchAggregates) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for event_type, _, n in aggregates.by_type_team:
        counts[event_type] += n
    return dict(counts)


def withdrawn_by(row: Event) -> str:
    metadata = json.loads(row.metadata)
    return str(metadata.get("eventId" if row.event_type == "retraction" else "replaces", "")).lower()


def assert_moments(aggregates: MatchAggregates, kept: Sequence[Event], received: Iterable[Event]) -> None:
    feed = [row for row in kept if row.event_type in FEED_TYPES]
    play = [row.timestamp for row in feed if row.event_type in PLAY_TYPES]
    heard = [row.received_ns // 1_000_000 for row in received if row.event_type in FEED_TYPES]
    assert (aggregates.feed_last_ms, aggregates.feed_received_ms) == (
        max((row.timestamp for row in feed), default=0),
        max(heard, default=0),
    )
    assert (aggregates.play_first_ms, aggregates.play_last_ms) == (min(play, default=0), max(play, default=0))
    assert dict(aggregates.feed_by_minute) == Counter(row.timestamp // MINUTE * MINUTE for row in feed)
    course = sorted(
        (row for row in kept if row.event_type in COURSE_TYPES), key=lambda row: (row.timestamp, row.order_ns)
    )
    assert [(shown.timestamp, shown.event_type) for shown in aggregates.course] == [
        (row.timestamp, row.event_type) for row in course
    ]
    weights: Counter[tuple[int, str]] = Counter()
    for row in kept:
        if weight := WEIGHTS.get(row.event_type, 0):
            x = float(json.loads(row.metadata).get("x", 50))
            weights[row.timestamp // MINUTE * MINUTE, row.team_id] += int(weight * (50 + x / 2) / 100)
    assert {(start, team): weight for start, team, weight in aggregates.momentum} == weights


def assert_plain_count(aggregates: MatchAggregates, events: Iterable[Event]) -> None:
    """Count again, in Python: the first receipt of each id, without those that a counting retraction names."""
    first: dict[str, Event] = {}
    for row in sorted(events, key=lambda row: row.order_ns):
        first.setdefault(row.event_id, row)
    withdrawn = {named for row in first.values() if (named := withdrawn_by(row))}
    kept = [row for row in first.values() if row.event_id not in withdrawn]
    assert aggregates.total == len(kept)
    expected = Counter((row.event_type, row.team_id) for row in kept)
    assert {(kind, team): n for kind, team, n in aggregates.by_type_team} == expected
    assert dict(aggregates.by_minute) == Counter(row.timestamp // MINUTE * MINUTE for row in kept)
    assert (aggregates.first_ms, aggregates.last_ms) == (
        min(row.timestamp for row in kept),
        max(row.timestamp for row in kept),
    )
    assert aggregates.last_received_ms == max(row.received_ns for row in first.values()) // 1_000_000
    assert_moments(aggregates, kept, first.values())
    newest = sorted(
        (row for row in first.values() if row.event_type in HIGHLIGHT_TYPES), key=lambda row: -row.timestamp
    )
    shown = [row.timestamp for row in newest if row.event_type != "retraction"][:100]
    shown += [row.timestamp for row in newest if row.event_type == "retraction"][:100]
    assert [highlight.timestamp for highlight in aggregates.highlights] == sorted(shown, reverse=True)
    assert {shown.event_id: shown.retracted for shown in aggregates.highlights}.items() <= {
        row.event_id: row.event_id in withdrawn for row in newest
    }.items()


async def test_knows_nothing_of_a_match_that_was_never_seen(reads: MatchReads) -> None:
    assert await reads.aggregates(["nobody"]) == {}
    assert await reads.aggregates([]) == {}
    assert await reads.recent_matches(limit=10) == []


async def test_stored_pending_and_both_count_alike(store: Store, reads: MatchReads, unconfirmed: Unconfirmed) -> None:
    events = [event("pass", n * 7 * SECONDS, team=str(n % 3)) for n in range(60)]
    unconfirmed.hold(*events)
    only_pending = await count_of(reads)
    await insert(store, *events)
    both = await count_of(reads)
    unconfirmed.rows = ()
    only_stored = await count_of(reads)
    assert only_pending == both == only_stored
    assert_plain_count(only_stored, events)


@pytest.mark.parametrize("first", ["stored", "pending"])
async def test_the_first_one_received_stands(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed, first: str
) -> None:
    early = event("goal", 0, team="1")
    late = event("pass", 5 * MINUTE, team="2", event_id=early.event_id)
    stored, held = (early, late) if first == "stored" else (late, early)
    await insert(store, stored)
    unconfirmed.hold(held)
    assert_plain_count(await count_of(reads), [early, late])
    assert types(await count_of(reads)) == {"goal": 1}


async def test_duplicates_among_the_pending_and_among_the_stored_count_once(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed
) -> None:
    events = [event("shot", n * SECONDS, team="1") for n in range(20)]
    again = [attrs.evolve(row, event_type="save", **receipt(next(receipts))) for row in events]
    for half in (events[:10], again[:10], events[:10]):
        await insert(store, *half)
    unconfirmed.hold(*again[10:], *events[10:], *events[10:])
    assert_plain_count(await count_of(reads), events + again)


@pytest.mark.parametrize("step_ms", [60 * MINUTE, -60 * MINUTE])
@pytest.mark.parametrize("place", ["stored", "first pending", "second pending"])
async def test_of_two_copies_the_first_stands_whatever_the_clock_showed_and_is_dated_by_it(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed, place: str, step_ms: int
) -> None:
    first = event("goal", team="1")
    second = attrs.evolve(
        first,
        event_type="pass",
        received_ns=first.received_ns + step_ms * 1_000_000,
        order_ns=first.order_ns + 1,
    )
    for row, name in ((second, "second"), (first, "first")):
        if place == f"{name} pending":
            unconfirmed.hold(row)
        else:
            await insert(store, row)
    counted = await count_of(reads)
    assert_plain_count(counted, [first, second])
    [shown] = counted.highlights
    assert shown.received_ms == counted.last_received_ms == first.received_ns // 1_000_000
    assert shown.order_ms == first.order_ns // 1_000_000
    newest = max(first.received_ns, second.received_ns) // 1_000_000
    assert await reads.recent_matches(limit=2) == [("m", newest)], "any receipt moves a match up in the list"


async def test_highlights_of_one_moment_are_in_the_order_of_receipt_though_the_clock_was_set_back(
    store: Store, reads: MatchReads
) -> None:
    first = event("goal", team="1")
    later = [
        event("goal", team="2", received_ns=first.received_ns - n * 10**9, order_ns=first.order_ns + n)
        for n in range(1, 4)
    ]
    await insert(store, later[1], first, later[2], later[0])
    shown = [highlight.event_id for highlight in (await count_of(reads)).highlights]
    assert shown == [row.event_id for row in (*reversed(later), first)]


@pytest.mark.parametrize("order", ["target first", "retraction first", "target pending", "retraction pending"])
@pytest.mark.parametrize("spelling", [str, str.upper])
async def test_a_retracted_event_counts_nowhere_whichever_came_first(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed, order: str, spelling: type[str]
) -> None:
    goal, other = event("goal", MINUTE, team="1"), event("goal", 2 * MINUTE, team="2")
    withdrawal = retraction(spelling(goal.event_id), 3 * MINUTE)
    if order == "retraction first":
        goal = attrs.evolve(goal, **receipt(next(receipts)))
    for name, row in (("target", goal), ("retraction", withdrawal)):
        if order == f"{name} pending":
            unconfirmed.hold(row)
        else:
            await insert(store, row)
    await insert(store, other)
    counted = await count_of(reads)
    assert_plain_count(counted, [goal, other, withdrawal])
    assert types(counted) == {"goal": 1, "retraction": 1}
    assert [shown.retracted for shown in counted.highlights] == [False, False, True]


async def test_a_retraction_names_events_of_its_own_match_only(store: Store, reads: MatchReads) -> None:
    goal = event("goal", team="1")
    await insert(store, goal, retraction(goal.event_id, match="another"))
    assert types(await count_of(reads)) == {"goal": 1}
    assert types((await reads.aggregates(["another", "m"]))["m"]) == {"goal": 1}


async def test_a_retraction_that_came_second_under_its_id_withdraws_nothing(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed
) -> None:
    goal, note = event("goal", team="1"), event("comment")
    late = retraction(goal.event_id, event_id=note.event_id)
    await insert(store, goal, late)
    unconfirmed.hold(note)
    assert types(await count_of(reads)) == {"goal": 1, "comment": 1}


async def test_of_a_name_given_twice_the_first_counts_wherever_the_retraction_is(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed
) -> None:
    goal, shot = event("goal", team="1"), event("shot", team="1")
    twice = event("retraction", metadata=f'{{"eventId":"{goal.event_id}","eventId":"{shot.event_id}"}}')
    await insert(store, goal, shot)
    unconfirmed.hold(twice)
    assert types(await count_of(reads)) == {"retraction": 1, "shot": 1}
    await insert(store, twice)
    unconfirmed.rows = ()
    assert types(await count_of(reads)) == {"retraction": 1, "shot": 1}


@pytest.mark.parametrize("metadata", ["{}", '{"eventId":7}', '{"eventId":"none"}', '{"eventId":null}', "[]"])
async def test_a_retraction_of_nothing_is_an_event_like_others(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed, metadata: str
) -> None:
    await insert(store, event("goal", team="1"), event("retraction", metadata=metadata))
    unconfirmed.hold(event("retraction", metadata=metadata))
    assert types(await count_of(reads)) == {"goal": 1, "retraction": 2}


async def test_start_and_end_are_those_that_were_not_retracted(store: Store, reads: MatchReads) -> None:
    wrong = event("match_start", 0, metadata='{"home":"A"}')
    right = event("match_start", 1, metadata='{"home":"B"}')
    later = event("match_start", MINUTE, metadata='{"home":"C"}')
    end = event("match_end", 2 * MINUTE)
    await insert(store, later, right, end, wrong)
    counted = await count_of(reads)
    assert counted.start_metadata == '{"home":"A"}'
    assert [shown.event_type for shown in counted.course] == ["match_start"] * 3 + ["match_end"]
    await insert(store, retraction(wrong.event_id), retraction(end.event_id))
    counted = await count_of(reads)
    assert counted.start_metadata == '{"home":"B"}'
    assert [shown.event_id for shown in counted.course] == [right.event_id, later.event_id]


async def test_the_sides_are_those_of_the_earliest_start_that_names_them(store: Store, reads: MatchReads) -> None:
    """Nobody can tell them from the first one, and the last one came when they were known."""
    named = [json.dumps({"home": home, "away": away}) for home, away in (("A", "B"), ("C", "D"))]
    starts = ["{}", '{"home":{"id":1.0},"away":"B"}', *named]
    await insert(store, *(event("match_start", n, metadata=metadata) for n, metadata in enumerate(starts)))
    assert (await count_of(reads)).start_metadata == named[0]


async def test_the_last_minute_has_six_buckets_and_the_running_one_is_the_newest(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed
) -> None:
    began = recent_since(time.time_ns() // 1_000_000)
    goal = event("goal", team="1", timestamp=began + 1_000)
    dates = (began - 1, began, began + 30_000, began + 65_000)
    await insert(store, *(event("cheer", timestamp=date) for date in dates), goal)
    unconfirmed.hold(event("share", timestamp=began + 20_000), retraction(goal.event_id))
    found = dict((await count_of(reads)).recent)
    if recent_since(time.time_ns() // 1_000_000) == began:
        assert found == {"cheer": 2, "share": 1}


async def test_a_corrected_event_takes_the_place_of_the_one_that_it_names(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed
) -> None:
    """Each link of a chain is withdrawn; of several that name one event all stand; a fan's word may be one too."""
    goal = event("goal", MINUTE, team="1", metadata='{"player":"A","x":95}')
    first = replacing(goal, "goal", MINUTE, team="1")
    second = replacing(first, "own_goal", MINUTE, team="2")
    passed, word = event("pass", 2 * MINUTE, team="2"), event("comment", 3 * MINUTE)
    corrected = [replacing(passed, "pass", 2 * MINUTE, team="1") for _ in range(2)]
    events = [goal, first, second, passed, word, *corrected, replacing(word, "comment", 3 * MINUTE), *PLAYED]
    await insert(store, *events)
    counted = await count_of(reads)
    assert_plain_count(counted, events)
    assert types(counted) == {"own_goal": 1, "pass": 4, "comment": 1}
    assert {shown.event_type: shown.retracted for shown in counted.highlights} == {"goal": True, "own_goal": False}
    again = replacing(corrected[0], "shot", 2 * MINUTE, team="1", metadata_too={"x": 90})
    unconfirmed.hold(again, *events[:4])
    assert_plain_count(await count_of(reads), [*events, again])
    await insert(store, again)
    assert_plain_count(await count_of(reads), [*events, again])


@pytest.mark.parametrize(
    "match_id",
    [
        "' OR 1=1 --",
        "$$",
        "$tag$x$tag$",
        "\\",
        '"',
        "مباراة 🏟️",
        "a{matches}b",
        "%s",
        "m'); DROP TABLE events; --",
        "x" * 128,
    ],
)
async def test_a_match_id_is_text_and_nothing_else(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed, match_id: str
) -> None:
    text = '{"player":"$$ \' \\\\ $a$ 🏟️"}'
    goal = event("goal", match=match_id, team="'$$\\", metadata=text)
    await insert(store, goal, event("view", match="bystander"))
    unconfirmed.hold(event("view", match=match_id), retraction(str(uuid.uuid4()), match=match_id))
    found = await reads.aggregates([match_id])
    assert found.keys() == {match_id}
    assert found[match_id].total == 3
    assert ("goal", "'$$\\", 1) in found[match_id].by_type_team
    assert text in [shown.metadata for shown in found[match_id].highlights]
    listed = await reads.recent_matches(limit=10)
    assert {listed_id for listed_id, _ in listed} == {match_id, "bystander"}
    (newest, received_ms), *older = listed
    assert await reads.recent_matches(limit=10, before=(received_ms, newest)) == older


async def test_highlights_are_the_newest_hundred(store: Store, reads: MatchReads) -> None:
    events = [event("yellow_card", n * SECONDS, team="1", player_id=str(n)) for n in range(130)]
    await insert(store, *random.Random(7).sample(events, len(events)))
    counted = await count_of(reads)
    assert [shown.player_id for shown in counted.highlights] == [str(n) for n in range(129, 29, -1)]
    assert_plain_count(counted, events)


async def test_retractions_push_no_highlight_out(store: Store, reads: MatchReads) -> None:
    comments = [event("comment", n * SECONDS) for n in range(120)]
    goal, *withdrawals = event("goal", team="1"), *(retraction(row.event_id, 3 * MINUTE) for row in comments)
    await insert(store, goal, *comments, *withdrawals)
    counted = await count_of(reads)
    assert [shown.event_type for shown in counted.highlights] == ["retraction"] * 100 + ["goal"]
    assert_plain_count(counted, [goal, *comments, *withdrawals])


async def test_random_traffic_counts_as_a_plain_count_does(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed
) -> None:
    chance = random.Random(20260722)
    kinds = ("pass", "goal", "own_goal", "cheer", "view", "yellow_card", "match_start", "half_end", "shootout_goal")
    events = [
        event(chance.choice(kinds), chance.randrange(30 * MINUTE), team=chance.choice(("", "1", "2")))
        for _ in range(300)
    ]
    events += [retraction(chance.choice(events).event_id, chance.randrange(30 * MINUTE)) for _ in range(30)]
    events += [
        replacing(chance.choice(events), chance.choice(kinds), chance.randrange(30 * MINUTE), team="1")
        for _ in range(30)
    ]
    events += [
        attrs.evolve(row, event_type=chance.choice(kinds), **receipt(row.order_ns + chance.choice((-500, 500))))
        for row in chance.sample(events[:300], 100)
    ]
    chance.shuffle(events)
    for start in range(0, 440, 88):
        await insert(store, *events[start : start + 88])
    unconfirmed.hold(*events[250:])
    assert_plain_count(await count_of(reads), events)


async def test_matches_with_rows_on_disk_only_come_in_pages_too(reads: MatchReads, unconfirmed: Unconfirmed) -> None:
    unconfirmed.unread = {f"m{number}": 1 for number in range(25)}
    unconfirmed.unread_at = dict.fromkeys(unconfirmed.unread, time.time_ns() // 1_000_000)
    listed: list[tuple[str, int]] = []
    while page := await reads.recent_matches(limit=10, before=(listed[-1][1], listed[-1][0]) if listed else None):
        listed += page
    assert sorted(match for match, _ in listed) == sorted(unconfirmed.unread)


async def test_of_two_starts_at_a_time_the_first_one_received_stands(store: Store, reads: MatchReads) -> None:
    """They came in one request, within a millisecond."""
    at_ns = next(receipts)
    for number, names in enumerate((("Zenit", "Ajax"), ("Ajax", "Zenit"))):
        starts = [
            event("match_start", match=f"m{number}", **receipt(at_ns + later), metadata=json.dumps({"home": name}))
            for later, name in enumerate(names)
        ]
        await insert(store, *starts, event("pass", SECONDS, match=f"m{number}"))
        answer = await count_of(reads, f"m{number}")
        assert json.loads(answer.start_metadata) == {"home": names[0]}


def many(event_type: str, how_many: int) -> list[Event]:
    return [event(event_type, n * SECONDS, team="1") for n in range(1, how_many + 1)]


def withdrawing(*withdrawn: Event, at: int = MINUTE) -> list[Event]:
    return [*withdrawn, *(retraction(one.event_id, at) for one in withdrawn)]


def replaced(one: Event) -> list[Event]:
    return [one, replacing(one, one.event_type, 2 * MINUTE, team=one.team_id)]


PLAYED = [event("pass", 0), event("pass", 95 * MINUTE, team="1")]
WITHDRAWN: dict[str, tuple[list[Event], int]] = {
    "a goal": ([*PLAYED, *withdrawing(event("goal", MINUTE, team="1"))], 1),
    "two of three cards": (
        [*PLAYED, *withdrawing(*many("yellow_card", 2), at=2 * MINUTE), event("yellow_card", MINUTE, team="1")],
        1,
    ),
    "a retraction": ([*PLAYED, *withdrawing(retraction(str(uuid.UUID(int=1)), MINUTE))], 2),
    "a pass": ([*PLAYED, *withdrawing(event("pass", MINUTE))], 2),
    "what is not there": ([*PLAYED, retraction(str(uuid.UUID(int=2)), MINUTE)], 2),
    "the first event of all": ([*PLAYED, *withdrawing(event("goal", -1))], 2),
    "the last event of all": ([*PLAYED, *withdrawing(event("goal", 96 * MINUTE))], 2),
    "the start": ([*PLAYED, *withdrawing(event("match_start", 1, metadata='{"home":"A","away":"B"}'))], 1),
    "one whose place another took": ([*PLAYED, *replaced(event("goal", MINUTE, team="1"))], 1),
    "a pass whose place another took": ([*PLAYED, *replaced(event("pass", MINUTE, team="1"))], 2),
    "the end": ([*PLAYED, *withdrawing(event("match_end", 90 * MINUTE))], 1),
    "one of many goals": ([*PLAYED, *many("goal", 120), *withdrawing(event("goal", 2, team="1"))], 2),
    "101 goals": ([*PLAYED, *withdrawing(*many("goal", 101), at=5 * MINUTE)], 3),
}


@pytest.mark.parametrize("name", WITHDRAWN)
async def test_what_is_withdrawn_counts_nowhere_whichever_way_it_is_counted(
    store: Store, unconfirmed: Unconfirmed, reads: MatchReads, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly all of it is taken out of the answer of the first statement."""
    events, most_statements = WITHDRAWN[name]
    await insert(store, *events)
    assert_plain_count(await count_of(reads), events)
    plain, fetch, asked = MatchReads(store, unconfirmed), store.fetch, 0

    async def counting(*statements: str) -> list[tuple[Any, ...]]:
        nonlocal asked
        asked += 1
        return await fetch(*statements)

    monkeypatch.setattr(store, "fetch", counting)
    assert_plain_count(await count_of(plain), events)
    assert asked == most_statements
    assert_plain_count(await count_of(plain), events)
    assert asked == most_statements + 1, "it is known from then on"
    monkeypatch.undo()
    later = withdrawing(event("goal", 2 * MINUTE, team="1"))
    unconfirmed.hold(*later, *events[:2])
    assert_plain_count(await count_of(reads), [*events, *later])


async def test_several_matches_are_counted_apart(store: Store, reads: MatchReads, unconfirmed: Unconfirmed) -> None:
    shared = str(uuid.uuid4())
    one = [event("goal", match="one", team="1", event_id=shared), event("pass", match="one")]
    two = [event("pass", match="two", event_id=shared), retraction(one[1].event_id, match="two")]
    await insert(store, *one)
    unconfirmed.hold(*two)
    found = await reads.aggregates(["one", "two", "three", "one"])
    assert found.keys() == {"one", "two"}
    assert_plain_count(found["one"], one)
    assert_plain_count(found["two"], two)


async def test_a_match_is_whole_beside_one_that_is_counted_another_way(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed
) -> None:
    """Of those that are asked for together, each is in the answer of its own statement; what is pending is in both."""
    whole = [event("pass", n * SECONDS, match="whole", team="1") for n in range(20)]
    intricate = [event("pass", n * SECONDS, match="intricate") for n in range(5)]
    intricate.append(retraction(intricate[2].event_id, match="intricate"))
    await insert(store, *whole[:15], *intricate[:4], intricate[5])
    unconfirmed.hold(*whole[15:], intricate[4])
    for _ in range(2):  # by then it is known which one has to be counted the other way
        found = await reads.aggregates(["whole", "intricate"])
        assert_plain_count(found["whole"], whole)
        assert_plain_count(found["intricate"], intricate)


async def counted_in(
    store: Store, monkeypatch: pytest.MonkeyPatch, reads: MatchReads
) -> tuple[MatchAggregates, int, int]:
    """Return what is counted, in how many statements, and how long their answers are together."""
    fetch, lengths = store.fetch, list[int]()

    async def measuring(*statements: str) -> list[tuple[Any, ...]]:
        rows = await fetch(*statements)
        lengths.append(len(repr(rows)))
        return rows

    with monkeypatch.context() as patched:
        patched.setattr(store, "fetch", measuring)
        return await count_of(reads), len(lengths), sum(lengths)


async def test_the_buckets_of_many_events_are_not_told_one_by_one(
    store: Store, unconfirmed: Unconfirmed, reads: MatchReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shards.reads.matches.LISTED_EVENTS", 100)
    events = [event("pass", n * SECONDS // 10, team=str(n % 2)) for n in range(3_000)]
    await insert(store, *events)
    assert_plain_count(await count_of(reads), events)
    plain = MatchReads(store, unconfirmed)
    first, statements, length = await counted_in(store, monkeypatch, plain)
    assert (statements, length < 4_000) == (2, True)
    again, statements, length = await counted_in(store, monkeypatch, plain)
    assert (statements, length < 1_500) == (1, True)
    assert first == again


@pytest.mark.parametrize("way", [MatchReads, ByParts])
async def test_the_texts_of_retractions_stay_where_they_are(
    store: Store, unconfirmed: Unconfirmed, way: type[MatchReads], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = [event("pass", n * SECONDS) for n in range(500)]
    withdrawals = [
        event("retraction", n, metadata=json.dumps({"why": "x" * 4_000, "eventId": passes[n].event_id}))
        for n in range(499)
    ]
    await insert(store, *passes, *withdrawals)
    reads = way(store, unconfirmed)
    assert_plain_count(await count_of(reads), [*passes, *withdrawals])
    _, statements, length = await counted_in(store, monkeypatch, reads)
    assert (statements, length < 800_000) == (1, True), length  # those of the newest hundred are in the feed


async def test_says_how_many_are_on_disk_only(store: Store, reads: MatchReads, unconfirmed: Unconfirmed) -> None:
    await insert(store, event(match="known"))
    unconfirmed.unread = {"known": 7, "new": 3}
    found = await reads.aggregates(["known", "new", "unknown"])
    assert {match: (of.total, of.pending_events) for match, of in found.items()} == {"known": (1, 7), "new": (0, 3)}
    assert [match for match, _ in await reads.recent_matches(limit=5)] == ["new", "known"]
    unconfirmed.hold(event(match="old"), event(match="known"))
    unconfirmed.unread, unconfirmed.unread_at = {"known": 7}, {"known": time.time_ns() // 1_000_000}
    first, _ = await reads.recent_matches(limit=2)
    assert first[0] == "known", "what is on disk only is newer than what is in memory"


async def test_recent_matches_come_in_pages_and_pending_ones_rise(
    store: Store, reads: MatchReads, unconfirmed: Unconfirmed
) -> None:
    for number in range(7):
        await insert(store, event(match=f"m{number}"), event(match=f"m{number}"))
    listed: list[tuple[str, int]] = []
    while page := await reads.recent_matches(limit=3, before=(listed[-1][1], listed[-1][0]) if listed else None):
        listed += page
    assert [match for match, _ in listed] == [f"m{number}" for number in range(6, -1, -1)]
    newest = event(match="m2")
    unconfirmed.hold(newest)
    assert (await reads.recent_matches(limit=1)) == [("m2", newest.received_ns // 1_000_000)]


async def test_no_answer_shows_less_than_was_acknowledged_while_buffers_flush_all_the_time(
    store: Store, settings: ShardSettings
) -> None:
    acknowledged, done = 0, False

    async def write(shards: ShardSet) -> None:
        nonlocal acknowledged, done
        for _ in range(150):
            await shards.append([attrs.evolve(event("cheer"), **receipt(shards.clock.order_ns())) for _ in range(20)])
            acknowledged += 20
            await asyncio.sleep(0.005)
        done = True

    async def flush() -> None:
        while not done:
            for shard in range(2):
                await store.flush_buffer(shard)

    async def read(shards: ShardSet, reads: MatchReads) -> int:
        shown, answers = 0, 0
        while not done:
            expected = max(acknowledged, shown)
            try:
                counted = (await reads.aggregates(["m"])).get("m")
            except StoreError:
                assert not shards.snapshot().store.up
                continue
            total = counted.total if counted else 0
            assert total >= expected, f"showed {total} where {expected} was due"
            assert counted is None or counted.pending_events == 0
            shown, answers = total, answers + 1
        return answers

    async with up(attrs.evolve(settings, flush_interval_ms=5, checkpoint_interval_ms=50), store) as shards:
        reads = MatchReads(store, shards)
        _, _, answers = await asyncio.gather(write(shards), flush(), read(shards, reads))
        assert answers > 2  # how many more there are is up to the machine
        assert (await count_of(reads)).total == acknowledged == 3000
        await shards.flush()
        assert (await count_of(reads)).total == acknowledged


async def test_in_a_catch_up_what_is_shown_and_what_is_pending_are_all_that_was_acknowledged(
    store: Store, settings: ShardSettings
) -> None:
    settings = attrs.evolve(settings, shard_count=1, flush_max_rows=50, memory_max_rows=200)
    acknowledged, shown, catching_up = 0, 0, 0
    async with up(settings, store) as shards, asyncio.timeout(DEADLINE_S):
        reads = MatchReads(store, shards)
        shards.pause(0)  # as in an outage: what comes in now is more than memory takes
        for _ in range(24):
            await shards.append([attrs.evolve(event("cheer"), **receipt(shards.clock.order_ns())) for _ in range(50)])
            acknowledged += 50
        before = await count_of(reads)
        assert (before.total, before.pending_events) == (200, 1000)
        shards.resume(0)
        while shown < acknowledged:
            counted = await count_of(reads)
            assert shown <= counted.total <= acknowledged <= counted.total + counted.pending_events
            shown, catching_up = counted.total, catching_up + (counted.pending_events > 0)
        assert catching_up
        await shards.flush()
        after = await count_of(reads)
        assert (after.total, after.pending_events) == (acknowledged, 0)


@pytest.mark.parametrize("way", [MatchReads, ByParts, EveryWay])
async def test_text_of_others_does_not_keep_a_match_from_being_counted(store: Store, way: type[MatchReads]) -> None:
    """The service stores no such thing; what others write into the public table may be anything."""
    await execute(
        store,
        "INSERT INTO {db}.events "
        "(match_id, event_id, event_type, timestamp, team_id, metadata, received_at, version) "
        "SELECT 'm', generateUUIDv4(kind), kind, fromUnixTimestamp64Milli(1700000000000), "
        "unhex('41ff00'), unhex('7b22ff227d'), now64(3), 1 FROM (SELECT arrayJoin(['goal', 'match_start']) AS kind)",
    )
    answer = (await way(store, Unconfirmed()).aggregates(["m"]))["m"]
    assert answer.total == 2
    assert {highlight.metadata for highlight in answer.highlights} == {'{"\ufffd"}'}
    assert {team for _, team, _ in answer.by_type_team} == {"A\ufffd\0"}
    assert answer.start_metadata == '{"\ufffd"}'


async def test_what_is_pending_is_taken_once_for_an_answer(
    store: Store, unconfirmed: Unconfirmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert(store, event())
    pending, taken = Unconfirmed.pending, list[list[str]]()

    def noted(held: Unconfirmed, match_ids: Collection[str]) -> Unconfirmed:
        taken.append(list(match_ids))
        return pending(held, match_ids)

    monkeypatch.setattr(Unconfirmed, "pending", noted)
    assert (await count_of(MatchReads(store, unconfirmed))).total == 1
    assert taken == [["m"]]
