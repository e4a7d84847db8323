"""Crowds of readers: what they ask for is bounded, those who left are forgotten, and senders notice nothing."""

import asyncio

import pytest

from app.live.flights import LOADS_MAX, WAITING_MAX
from shards.stores import base
from tests.http.problem import assert_problem
from tests.http.service import Service, eventually

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
