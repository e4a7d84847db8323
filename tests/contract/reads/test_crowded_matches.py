"""Matches of very many teams, highlights and texts, over both stores: the counts are exact, and the answers bounded."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import pytest

from shards.events import HIGHLIGHT_TYPES, Event
from shards.reads.aggregates import MatchAggregates
from shards.reads.crowded import matches as crowded_matches
from shards.reads.crowded.matches import CrowdedMatches
from shards.reads.matches import MatchReads
from shards.reads.teams import OTHERS, TEAMS
from shards.stores.base import Store
from tests.contract.reads.counting import MINUTE, Unconfirmed, count_of, event, insert, retraction

SIDES = json.dumps({"home": {"id": "home", "name": "H"}, "away": {"id": "away", "name": "A"}})
MANY = 1_200
LONG = json.dumps({"player": "Scorer", "minute": 12, "padding": "x" * 16_000})


@pytest.fixture
def unconfirmed() -> Unconfirmed:
    return Unconfirmed()


@attrs.define
class Fetched:
    """Bytes of text that a store answered with, by fetch."""

    sizes: list[int] = attrs.Factory(list)

    def note(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> "Fetched":
        fetch = store.fetch

        async def noted(*statements: str) -> list[tuple[Any, ...]]:
            rows = await fetch(*statements)
            self.sizes.append(sum(len(str(row)) for row in rows))
            return rows

        monkeypatch.setattr(store, "fetch", noted)
        return self


def expected_teams(events: Iterable[Event], withdrawn: Sequence[str] = ()) -> tuple[dict[str, int], int, int]:
    """The teams of an answer, and how many others there are with how many events: counted again, in Python."""
    counts = Counter(row.team_id for row in events if row.team_id and row.event_id not in withdrawn)
    sides = [side for side in ("home", "away") if side in counts]
    ranked = sorted(counts.keys() - set(sides), key=lambda team: (-counts[team], team))
    kept = [*sides, *ranked][:TEAMS]
    others = counts.keys() - set(kept)
    return {team: counts[team] for team in kept}, len(others), sum(counts[team] for team in others)


def teams_of(counted: MatchAggregates) -> tuple[dict[str, int], int, int]:
    counts: Counter[str] = Counter()
    for _, team_id, n in counted.by_type_team:
        counts[team_id] += n
    others = counts.pop(OTHERS, 0)
    counts.pop("", None)
    return dict(counts), counted.other_teams, others


def crowd() -> list[Event]:
    """1,200 teams of which some have more events, and two sides that have one each."""
    start = event("match_start", 0, metadata=SIDES)
    own = [event("shot", MINUTE, team=side) for side in ("home", "away")]
    many = [event("pass", n % 7 * MINUTE, team=f"t{n}") for n in range(MANY)]
    more = [event("pass", n % 5 * MINUTE, team=f"t{n * 7}") for n in range(60) for _ in range(2)]
    return [start, *own, *many, *more]


@pytest.mark.parametrize("held", [False, True], ids=["stored", "pending"])
async def test_the_sides_and_the_largest_teams_stay_and_all_others_are_added_up(
    store: Store, unconfirmed: Unconfirmed, held: bool
) -> None:
    events = crowd()
    withdrawn = retraction(events[3].event_id)
    if held:
        unconfirmed.hold(*events, withdrawn)
    else:
        await insert(store, *events, withdrawn)
    reads = MatchReads(store, unconfirmed)
    for _ in range(2):
        counted = await count_of(reads)
        assert teams_of(counted) == expected_teams(events, [events[3].event_id])
        assert {"home", "away"} <= teams_of(counted)[0].keys()
        assert counted.total == len(events)
        assert sum(n for _, _, n in counted.curve) == sum(n for _, n in counted.by_minute) == counted.total
        assert len({team for _, team, _ in counted.curve} - {"", OTHERS}) <= TEAMS


async def test_a_crowd_that_is_told_row_by_row_is_told_alike(
    store: Store, unconfirmed: Unconfirmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [*crowd(), *(event("goal", n * 1_000, team=f"t{n}") for n in range(130))]
    await insert(store, *events)
    crowded = await count_of(MatchReads(store, unconfirmed))
    monkeypatch.setattr("shards.reads.statements.GROUPS_MAX", 1_000_000)
    monkeypatch.setattr("shards.reads.matches.MANY_TEAMS", 1_000_000)
    plain, large = MatchReads(store, unconfirmed), MatchReads(store, unconfirmed, large_events=1)
    assert await count_of(plain) == crowded == await count_of(large)
    assert not plain._crowded.among(["m"])
    assert crowded.earlier == (31, 0)


async def test_neither_answers_nor_what_is_kept_grow_with_texts(
    store: Store, unconfirmed: Unconfirmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    goals = [event("goal", n * 1_000, team=f"t{n}", metadata=LONG, player_id="p") for n in range(250)]
    await insert(store, *goals)
    reads, fetched = MatchReads(store, unconfirmed), Fetched().note(store, monkeypatch)
    first, again = await count_of(reads), None
    fetched.sizes.clear()
    again = await count_of(reads)
    assert first == again
    assert sum(fetched.sizes) < 100_000
    assert (len(first.highlights), first.earlier) == (100, (150, 0))
    assert {h.metadata for h in first.highlights} == {'{"minute":12,"player":"Scorer"}'}
    assert [h.timestamp for h in first.highlights] == sorted((g.timestamp for g in goals), reverse=True)[:100]
    assert {h.player_id for h in first.highlights} == {"p"}


async def test_neighbours_of_a_crowded_match_are_counted_as_ever(store: Store, unconfirmed: Unconfirmed) -> None:
    neighbours = {name: [event("goal", n, match=name, team="1") for n in range(3)] for name in ("a", "b", "c")}
    await insert(store, *crowd(), *(row for rows in neighbours.values() for row in rows))
    alone = await MatchReads(store, unconfirmed).aggregates(list(neighbours))
    reads = MatchReads(store, unconfirmed)
    for _ in range(2):
        found = await reads.aggregates([*neighbours, "m", "nobody"])
        assert {name: found[name] for name in neighbours} == alone
        assert teams_of(found["m"])[1] == MANY + 2 - TEAMS
        assert "nobody" not in found
    assert reads._crowded.among([*neighbours, "m"]) == ["m"]


async def test_sides_that_become_known_later_have_a_place_at_once(store: Store, unconfirmed: Unconfirmed) -> None:
    start, *others = crowd()
    await insert(store, *others)
    reads = MatchReads(store, unconfirmed)
    assert "home" not in teams_of(await count_of(reads))[0]
    unconfirmed.hold(start)
    assert {"home", "away"} <= teams_of(await count_of(reads))[0].keys()


async def test_withdrawn_events_of_a_crowd_are_in_no_answer(store: Store, unconfirmed: Unconfirmed) -> None:
    """Thousands of retractions, which each would have a row of its own in the intricate statement's answer."""
    passes = [event("pass", n, team="1") for n in range(MANY)]
    await insert(store, *passes, event("pass", 0, team="2"), *(retraction(row.event_id) for row in passes))
    counted = await count_of(MatchReads(store, unconfirmed))
    assert {kind: n for kind, _, n in counted.by_type_team} == {"pass": 1, "retraction": MANY}
    assert counted.earlier == (0, MANY - 100)
    assert all(h.event_type in HIGHLIGHT_TYPES for h in counted.highlights)


async def asked_together(store: Store, unconfirmed: Unconfirmed) -> list[str]:
    """Which of these matches are taken for crowded after an answer about all of them was too long."""
    goals = [event("goal", n, match="goals", team="1") for n in range(3)]
    await insert(store, *crowd(), *goals, event("goal", match="one"))
    crowded, names = CrowdedMatches(store), ["one", "goals", "m"]
    pending = unconfirmed.pending(names)
    await crowded.aggregates(names, pending, bucket_ms=MINUTE, as_of_ms=1)
    return crowded.among(names)


async def test_of_matches_asked_for_together_those_with_many_teams_are_crowded(
    store: Store, unconfirmed: Unconfirmed
) -> None:
    assert await asked_together(store, unconfirmed) == ["m"]


async def test_where_no_match_has_many_of_anything_the_one_with_most_highlights_is_crowded(
    store: Store, unconfirmed: Unconfirmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowded_matches, "TEAMS_MANY", MANY * 2)
    assert await asked_together(store, unconfirmed) == ["goals"]


async def test_a_match_with_a_long_answer_is_crowded_from_then_on(
    store: Store, unconfirmed: Unconfirmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shards.reads.matches.LONG_ANSWER", 10)
    await insert(store, event("goal", team="1"), event("goal", match="n", team="1"))
    reads = MatchReads(store, unconfirmed)
    first = await count_of(reads)
    assert reads._crowded.among(["n", "m"]) == ["m"]
    assert await count_of(reads) == first
