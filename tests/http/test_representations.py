"""One answer in several forms: not sent again, compressed, and to pages of other sites."""

import asyncio
import gzip
import re
import zlib
from itertools import count
from typing import Any

import pytest
from aiohttp import hdrs

from app.live.answers import FRESH_S
from app.web.compression import LEAST_BYTES, preferred
from shards.errors import StoreUnavailable
from tests.http.service import Reply, Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = {"Origin": "https://fans.example"}
PLAIN = {"Accept-Encoding": "identity"}
STORED = ("/api/matches", "/openapi.json", "/docs", "/static/css/base.css")
_matches = (f"represented-{number}" for number in count())


async def a_match(service: Service, minutes: int = 1) -> str:
    """Send the events of a match; return the path of its metrics once they are counted."""
    match_id = next(_matches)
    times = (f"2024-01-15T{14 + minute // 60}:{minute % 60:02}:00Z" for minute in range(minutes))
    await service.post(
        "/api/events", [{"matchId": match_id, "eventType": "view", "timestamp": timestamp} for timestamp in times]
    )
    await service.metrics(match_id, total=minutes)
    return f"/api/matches/{match_id}/metrics"


async def again(service: Service, path: str, first: Reply, **headers: str) -> Reply:
    return await service.get(path, headers={"If-None-Match": first.headers["ETag"], **headers})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_the_client_has_is_not_sent_again(service: Service, method: str) -> None:
    metrics = await a_match(service)

    async def listed() -> bool:
        return metrics.split("/")[3] in (await service.get("/api/matches")).text

    await eventually(listed, lambda: "not on the list")
    for path in (metrics, *STORED):
        first = await service.get(path)
        assert first.headers["Cache-Control"] == "no-cache"
        for tags in (first.headers["ETag"], f'"other", {first.headers["ETag"]}', "*"):
            second = await service.request(method, path, headers={"If-None-Match": tags})
            assert (second.status, second.text) == (304, ""), path
            assert second.headers["ETag"] == first.headers["ETag"]
            assert second.headers["Cache-Control"] == "no-cache"
        for tags in ('"other"', 'W/"other"', "", "garbage", '"'):
            assert (await service.request(method, path, headers={"If-None-Match": tags})).status == 200, tags


async def test_metrics_are_sent_again_when_they_changed_and_not_when_only_time_has_passed(service: Service) -> None:
    path = await a_match(service)
    first = await service.get(path)
    await asyncio.sleep(FRESH_S)  # from then on nobody is given the answer at hand
    assert (await again(service, path, first)).status == 304
    later = await service.get(path)
    assert later.json["asOf"] > first.json["asOf"]
    assert later.headers["ETag"] == first.headers["ETag"]
    await service.post("/api/events", {"matchId": path.split("/")[3], "eventType": "view"})
    await service.metrics(path.split("/")[3], total=2)
    changed = await again(service, path, first)
    assert (changed.status, changed.json["totalEvents"]) == (200, 2)
    assert changed.headers["ETag"] != first.headers["ETag"]


async def test_figures_that_grew_old_are_sent_once_so_that_they_can_be_called_old(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await a_match(service)
    fresh = await service.get(path)

    async def away(*statements: str) -> list[tuple[Any, ...]]:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(service.context.store, "fetch", away)
    await asyncio.sleep(2.6)
    old = await again(service, path, fresh)
    assert (old.status, old.json["totalEvents"]) == (200, 1)
    assert (await again(service, path, old)).status == 304


async def test_nothing_else_may_be_stored(service: Service) -> None:
    paths = ("/api/status", "/api/receipts/none", "/api/deadletters", "/metrics", "/health", "/ready", "/matches/none")
    for path in (*paths, "/api/matches/none/metrics", "/api/matches?limit=0", "/none", "/static/none.css"):
        reply = await service.get(path, headers={"If-None-Match": "*", **service.admin})
        assert reply.status != 304, path
        assert reply.headers["Cache-Control"] == "no-store", path
    accepted = await service.post("/api/events", {"matchId": next(_matches), "eventType": "view"})
    assert accepted.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ([], None),
        (["gzip"], "gzip"),
        (["br, GZIP;q=0.5"], "gzip"),
        (["gzip, deflate"], "gzip"),
        (["deflate", "gzip;q=0.5"], "deflate"),
        (["deflate , gzip; q=0"], "deflate"),
        (["*"], "gzip"),
        (["*;q=0.1, gzip;q=0"], "deflate"),
        (["gzip;q=0"], None),
        (["identity"], None),
        (["identity, gzip;q=0.9"], None),
        (["identity;q=0.5, gzip"], "gzip"),
        (["br"], None),
        ([""], None),
        ([",;,;;q=,=;"], None),
        (["gzip;q=many"], None),
        (["gzip;q=nan, deflate;q=inf"], None),
        (["gzip;q=2"], None),
        (["gzip\t;q=1.000"], "gzip"),
        (["x" * 5000], None),
    ],
)
async def test_the_client_chooses_how_an_answer_is_compressed(accepted: list[str], coding: str | None) -> None:
    assert preferred(tuple(accepted)) == coding


async def test_answers_are_compressed_where_it_pays(service: Service) -> None:
    large, small = await a_match(service, minutes=60), await a_match(service)
    for path in (large, "/openapi.json", "/docs", "/metrics", "/"):
        plain = await service.get(path, headers=PLAIN)
        assert "Content-Encoding" not in plain.headers
        assert plain.headers["Vary"] == "Accept-Encoding"
        assert len(plain.text) >= LEAST_BYTES
        for coding in ("gzip", "deflate"):
            sizes = set()
            for method in ("GET", "HEAD"):
                packed = await service.request(method, path, headers={"Accept-Encoding": coding})
                assert packed.headers["Content-Encoding"] == coding
                assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
                assert int(packed.headers["Content-Length"]) < len(plain.text) / 2
                sizes.add(abs(int(packed.headers["Content-Length"])))
            assert path not in ("/openapi.json", "/docs") or len(sizes) == 1
    packed = await service.get(large, headers={"Accept-Encoding": "gzip"})
    assert packed.json["eventsPerMinute"] == (await service.get(large, headers=PLAIN)).json["eventsPerMinute"]
    assert (await again(service, large, packed, **PLAIN)).status == 304
    assert "Content-Encoding" not in (await service.get(small, headers={"Accept-Encoding": "gzip"})).headers


async def test_compressed_answers_are_what_they_say(service: Service) -> None:
    plain = (await service.get("/openapi.json", headers=PLAIN)).text.encode()
    for coding, unpack in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        async with service.session.get(f"{service.url}/openapi.json", headers={"Accept-Encoding": coding}) as reply:
            assert await reply.read() == plain  # as the client's library reads it
        head = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection(service.host, service.port)
        writer.write(head.encode())
        _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert unpack(body) == plain


async def test_pages_of_other_sites_may_read(service: Service) -> None:
    metrics = await a_match(service)
    for path in (metrics, "/api/matches", "/openapi.json", "/api/matches/unheard-of/metrics", "/api/matches?limit=0"):
        for method in ("GET", "HEAD"):
            reply = await service.request(method, path, headers=ORIGIN)
            assert reply.headers["Access-Control-Allow-Origin"] == "*", path
            assert "Access-Control-Allow-Credentials" not in reply.headers
            exposed = set(reply.headers["Access-Control-Expose-Headers"].split(", "))
            assert {"ETag", "Retry-After", "X-Request-ID"} <= exposed
    stream = metrics.replace("metrics", "stream")
    async with service.session.get(service.url + stream, headers=ORIGIN) as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Encoding" not in reply.headers
        assert await reply.content.readuntil(b"\n\n")


async def test_preflights_are_answered(service: Service) -> None:
    asked = {**ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "if-none-match"}
    for path in ("/api/matches?limit=1", "/api/matches/any/metrics", "/api/matches/any/events", "/openapi.json"):
        reply = await service.request("OPTIONS", path, headers=asked)
        assert (reply.status, reply.text) == (204, "")
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        methods = {"GET", "HEAD", "POST"} if path.endswith("/events") else {"GET", "HEAD"}
        assert set(reply.headers["Access-Control-Allow-Methods"].split(", ")) == methods
        assert "If-None-Match" in reply.headers["Access-Control-Allow-Headers"]
        assert int(reply.headers["Access-Control-Max-Age"]) > 0
        plain = await service.request("OPTIONS", path)
        assert plain.status == 204
        assert {"GET", "OPTIONS"} <= set(plain.headers["Allow"].split(", "))
        assert ("POST" in plain.headers["Allow"]) == path.endswith("/events")
        assert "Access-Control-Allow-Methods" not in plain.headers


async def test_every_path_tells_all_of_its_methods(service: Service) -> None:
    router = service.app.router
    methods: dict[str, set[str]] = {}
    for resource in router.resources():
        methods.setdefault(resource.canonical, set()).update(route.method for route in resource)
    assert len(methods["/api/matches/{matchId}/events"] & {"GET", "POST", "OPTIONS"}) == 3
    for canonical, allowed in methods.items():
        path = re.sub(r"\{\w+\}", "x", canonical)
        for method in sorted(hdrs.METH_ALL - allowed - {"CONNECT"}):
            refused = await service.request(method, path)
            assert refused.status == 405, (method, path)
            assert set(refused.headers["Allow"].split(", ")) == allowed, (method, path)
        if "OPTIONS" in allowed:
            told = await service.request("OPTIONS", path, headers={"Access-Control-Request-Method": "POST"})
            assert set(told.headers["Allow"].split(", ")) == allowed
            assert set(told.headers["Access-Control-Allow-Methods"].split(", ")) == allowed - {"OPTIONS"}


async def test_pages_of_other_sites_may_do_nothing_but_read(service: Service) -> None:
    event = {"matchId": next(_matches), "eventType": "view"}
    for path in ("/api/events", "/api/events/bulk", f"/api/matches/{event['matchId']}/events"):
        asked = {**ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = await service.request("OPTIONS", path, headers=asked)
        assert "content-type" not in preflight.headers.get("Access-Control-Allow-Headers", "").lower()
        reply = await service.post(path, event, **ORIGIN)
        assert "Access-Control-Allow-Origin" not in reply.headers
    for path in ("/api/deadletters", "/api/status", "/api/receipts/none", "/metrics", "/", "/docs", "/none"):
        for method in ("GET", "OPTIONS"):
            asked = {**ORIGIN, **service.admin, "Access-Control-Request-Method": "GET"}
            reply = await service.request(method, path, headers=asked)
            assert "Access-Control-Allow-Origin" not in reply.headers, path
