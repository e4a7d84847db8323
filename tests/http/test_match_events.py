"""`GET /api/matches/{matchId}/events`, and the cursors of all lists."""

import asyncio
import time
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from shards.errors import StoreUnavailable
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

BREAKERS = ["' OR 1=1 --", "$$", "$tag$x$tag$", "\\", '"', "🏟️", "%s", "'); DROP TABLE events; --", "x" * 6_000]


def event(match_id: str, event_type: str = "pass", minute: int = 0, **fields: Any) -> dict[str, Any]:
    sent = {"eventId": str(uuid.uuid4()), "matchId": match_id, "eventType": event_type, "teamId": "1"}
    return sent | {"timestamp": f"2024-01-15T14:{minute:02d}:30.000Z"} | fields


async def page_of(service: Service, match_id: str, **query: str) -> Reply:
    return await service.get(f"/api/matches/{quote(match_id, safe='')}/events", params=query)


async def known(service: Service, match_id: str, *, total: int, **query: str) -> list[dict[str, Any]]:
    """Return the events of one page once there are so many of them."""
    found: dict[str, Any] = {}

    async def there() -> bool:
        found.clear()
        found.update((await page_of(service, match_id, **query)).json)
        return len(found.get("events", ())) >= total

    await eventually(there, lambda: f"{match_id}: {found}")
    assert len(found["events"]) == total
    return list(found["events"])


async def test_shows_events_as_their_clients_know_them(service: Service) -> None:
    raw = b"""{"matchId": "letter", "eventType": "goal", "eventId": "0190A6E4-7C1E-7D3A-9B5F-2F6F0C4D8E21", "teamId": 7,
      "timestamp": "2024-01-15T16:03:07.2509+02:00", "metadata": {"n": 123456789012345678901234567890, "t":  "$a$ '"},
      "x": [1.0]}"""
    assert (await service.post("/api/events", raw)).status == 202
    withdrawal = event("letter", "retraction", 1, metadata={"eventId": "0190a6e4-7c1e-7d3a-9b5f-2f6f0c4d8e21"})
    taken = await service.post("/api/events", withdrawal)
    (retracted, *_) = await known(service, "letter", total=2)
    assert retracted == {
        "eventId": "0190a6e4-7c1e-7d3a-9b5f-2f6f0c4d8e21",
        "matchId": "letter",
        "eventType": "goal",
        "timestamp": "2024-01-15T14:03:07.250Z",
        "teamId": "7",
        "playerId": None,
        "metadata": {"n": 123456789012345678901234567890, "t": "$a$ '", "_unmapped": {"x": [1.0]}},
        "receivedAt": retracted["receivedAt"],
        "retracted": True,
    }
    assert retracted["receivedAt"] <= taken.json["timestamp"]
    text = (await page_of(service, "letter")).text
    assert '{"n": 123456789012345678901234567890, "t":  "$a$ \'","_unmapped":{"x":[1.0]}}' in text


async def test_newest_first_by_event_time_with_filters(service: Service) -> None:
    sent = [event("filtered", kind, minute, teamId=team) for minute, (kind, team) in enumerate(
        [("pass", "1"), ("goal", "2"), ("cheer", "1"), ("own_goal", "1"), ("goal", "1")]
    )]  # fmt: skip
    for one in (sent[2], sent[4], sent[0], sent[3], sent[1]):
        await service.post("/api/events", one)
    await known(service, "filtered", total=5)
    at = [one["timestamp"] for one in sent]
    for query, numbers in (
        ({}, [4, 3, 2, 1, 0]),
        ({"type": "goal"}, [4, 1]),
        ({"type": "goal,own_goal, cheer"}, [4, 3, 2, 1]),
        ({"team": "2"}, [1]),
        ({"team": "none"}, []),
        ({"from": at[1], "to": at[3]}, [2, 1]),
        ({"from": "2024-01-15T16:03:30+02:00", "team": "1"}, [4, 3]),
        ({"to": at[0]}, []),
        ({"type": "goal", "team": "1", "from": at[1], "limit": "1"}, [4]),
    ):
        reply = await page_of(service, "filtered", **query)
        assert [one["eventId"] for one in reply.json["events"]] == [sent[n]["eventId"] for n in numbers], query
        assert (reply.json["nextCursor"], reply.json["pendingEvents"]) == (None, 0)
    several = await service.get("/api/matches/filtered/events?type=cheer&type=pass&type=pass")
    assert [one["eventType"] for one in several.json["events"]] == ["cheer", "pass"]


async def test_an_acknowledged_event_is_there_within_a_second(service: Service) -> None:
    for number in range(3):
        await service.post("/api/events", event("fresh", minute=number))
        await page_of(service, "fresh")
        await known(service, "fresh", total=number + 1)


async def test_a_cursor_is_of_one_list_alone(service: Service) -> None:
    for match_id in ("cursors", "others"):
        await service.post("/api/events", [event(match_id, "goal", minute, teamId="1") for minute in range(6)])
        await known(service, match_id, total=6)
    filters = {"type": "goal,pass", "team": "1", "from": "2024-01-15T14:00:00Z", "to": "2024-01-15T15:00:00Z"}
    cursor = (await page_of(service, "cursors", limit="2", **filters)).json["nextCursor"]
    spelt = filters | {"type": "pass,goal", "from": "2024-01-15T16:00:00+02:00", "limit": "3"}
    assert len((await page_of(service, "cursors", cursor=cursor, **spelt)).json["events"]) == 3
    listed = (await service.get("/api/matches", params={"limit": "1"})).json["nextCursor"]
    live = (await service.get("/api/matches", params={"limit": "1", "active": "true"})).json["nextCursor"]
    flipped = [cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :] for n in range(len(cursor))]
    for foreign in (listed, cursor[:-1], cursor[1:], cursor + "A", "", *flipped[:-1], *BREAKERS):
        reply = await page_of(service, "cursors", cursor=foreign, **filters)
        problem = assert_problem(reply, 400, says="leave it out to begin with the first page")
        assert [fault["field"] for fault in problem["errors"]] == ["cursor"]
    assert_problem(await page_of(service, "others", cursor=cursor, **filters), 400, says="cursor")
    for name, other in (("type", "goal"), ("team", "2"), ("from", "2024-01-15T14:00:01Z"), ("to", None)):
        changed = {key: value for key, value in (filters | {name: other}).items() if value is not None}
        assert_problem(await page_of(service, "cursors", cursor=cursor, **changed), 400, says="the same filters")
    for query in ({"cursor": cursor}, {"cursor": live}, {"cursor": listed, "active": "true"}):
        assert_problem(await service.get("/api/matches", params=query), 400, says="cursor")
    letters = await service.get("/api/deadletters", params={"cursor": listed}, headers=service.admin)
    assert_problem(letters, 400, says="cursor")


@pytest.mark.parametrize(
    ("query", "fields", "says"),
    [
        ("limit=0", ["limit"], "1 to 1000"),
        ("limit=1001", ["limit"], "1 to 1000"),
        ("type=", ["type"], "own_goal"),
        ("type=goal,Goal", ["type"], "'Goal'"),
        ("type=goal,,pass", ["type"], "separated by commas"),
        ("type=%00", ["type"], "unknown event types"),
        ("team=", ["team"], "leave it out"),
        ("team=" + "x" * 65, ["team"], "64"),
        ("team=a%00", ["team"], "control"),
        ("from=2024-01-15T14:00:00", ["from"], "no offset"),
        ("from=2024-01-15T14:00:00+02:00", ["from"], "%2B"),
        ("to=yesterday", ["to"], "ISO 8601"),
        ("to=2024-02-30T14:00:00Z", ["to"], "no existing date"),
        ("from=2024-01-15T14:00:00Z&to=2024-01-15T14:00:00%2B00:00", ["to"], "later than from"),
        ("from=2024-01-15T14:00:00Z&to=2024-01-15T14:00:00%2B01:00", ["to"], "later than from"),
        ("from=x&to=&type=y&team=&limit=z&cursor=.", ["from", "to", "type", "team", "limit", "cursor"], ""),
    ],
)
async def test_says_what_cannot_be_asked_for(service: Service, query: str, fields: list[str], says: str) -> None:
    await service.post("/api/events", event("asked"))
    problem = assert_problem(await service.get(f"/api/matches/asked/events?{query}"), 400, says=says)
    assert [fault["field"] for fault in problem["errors"]] == fields


@pytest.mark.parametrize("text", BREAKERS)
async def test_text_is_text_and_nothing_else(service: Service, text: str) -> None:
    match_id, team = text[:128], text[:64]
    await service.post("/api/events", event(match_id, teamId=team))
    shown = await known(service, match_id, total=1, team=team)
    assert (shown[0]["matchId"], shown[0]["teamId"]) == (match_id, team)
    assert_problem(await page_of(service, match_id, type=text), 400, says="unknown event types")
    assert_problem(await page_of(service, match_id, team=text + "x" * 65), 400, says="64")


async def test_what_no_client_library_sends_is_refused_too(service: Service) -> None:
    for query in (b"team=\xff", b"team=%ed%a0%80", b"type=\xed\xa0\x80", b"cursor=\xff", b"from=\xff"):
        target = b"GET /api/matches/asked/events?" + query + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        assert (await service.send_raw(target)).status in (200, 400)


async def test_knows_matches_and_methods(service: Service) -> None:
    assert_problem(await page_of(service, "unheard-of"), 404, says="No event of this match was received")
    assert_problem(await page_of(service, "\0"), 400, says="control")
    await service.post("/api/events", event("methods"))
    assert (await known(service, "methods", total=1))[0]["retracted"] is False
    assert (await service.request("HEAD", "/api/matches/methods/events")).status == 200
    refused = await service.request("DELETE", "/api/matches/methods/events")
    assert_problem(refused, 405)
    assert {"GET", "HEAD", "POST"} <= set(refused.headers["Allow"].split(", "))


async def test_many_who_ask_the_same_are_one_for_clickhouse(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.post("/api/events", event("popular"))
    store, fetch, asked = service.context.store, service.context.store.fetch, 0

    async def counting(*statements: str) -> list[tuple[Any, ...]]:
        nonlocal asked
        asked += "LIMIT 152" in statements[-1]
        return await fetch(*statements)

    monkeypatch.setattr(store, "fetch", counting)
    began = time.monotonic()
    for _ in range(3):
        replies = await asyncio.gather(*(page_of(service, "popular") for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
    assert 1 <= asked <= 2 * (time.monotonic() - began) + 1


async def test_says_that_clickhouse_is_away(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.post("/api/events", event("away"))

    async def away(*statements: str) -> list[tuple[Any, ...]]:
        raise StoreUnavailable("connection refused: secret.host")

    monkeypatch.setattr(service.context.store, "fetch", away)
    reply = await page_of(service, "away")
    assert_problem(reply, 503)
    assert int(reply.headers["Retry-After"]) > 0
    assert "secret.host" not in reply.text
