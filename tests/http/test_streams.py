"""`GET /api/stream`: several matches in one stream, changes in place of snapshots, and the highlights of all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jsonpatch
import pytest
from aiohttp import ClientTimeout

from app.handlers.reading.streams import MATCHES_MAX
from tests.http.problem import assert_problem
from tests.http.service import DEADLINE_S, Service
from tests.http.streams import Sent, Viewer, event, send

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def following(service: Service, query: str, **headers: str) -> AsyncIterator[Viewer]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{service.url}/api/stream?{query}"
    async with service.session.get(url, headers=sent, timeout=ClientTimeout(total=None)) as response:
        assert response.status == 200, await response.text()
        yield Viewer(response.content)


async def test_the_messages_of_several_matches_come_in_one_stream(service: Service) -> None:
    await send(service, event("one"), event("two"), event("third"))
    async with following(service, "match=one&match=two&match=one") as viewer:
        begun = [await viewer.next() for _ in range(2)]
        assert {(sent.event, sent.data["matchId"]) for sent in begun} == {("metrics", "one"), ("metrics", "two")}
        await send(service, event("third", "goal"), event("two", "goal"), event("one", "red_card"))
        shown = [await viewer.next("event") for _ in range(2)]
        assert {(sent.data["matchId"], sent.data["eventType"]) for sent in shown} == {
            ("one", "red_card"),
            ("two", "goal"),
        }
        totals: dict[str, int] = {}
        while totals != {"one": 2, "two": 2}:
            sent = await viewer.next("metrics")
            totals[sent.data["matchId"]] = sent.data["totalEvents"]


async def test_whoever_comes_back_gets_what_was_missed_of_every_match(service: Service) -> None:
    await send(service, event("left"), event("right"))
    async with following(service, "match=left&match=right") as viewer:
        await send(service, event("left", "goal"))
        seen = await viewer.next("event")
    missed = [event("right", "goal"), event("left", "red_card")]
    await send(service, *missed)
    async with following(service, "match=left&match=right", Last_Event_ID=seen.id) as viewer:
        found: set[str] = set()
        while not {one["eventId"] for one in missed} <= found:
            found.add((await viewer.next("event")).data["eventId"])


async def test_ids_never_go_back(service: Service) -> None:
    await send(service, event("early", "goal"))
    await asyncio.sleep(0.01)
    await send(service, event("late", "goal"))
    async with following(service, "match=late&match=early") as viewer:
        await send(service, event("early"), event("late", "goal"))
        orders = []
        while len(orders) < 3:
            sent = await viewer.next()
            orders += [int(sent.id.partition("-")[0])] if sent.id else []
        assert orders == sorted(orders)


async def test_changes_lead_from_one_snapshot_to_the_next(service: Service) -> None:
    await send(service, event("patched"))
    async with following(service, "match=patched&changes=true") as viewer:
        first = await viewer.next("metrics")
        version, document = first.data.pop("version"), first.data
        for _ in range(2):
            await send(service, event("patched", "goal"), event("patched"))
            changes = await next_changes(viewer)
            assert (changes["matchId"], changes["follows"]) == ("patched", version)
            version, document = changes["version"], jsonpatch.apply_patch(document, changes["patch"])
            if document["totalEvents"] % 2:
                now = (await service.get("/api/matches/patched/metrics")).json
                assert document["eventsByType"] == now["eventsByType"]


async def next_changes(viewer: Viewer) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        sent: Sent = await viewer.next("changes")
    return sent.data


async def test_the_highlights_of_all_live_matches_come_in_one_stream(service: Service) -> None:
    """What fans say of a match that has not begun is none of it."""
    async with following(service, "highlights=live") as viewer:
        word = event("not-live", "comment")
        await send(service, word, event("not-live", "retraction", metadata={"eventId": word["eventId"]}))
        goals = [event(match, "goal") for match in ("live-1", "live-2")]
        await send(service, *goals, event("live-1"), event("live-1", "match_end"))
        shown = [await viewer.next() for _ in range(3)]
        assert {sent.event for sent in shown} == {"event"}
        assert {(sent.data["matchId"], sent.data["eventType"]) for sent in shown} == {
            *(("live-1", "goal"), ("live-2", "goal"), ("live-1", "match_end")),
        }
    await send(service, later := event("live-2", "goal"))
    async with following(service, "highlights=live", Last_Event_ID=shown[-1].id) as viewer:
        assert (await viewer.next()).data["eventId"] == later["eventId"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "either which matches"),
        ("match=one&highlights=live", "either which matches"),
        ("highlights=all", "must be live"),
        ("match=", "must not be empty"),
        ("match=one&changes=yes", "true or false"),
        ("highlights=live&changes=true", "about snapshots"),
        ("&".join(f"match=m{n}" for n in range(MATCHES_MAX + 1)), "at most 50"),
    ],
)
async def test_what_is_asked_wrongly_is_told(service: Service, query: str, says: str) -> None:
    assert_problem(await service.get(f"/api/stream?{query}"), 400, says=says)


async def test_an_unknown_match_is_named(service: Service) -> None:
    await send(service, event("one"))
    assert_problem(await service.get("/api/stream?match=one&match=no-such"), 404, says="no-such")
