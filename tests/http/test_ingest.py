"""Events in: every way to send them, and what is promised in return."""

import gzip
import json
import uuid
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from app.config import Config
from tests.http.problem import assert_problem
from tests.http.service import Service, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

NDJSON = "application/x-ndjson"
NOBODY = "clickhouse://127.0.0.1:1/none"
_matches = (f"ingest-{number}" for number in count())


@pytest.fixture
def match_id() -> str:
    """A match that no other test uses."""
    return next(_matches)


def view(match_id: str, **fields: Any) -> dict[str, Any]:
    return {"matchId": match_id, "eventType": "view", **fields}


def as_lines(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


async def test_a_single_event(service: Service, match_id: str) -> None:
    event_id = str(uuid.uuid4())
    reply = await service.post("/api/events", view(match_id, eventId=event_id.upper()))
    assert reply.status == 202
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json.keys() == {"eventId", "status", "timestamp", "receipt"}
    assert reply.json["eventId"] == event_id
    assert reply.json["status"] == "accepted"
    received = datetime.fromisoformat(reply.json["timestamp"])
    assert abs(datetime.now(UTC) - received) < timedelta(minutes=1)
    await service.metrics(match_id, total=1)


async def test_many_events(service: Service, match_id: str) -> None:
    events = [view(match_id, eventId=str(uuid.uuid4())) for _ in range(600)]
    reply = await service.post("/api/events", events)
    assert reply.status == 202
    assert reply.json["eventIds"] == [event["eventId"] for event in events]
    assert (reply.json["accepted"], reply.json["rejected"], reply.json["errors"]) == (600, 0, [])
    assert reply.json["receipt"]
    await service.metrics(match_id, total=600)


@pytest.mark.parametrize(
    "content_type", [NDJSON, "application/ndjson", "application/jsonl", f"{NDJSON}; charset=utf-8"]
)
async def test_lines(service: Service, match_id: str, content_type: str) -> None:
    body = b"\n" + as_lines([view(match_id)] * 3).replace(b"\n", b"\r\n") + json.dumps(view(match_id)).encode()
    reply = await service.post("/api/events", body, content_type=content_type)
    assert (reply.status, reply.json["accepted"]) == (202, 4)
    await service.metrics(match_id, total=4)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8", None])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\n\t "])
async def test_json_with_and_without_content_type(
    service: Service, match_id: str, content_type: str | None, mark: bytes
) -> None:
    one = json.dumps(view(match_id)).encode()
    for body in (one, b"[%b]" % one):
        assert (await service.post("/api/events", mark + body, content_type=content_type)).status == 202
    await service.metrics(match_id, total=2)


@pytest.mark.parametrize("path", ["/api/events", "/api/events/bulk"])
@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", lambda body: gzip.compress(body[:20]) + gzip.compress(body[20:])),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body, wbits=-15)),
        ("identity", bytes),
    ],
)
async def test_compressed_bodies(service: Service, match_id: str, path: str, encoding: str, compress: Any) -> None:
    body = compress(as_lines([view(match_id)] * 50))
    reply = await service.post(path, body, content_type=NDJSON, Content_Encoding=encoding)
    assert (reply.status, reply.json["accepted"]) == (202, 50)
    await service.metrics(match_id, total=50)


async def test_the_match_may_come_from_the_path(service: Service, match_id: str) -> None:
    path = f"/api/matches/{match_id}/events"
    assert (await service.post(path, {"eventType": "view"})).status == 202
    assert (await service.post(path, [{"eventType": "view"}, view(match_id)])).json["accepted"] == 2
    mixed = await service.post(path, [view("another"), view(match_id)])
    assert (mixed.json["accepted"], mixed.json["errors"][0]["errors"][0]["field"]) == (1, "$.matchId")
    await service.metrics(match_id, total=4)


async def test_match_ids_of_any_script_in_the_path(service: Service) -> None:
    encoded = "%D9%85%2F%20%F0%9F%98%80"
    assert (await service.post(f"/api/matches/{encoded}/events", {"eventType": "view"})).status == 202
    assert (await service.post("/api/events", view("م/ 😀"))).status == 202
    await service.metrics(encoded, total=2)


async def test_one_event_a_request_over_one_connection(service: Service, match_id: str) -> None:
    for number in range(30):
        reply = await service.post("/api/events", {"matchId": match_id, "eventType": "pass", "teamId": number % 2})
        assert reply.status == 202
    metrics = await service.metrics(match_id, total=30)
    assert metrics["eventsByTeam"] == {"0": 15, "1": 15}


async def test_one_event_a_request_over_new_connections(service: Service, match_id: str) -> None:
    for _ in range(15):
        async with ClientSession() as session, session.post(f"{service.url}/api/events", json=view(match_id)) as reply:
            assert reply.status == 202
    body = json.dumps(view(match_id)).encode()
    head = f"POST /api/events HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(15):
        assert (await service.send_raw(head, body)).status == 202
    await service.metrics(match_id, total=30)


async def test_a_body_that_comes_byte_by_byte(service: Service, match_id: str) -> None:
    body = json.dumps(view(match_id)).encode()
    head = f"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    reply = await service.send_raw(head, *(bytes([byte]) for byte in body))
    assert reply.status == 202
    await service.metrics(match_id, total=1)


@pytest.mark.parametrize("path", ["/api/events", "/api/events/bulk"])
async def test_an_idempotency_key_makes_a_request_repeatable(service: Service, match_id: str, path: str) -> None:
    body = as_lines([view(match_id), {"bad": 1}, view(match_id)])
    for key in ("first", "first", "second"):
        reply = await service.post(path, body, content_type=NDJSON, Idempotency_Key=key)
        assert (reply.status, reply.json["accepted"]) == (202, 2)
    await service.metrics(match_id, total=4)


async def test_an_idempotency_key_for_one_event(service: Service, match_id: str) -> None:
    ids = [
        (await service.post("/api/events", view(match_id), Idempotency_Key=key)).json["eventId"]
        for key in ("a", "a", "b")
    ]
    assert ids[0] == ids[1] != ids[2]
    assert uuid.UUID(ids[0]).version == 5
    await service.metrics(match_id, total=2)


@pytest.mark.parametrize("request_id", ["abc-1.2_3", "x" * 128])
async def test_a_sane_request_id_comes_back(service: Service, request_id: str) -> None:
    headers = {"X-Request-ID": request_id}
    for path in ("/health", "/api/nothing", "/api/events"):
        assert (await service.get(path, headers=headers)).headers["X-Request-ID"] == request_id


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "<script>", "é"])
async def test_another_request_id_is_replaced(service: Service, request_id: str) -> None:
    reply = await service.get("/health", headers={"X-Request-ID": request_id})
    assert uuid.UUID(reply.headers["X-Request-ID"])


async def test_a_long_stream_of_lines(service: Service, match_id: str) -> None:
    lines = 30_000

    async def body() -> AsyncIterator[bytes]:
        for _ in range(0, lines, 100):
            yield as_lines([view(match_id)] * 100)

    reply = await service.post("/api/events/bulk", body(), content_type=NDJSON)
    assert (reply.status, reply.json["accepted"], reply.json["durableLines"]) == (202, lines, lines)
    assert "eventIds" not in reply.json
    await service.metrics(match_id, total=lines)


async def test_a_stream_may_begin_with_a_byte_order_mark(service: Service, match_id: str) -> None:
    body = b"\xef\xbb\xbf" + as_lines([view(match_id)])
    assert (await service.post("/api/events/bulk", body, content_type=NDJSON)).status == 202


async def test_of_a_stream_the_first_hundred_errors_are_listed(service: Service, match_id: str) -> None:
    body = as_lines([view(match_id), {}] * 150)
    reply = await service.post("/api/events/bulk", body, content_type=NDJSON)
    assert (reply.json["accepted"], reply.json["rejected"]) == (150, 150)
    assert [error["index"] for error in reply.json["errors"]] == list(range(1, 200, 2))


async def test_a_stream_takes_only_lines(service: Service) -> None:
    assert_problem(await service.post("/api/events/bulk", [view("m")]), 415, says="application/x-ndjson")


async def test_a_line_too_long_stops_the_stream_where_it_can_go_on(
    service: Service, config: Config, match_id: str
) -> None:
    lines = as_lines([view(match_id)] * 7_000) + b"\n"
    too_long = b'"%b"\n' % (b"x" * config.max_body_bytes)
    reply = await service.post("/api/events/bulk", lines + too_long + lines, content_type=NDJSON)
    problem = assert_problem(reply, 413, says="split")
    assert (problem["accepted"], problem["rejected"], problem["durableLines"]) == (7_000, 0, 7_001)
    await service.metrics(match_id, total=7_000)


async def test_a_damaged_stream_says_how_far_it_came(service: Service, match_id: str) -> None:
    whole = as_lines([view(match_id)] * 18_000)
    damaged = gzip.compress(whole)
    damaged = damaged[: len(damaged) // 2]
    reply = await service.post("/api/events/bulk", damaged, content_type=NDJSON, Content_Encoding="gzip")
    problem = assert_problem(reply, 400, says="too early")
    durable = problem["durableLines"]
    assert 0 < durable < 18_000
    assert problem["accepted"] == durable
    rest = whole.split(b"\n", durable)[-1]
    assert (await service.post("/api/events/bulk", rest, content_type=NDJSON)).status == 202
    await service.metrics(match_id, total=18_000)


async def test_a_stream_that_stops_under_a_key_says_under_which_key_to_go_on(service: Service, match_id: str) -> None:
    body = gzip.compress(as_lines([view(match_id)]))[:-4]
    for key, says in ({"Idempotency_Key": "k"}, "under another Idempotency-Key"), ({}, "can be sent alone"):
        reply = await service.post("/api/events/bulk", body, content_type=NDJSON, Content_Encoding="gzip", **key)
        assert_problem(reply, 400, says=says)


async def test_before_anything_is_read_a_service_that_stops_refuses(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path, port=0, monitor=None, clickhouse_url=NOBODY, shutdown_timeout_s=0.5)
    async with running(config) as service:
        assert (await service.post("/api/events", view("m"))).status == 202
        await service.context.shards.drain(timeout_s=0.1)
        for path in ("/api/events", "/api/matches/m/events", "/api/events/bulk"):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {NDJSON}\r\nContent-Length: 1000000\r\n\r\n"
            reply = await service.send_raw(head.encode())
            assert_problem(reply, 503, says="shutting down")
            assert int(reply.headers["Retry-After"]) >= 1
        assert service.appended == 1
