import asyncio
import time
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from app.dashboard.board import BOARD, SAMPLE_INTERVAL_S
from app.engagement import rendered
from shards.errors import StoreUnavailable
from shards.stores import base
from tests.http.problem import assert_problem
from tests.http.service import Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIDES = {"home": {"id": "1", "name": "Al-Hilal"}, "away": "2"}


def goal(match_id: str, minute: int, team: str = "1", event_type: str = "goal") -> dict[str, object]:
    return {
        "eventId": str(uuid.uuid4()),
        "matchId": match_id,
        "eventType": event_type,
        "timestamp": f"2024-01-15T14:{minute:02d}:30Z",
        "teamId": team,
    }


async def test_shows_a_match_to_the_letter_of_the_contract(service: Service) -> None:
    start = {"matchId": "letter", "eventType": "match_start", "timestamp": "2024-01-15T14:00:00Z", "metadata": SIDES}
    goals = [goal("letter", 3), goal("letter", 3, "2", "own_goal"), goal("letter", 9, "2")]
    assert (await service.post("/api/events", [start, *goals])).status == 202
    assert (await service.post("/api/events", goals)).status == 202
    shown = await service.metrics("letter", total=4)
    assert shown["status"] == "live"
    assert shown["score"] == {"home": 2, "away": 1}
    assert shown["goals"] == 3
    assert shown["eventsByType"] == {"goal": 2, "match_start": 1, "own_goal": 1}
    assert shown["eventsByTeam"] == {"1": 1, "2": 2}
    assert (shown["firstEventAt"], shown["lastEventAt"]) == ("2024-01-15T14:00:00.000Z", "2024-01-15T14:09:30.000Z")
    assert shown["peakMinute"] == {"minute": "2024-01-15T14:03:00Z", "eventCount": 2}
    withdrawn = {"matchId": "letter", "eventType": "retraction", "metadata": {"eventId": goals[0]["eventId"]}}
    assert (await service.post("/api/events", withdrawn)).status == 202
    shown = await service.metrics("letter", total=4)
    while shown["goals"] == 3:
        shown = await service.metrics("letter", total=4)
    assert shown["score"] == {"home": 1, "away": 1}


async def test_shows_how_long_requests_about_the_match_took(service: Service) -> None:
    await service.post("/api/events", goal("timed", 1))
    await service.metrics("timed", total=1)
    shown = await service.metrics("timed", total=1)
    percentiles = shown["responseTimePercentiles"]
    assert 0 < percentiles["p50"] <= percentiles["p95"] <= percentiles["p99"]


async def test_a_long_curve_is_shown_as_a_short_one_is(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.post("/api/events", [goal("long", minute) for minute in range(20)])
    short = await service.metrics("long", total=20)
    monkeypatch.setattr(rendered, "BUCKETS_AT_ONCE", 10)
    monkeypatch.setattr(base, "ROWS_AT_ONCE", 10)
    await service.post("/api/events", goal("long", 21))
    long = await service.metrics("long", total=21)
    assert long["eventsPerMinute"] == [*short["eventsPerMinute"], {"minute": "2024-01-15T14:21:00Z", "eventCount": 1}]
    assert long.keys() == short.keys()


async def test_the_overview_is_made_once_for_all_who_look_at_a_time(service: Service) -> None:
    board = service.app[BOARD]
    for _ in range(2):
        made = await asyncio.gather(*(board.regions() for _ in range(20)))
        assert len({id(page) for page, _ in made}) == 1
        await asyncio.sleep(SAMPLE_INTERVAL_S)


async def test_an_acknowledged_event_is_shown_within_a_second(service: Service) -> None:
    await service.post("/api/events", goal("fresh", 0))
    shown = 0
    for minute in range(1, 6):
        await service.get("/api/matches/fresh/metrics")
        await service.post("/api/events", goal("fresh", minute))
        acknowledged = time.monotonic()
        while True:
            began = time.monotonic()
            total = (await service.get("/api/matches/fresh/metrics")).json["totalEvents"]
            assert total >= shown
            shown = total
            if total == minute + 1:
                break
            # Asked a second after the acknowledgement, nothing may be missing.
            assert began < acknowledged + 1
            await asyncio.sleep(0.02)


async def test_many_readers_are_one_for_clickhouse(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.post("/api/events", goal("popular", 1))
    await service.metrics("popular", total=1)  # the first one asks how large the match is, too
    store, fetch, asked = service.context.store, service.context.store.fetch, 0

    async def counting(*statements: str) -> list[tuple[object, ...]]:
        nonlocal asked
        asked += 1
        return await fetch(*statements)

    monkeypatch.setattr(store, "fetch", counting)
    began = time.monotonic()
    for _ in range(4):
        await asyncio.gather(*(service.get("/api/matches/popular/metrics") for _ in range(50)))
        await asyncio.sleep(0.2)
    seconds = time.monotonic() - began
    assert 1 <= asked <= 2 * seconds + 1
    asked = 0
    await service.post("/api/events", goal("unwatched", 1))
    await asyncio.sleep(0.7)
    assert asked == 0


async def test_repeats_the_last_answer_while_clickhouse_is_away(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.post("/api/events", goal("kept", 1))
    kept = await service.metrics("kept", total=1)

    async def away(*statements: str) -> list[tuple[object, ...]]:
        raise StoreUnavailable("connection refused: secret.host")

    monkeypatch.setattr(service.context.store, "fetch", away)
    await asyncio.sleep(0.6)
    again = await service.get("/api/matches/kept/metrics")
    assert (again.status, again.json["asOf"], again.json["totalEvents"]) == (200, kept["asOf"], 1)
    for path in ("/api/matches/never-asked/metrics", "/api/matches", "/api/matches/never-asked/stream"):
        reply = await service.get(path)
        assert_problem(reply, 503)
        assert int(reply.headers["Retry-After"]) > 0
        assert "secret.host" not in reply.text
    monkeypatch.undo()
    await asyncio.sleep(0.6)
    assert_problem(await service.get("/api/matches/never-asked/metrics"), 404)


async def test_lists_matches_newest_activity_first_in_pages(service: Service) -> None:
    names = [f"listed-{number}" for number in range(5)]
    for event in (*(goal(name, 1) for name in names), goal("listed-1", 2)):
        await service.post("/api/events", event)
        await asyncio.sleep(0.002)  # the order is by the millisecond of the receipt
    first: dict[str, Any] = {}

    async def listed() -> bool:
        first.update((await service.get("/api/matches", params={"limit": "3"})).json)
        return [match["matchId"] for match in first["matches"]] == ["listed-1", "listed-4", "listed-3"]

    await eventually(listed, lambda: str(first))
    second = (await service.get("/api/matches", params={"limit": "2", "cursor": first["nextCursor"]})).json
    assert [match["matchId"] for match in second["matches"]] == ["listed-2", "listed-0"]
    everything, cursor = [], None
    while True:
        page = (await service.get("/api/matches", params={"limit": "2"} | ({"cursor": cursor} if cursor else {}))).json
        everything += [match["matchId"] for match in page["matches"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        assert len(page["matches"]) == 2
    assert len(everything) == len(set(everything))
    assert set(names) <= set(everything)


async def test_a_match_that_moves_to_the_front_comes_once_and_is_found_there(service: Service) -> None:
    names = [f"moved-{number}" for number in range(8)]
    for name in names:
        await service.post("/api/events", goal(name, 1))
        await service.metrics(name, total=1)
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.6)  # lists are half a second old at most
    first = (await service.get("/api/matches", params={"limit": "2"})).json
    seen = [match["matchId"] for match in first["matches"]]
    assert seen == ["moved-7", "moved-6"]
    cursor = first["nextCursor"]
    for moved in ("moved-3", "moved-7"):  # one that was not seen yet, one that was
        await service.post("/api/events", goal(moved, 2))
        await asyncio.sleep(0.002)
    while cursor:
        page = (await service.get("/api/matches", params={"limit": "2", "cursor": cursor})).json
        seen += [match["matchId"] for match in page["matches"]]
        cursor = page["nextCursor"]
    assert len(seen) == len(set(seen))
    assert set(names) - set(seen) == {"moved-3"}
    await asyncio.sleep(0.6)
    front = (await service.get("/api/matches", params={"limit": "2"})).json["matches"]
    assert [match["matchId"] for match in front] == ["moved-7", "moved-3"]


async def test_lists_live_or_finished_matches_alone(service: Service) -> None:
    await service.post("/api/events", [goal("over", 1), {"matchId": "over", "eventType": "match_end"}])
    await service.post("/api/events", goal("running", 1))
    await service.metrics("over", total=2)
    for active, shown, hidden in (("true", "running", "over"), ("false", "over", "running")):
        page = (await service.get("/api/matches", params={"active": active, "limit": "100"})).json
        found = {match["matchId"] for match in page["matches"]}
        assert shown in found
        assert hidden not in found
        assert page["nextCursor"] is None


@pytest.mark.parametrize("match_id", ["مباراة 🏟️", "' OR 1=1 --", "$$", "a/b", "%", "x" * 128, "{matchId}", "..."])
async def test_a_match_id_may_be_any_text(service: Service, match_id: str) -> None:
    await service.post("/api/events", goal(match_id, 1))
    shown = await service.metrics(quote(match_id, safe=""), total=1)
    assert shown["matchId"] == match_id


async def test_does_not_know_a_match_nothing_was_received_of(service: Service) -> None:
    assert_problem(await service.get("/api/matches/unheard-of/metrics"), 404, says="No event of this match")
    assert_problem(await service.get("/api/matches/unheard-of/stream"), 404, says="No event of this match")


@pytest.mark.parametrize(
    ("match_id", "says"),
    [("%00", "control"), ("a%0Ab", "control"), ("x" * 129, "128"), ("%C2%85", "control"), ("é" * 129, "128")],
)
@pytest.mark.parametrize("what", ["metrics", "stream"])
async def test_says_what_cannot_be_a_match_id(service: Service, match_id: str, says: str, what: str) -> None:
    path = f"/api/matches/{quote(match_id, safe='%')}/{what}"
    assert_problem(await service.get(path), 400, says=says)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"limit": "0"}, ["limit"]),
        ({"limit": "101"}, ["limit"]),
        ({"limit": "ten"}, ["limit"]),
        ({"limit": "1e1"}, ["limit"]),
        ({"limit": "٣"}, ["limit"]),
        ({"limit": "9" * 5000}, ["limit"]),
        ({"active": "yes"}, ["active"]),
        ({"cursor": ""}, ["cursor"]),
        ({"cursor": "!!"}, ["cursor"]),
        ({"cursor": "bm90IGpzb24"}, ["cursor"]),
        ({"cursor": "WzEsMl0"}, ["cursor"]),
        ({"cursor": "Wy0xLCJtIl0"}, ["cursor"]),
        ({"cursor": "é"}, ["cursor"]),
        ({"limit": "-1", "active": "1", "cursor": "x"}, ["active", "limit", "cursor"]),
    ],
)
async def test_names_every_parameter_at_fault(service: Service, query: dict[str, str], fields: list[str]) -> None:
    problem = assert_problem(await service.get("/api/matches", params=query), 400)
    assert [fault["field"] for fault in problem["errors"]] == fields
