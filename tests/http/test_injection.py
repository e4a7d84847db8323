"""Text of clients that looks like SQL, and ids that are none: on every route that reads, in front of both stores."""

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import attrs
import pytest
import pytest_asyncio
from yarl import URL

from app.openapi.document import document
from shards.stores.server import ServerStore
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service, eventually, running
from tests.statements import drop_database

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTACKS = (
    *("'", "\\'", "' OR 1=1 --", "'; DROP TABLE fanfinity.events; --", "') UNION ALL SELECT 1 --", "`", '"'),
    *("$$", "$tag$ OR 1=1 $tag$", "$$'$$; DROP TABLE events; $$", "$0123456789abcdef$"),
    *("{x:String}", "{matches}", "{{database}}", "{", "{0}", "%(x)s", "%00", "?", "/* ", "-- ", ";", "\\N"),
    *("\u2028", "مباراة 🏟️", "../../events"),
)
READS = sorted(path for path, item in document()["paths"].items() if "{matchId}" in path and "get" in item)


@pytest.fixture(scope="module", params=["embedded", "server"])
def url(request: pytest.FixtureRequest) -> str:
    name = f"test_{secrets.token_hex(6)}"
    return "" if request.param == "embedded" else f"{request.getfixturevalue('clickhouse_url')}/{name}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacked(url: str, config: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running(attrs.evolve(config, data_dir=tmp_path_factory.mktemp("data"), clickhouse_url=url)) as service:
        yield service
    if url:
        store = ServerStore(url, shard_count=1)
        await drop_database(store)
        await store.close()


def attack(text: str) -> dict[str, Any]:
    return {
        "matchId": text,
        "eventType": "goal",
        "teamId": text,
        "playerId": text,
        "metadata": {"player": f"{text}\x00{text}", text: [text, {text: text}]},
        text: text,
    }


async def assert_nothing_broke_out(service: Service) -> None:
    for text in ATTACKS:
        base = f"/api/matches/{quote(text, safe='')}"
        shown = await service.get(URL(service.url + f"{base}/metrics", encoded=True).raw_path)
        assert (shown.status, shown.json["matchId"], shown.json["totalEvents"]) == (200, text, 1)
        assert shown.json["eventsByTeam"] == {text: 1}
        for named, found in ((text, 1), (f"{text}' OR 1=1 --", 0)):
            page = await service.get(f"{base}/events?team={quote(named, safe='')}&type=goal")
            assert len(page.json["events"]) == found, page.text
        [event] = (await service.get(f"{base}/events")).json["events"]
        sent = attack(text)["metadata"]
        assert {name: event["metadata"][name] for name in sent} == sent
    listed = (await service.get("/api/matches?limit=100")).json["matches"]
    assert {match["matchId"] for match in listed} == set(ATTACKS)
    assert all(match["totalEvents"] == 1 for match in listed)


async def test_text_of_clients_stays_text(attacked: Service) -> None:
    attacked.context.shards.pause(0)  # some are read as pending rows, then all as stored ones
    reply = await attacked.post("/api/events", [attack(text) for text in ATTACKS])
    assert (reply.status, reply.json["rejected"]) == (202, 0), reply.text
    await assert_nothing_broke_out(attacked)
    attacked.context.shards.resume(0)
    await attacked.context.shards.flush()
    assert attacked.context.shards.snapshot().pending == 0
    assert attacked.context.shards.snapshot().dead_lettered == 0
    await assert_nothing_broke_out(attacked)
    await attacked.context.store.check()


async def test_text_in_a_stream_and_a_query_stays_text(attacked: Service) -> None:
    await attacked.post("/api/events", [attack(text) for text in ATTACKS[:3]])
    for text in ATTACKS[:3]:
        path = f"/api/matches/{quote(text, safe='')}/stream?lastEventId={quote(text, safe='')}"
        async with attacked.session.get(URL(attacked.url + path, encoded=True)) as reply:
            data = (await reply.content.readuntil(b"}\n\n")).decode().partition("data: ")[2]
        assert json.loads(data)["matchId"] == text
    for text in ATTACKS:
        for name in ("cursor", "limit", "active"):
            assert_problem(await attacked.get("/api/matches", params={name: text}), 400)
        for name in ("cursor", "limit", "from", "to", "type"):
            assert_problem(await attacked.get("/api/matches/any/events", params={name: text}), 400)


def hostile_ids() -> Iterator[tuple[str, int]]:
    """Yield ids as they stand in a path, and the status that names them: no id at all, or one that nobody sent."""
    for text in ("%00", "a%00b", "%0A", "%7F", "%C2%85", "x" * 129, "%F0%9F%98%80" * 129, "%27" * 129):
        yield text, 400
    for no_utf_8 in ("%FF", "%ED%A0%80"):
        yield no_utf_8, 400
    for text in (
        "%F0%9F%98%80",
        "%27",
        "%22",
        "%5C",
        "%24tag%24",
        "%7Bx:String%7D",
        "%2F..%2F",
        "%25",
    ):
        yield text, 404
    yield "x" * 10_000, 400
    yield "%F0%9F%98%80" * 2_500, 400


@pytest.mark.parametrize("path", READS)
async def test_ids_that_are_none_are_named(service: Service, path: str) -> None:
    for text, status in hostile_ids():
        target = path.replace("{matchId}", text)
        reply = await service.send_raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        if path.startswith("/api/") or len(text) > 8_000:
            assert_problem(reply, status)
        else:
            assert (reply.status, len(text) > 8_000) == (404, False), text  # pages: nothing there, in words for people


async def test_after_all_that_it_answers(attacked: Service) -> None:
    async def counted() -> Reply | None:
        reply = await attacked.get("/api/matches/after/metrics")
        return reply if reply.status == 200 else None

    assert (await attacked.post("/api/events", {"matchId": "after", "eventType": "view"})).status == 202
    await eventually(counted, lambda: "the match is unknown")
