"""Crowds of readers: what they ask for is bounded, those who left are forgotten, and senders notice nothing."""

import asyncio
from typing import Any

import pytest

from app.live.flights import LOADS_MAX, WAITING_MAX
from shards.stores import base
from tests.http.problem import assert_problem
from tests.http.service import Service, eventually

SINCE = "1-00000000-0000-0000-0000-000000000001"
"""Id of a message before all others."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _ask(service: Service, path: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection(service.host, service.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    return writer


async def test_readers_who_left_keep_no_place(service: Service) -> None:
    store, flights = service.context.store, service.context.live._answers._flights
    async with store._reading, store._reading:  # as if two reads took long
        writers = [await _ask(service, f"/api/matches/gone{n}/metrics") for n in range(LOADS_MAX + 30)]

        async def waiting(count: int) -> bool:
            return len(flights._unknown) == count

        await eventually(lambda: waiting(30), lambda: f"{len(flights._unknown)} wait")
        for writer in writers:
            writer.close()
            await writer.wait_closed()
        await eventually(lambda: waiting(0), lambda: f"{len(flights._unknown)} wait")


async def test_a_crowd_is_refused_while_known_matches_and_senders_are_served(service: Service) -> None:
    assert base.READS_AT_ONCE == LOADS_MAX
    await service.post("/api/events", {"matchId": "known", "eventType": "goal", "teamId": "1"})
    assert (await service.get("/api/matches/known/metrics")).status == 200
    crowd = WAITING_MAX + 200
    replies = [asyncio.create_task(service.get(f"/api/matches/nobody{n}/metrics")) for n in range(crowd)]
    posted = await service.post("/api/events", {"matchId": "known", "eventType": "goal", "teamId": "1"})
    assert posted.status == 202
    assert (await service.get("/api/matches/known/metrics")).status == 200
    found = await asyncio.gather(*replies)
    assert {reply.status for reply in found} <= {404, 503}
    for reply in found:
        if reply.status == 503:
            assert_problem(reply, 503)
            assert reply.headers["Retry-After"] == "1"
            assert "ClickHouse" not in reply.text
    assert (await service.get("/ready")).json["checks"]["clickhouse"] == "healthy"
    assert (await service.get("/api/matches/known/metrics")).status == 200


async def _post_crowd(service: Service, match_id: str, *, teams: int, goals: int) -> None:
    sides = {"home": {"id": "h", "name": "Home"}, "away": {"id": "a", "name": "Away"}}
    start = {"matchId": match_id, "eventType": "match_start", "metadata": sides}
    passes = [{"matchId": match_id, "eventType": "pass", "teamId": f"p{n}"} for n in range(teams)]
    own = [{"matchId": match_id, "eventType": "shot", "teamId": side} for side in "ha"]
    assert (await service.post("/api/events", [start, *own, *passes])).status == 202
    goal = {"matchId": match_id, "eventType": "goal", "metadata": {"player": "Scorer", "padding": "x" * 15_000}}
    for first in range(0, goals, 50):
        batch = [goal | {"teamId": f"g{n}"} for n in range(first, min(first + 50, goals))]
        assert (await service.post("/api/events?ack=stored", batch)).status in (200, 202)


async def test_a_match_of_very_many_teams_and_long_texts_has_a_bounded_answer(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures of what ClickHouse sends are bytes of text, counted, because times say little on a busy machine."""
    store, fetched = service.context.store, list[int]()
    fetch = store.fetch

    async def noted(*statements: str) -> list[tuple[Any, ...]]:
        rows = await fetch(*statements)
        fetched.append(sum(len(str(row)) for row in rows))
        return rows

    async def overview() -> int:
        await asyncio.sleep(1.1)  # what was made for others before is too old then
        fetched.clear()
        assert (await service.get("/")).status == 200
        return sum(fetched)

    await service.post("/api/events?ack=stored", {"matchId": "small", "eventType": "pass", "teamId": "1"})
    monkeypatch.setattr(store, "fetch", noted)
    without = await overview()
    await _post_crowd(service, "crowd", teams=1_500, goals=300)
    metrics = await service.metrics("crowd", total=1_803)
    assert metrics["otherTeams"] == {"teams": 1_752, "events": 1_752}
    assert len(metrics["eventsByTeam"]) == len(metrics["engagementByTeam"]) == 50
    assert {"h", "a"} <= metrics["eventsByTeam"].keys()
    assert sum(metrics["eventsByTeam"].values()) + metrics["otherTeams"]["events"] == 1_802
    assert (metrics["score"], metrics["goals"], metrics["earlierHighlights"]) == (None, 300, 201)
    for path in ("/api/matches/crowd/metrics?bucket=1m", "/matches/crowd", "/api/matches", "/"):
        assert len((await service.get(path)).text) < 100_000, path
    assert "and 201 earlier" in (await service.get("/matches/crowd")).text
    assert await overview() <= without * 1.2 + 1_000
    await service.post("/api/events", {"matchId": "crowd", "eventType": "goal", "teamId": "h"})
    assert (await service.metrics("crowd", total=1_804))["eventsByTeam"]["h"] == 2


async def test_a_stream_of_a_crowded_match_begins_with_short_texts(service: Service) -> None:
    await _post_crowd(service, "streamed", teams=10, goals=120)
    async with service.session.get(
        f"{service.url}/api/matches/streamed/stream", headers={"Last-Event-ID": SINCE}
    ) as it:
        async with asyncio.timeout(20):
            head = await it.content.readuntil(b"event: event\n")
            rest = b"".join([await it.content.readline() for _ in range(100)])
    assert b"padding" not in head + rest
    assert b'"player":"Scorer"' in rest
