"""Whatever clients send wrong: a 4xx problem that says what to mend, and no neighbour is lost."""

import asyncio
import gzip
import json
import zlib
from itertools import count
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from app.bodies.reading import read_body
from app.web.problems import Problem, problem_response
from app.web.timeouts import Pace
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

NDJSON = "application/x-ndjson"
NIL = "00000000-0000-0000-0000-000000000000"
GOOD = {"matchId": "m", "eventType": "view"}
_matches = (f"bad-input-{number}" for number in count())


def event(**fields: Any) -> bytes:
    """Return a valid view with some fields changed, or left out where the value is `...`."""
    changed = {name: value for name, value in (GOOD | fields).items() if value is not ...}
    return json.dumps(changed).encode()


def with_metadata(text: bytes) -> bytes:
    return b'{"matchId":"m","eventType":"view","metadata":%b}' % text


BAD_EVENTS = {
    "no object: number": (b"7", "$ must be a JSON object"),
    "no object: null": (b"null", "$ must be a JSON object"),
    "no object: string": (b'"goal"', "$ must be a JSON object"),
    "no object: array": (b"[]", "$ must be a JSON object"),
    "empty object": (b"{}", "$.matchId is required"),
    "no match": (event(matchId=...), "$.matchId is required"),
    "match is null": (event(matchId=None), "$.matchId must be a string"),
    "match is a number": (event(matchId=5), "$.matchId must be a string"),
    "match is empty": (event(matchId=""), "$.matchId must not be empty"),
    "match is too long": (event(matchId="x" * 129), "at most 128"),
    "control character in match": (event(matchId="a\x00b"), "control characters"),
    "C1 control character in match": (event(matchId="a\x85b"), "control characters"),
    "no type": (event(eventType=...), "$.eventType is required"),
    "unknown type": (event(eventType="golazo"), "'golazo' is not a known event type; known are"),
    "type of another case": (event(eventType="Goal"), "is not a known event type"),
    "type is a number": (event(eventType=1), "$.eventType must be"),
    "time without offset": (event(timestamp="2024-01-15T14:00:00"), "no offset; send ISO 8601"),
    "time is a number": (event(timestamp=1705327200), "$.timestamp must be a string, ISO 8601"),
    "time is no time": (event(timestamp="kick-off"), "ISO 8601"),
    "no such day": (event(timestamp="2024-02-30T14:00:00Z"), "no existing date"),
    "time in the far future": (event(timestamp="2999-01-01T00:00:00Z"), "more than 24 hours in the future"),
    "time before 2000": (event(timestamp="1970-01-01T00:00:00Z"), "before the year 2000"),
    "event id is no UUID": (event(eventId="1"), "$.eventId '1' is not a UUID"),
    "event id is a number": (event(eventId=1), "$.eventId must be a UUID"),
    "event id is the nil UUID": (event(eventId=NIL), "$.eventId is the nil UUID"),
    "event id has odd hyphens": (event(eventId="-".join(["0190a6e4"] * 4)), "is not a UUID"),
    "goal without team": (event(eventType="goal"), "$.teamId is required for goal"),
    "team is a boolean": (event(teamId=True), "$.teamId must be a string or an integer"),
    "team is a fraction": (event(teamId=1.5), "$.teamId 1.5 has a decimal point; send it as an integer or a string"),
    "player is a fraction": (event(playerId=217.0), "$.playerId 217.0 has a decimal point"),
    "replaces is no id": (event(metadata={"replaces": 5}), "$.metadata.replaces must be the eventId of the event"),
    "replaces is the nil UUID": (event(metadata={"replaces": "00000000-0000-0000-0000-000000000000"}), "nil UUID"),
    "team is too long": (event(teamId="9" * 65), "at most 64"),
    "team is a huge number": (event(teamId=10**80), "at most 64"),
    "team of a goal is empty": (event(eventType="goal", teamId=""), "$.teamId is required for goal"),
    "control character in player": (event(playerId="a\nb"), "$.playerId must not contain control characters"),
    "player is an object": (event(playerId={}), "$.playerId must be a string or an integer"),
    "metadata is an array": (event(metadata=[]), "$.metadata must be a JSON object"),
    "metadata is a string": (event(metadata="{}"), "$.metadata must be a JSON object"),
    "metadata is too large": (event(metadata={"a": "x" * 17_000}), "at most 16384"),
    "unknown field is too large": (event(extra="x" * 17_000), "at most 16384"),
    "metadata is nested too deep": (with_metadata(b'{"a":' * 17 + b"1" + b"}" * 17), "16 levels"),
    "nested without end": (with_metadata(b'{"a":' * 9_000 + b"1" + b"}" * 9_000), "nested too deep"),
    "reserved key": (event(metadata={"_unmapped": {}}), "$.metadata must not have the key _unmapped"),
    "retraction of nothing": (event(eventType="retraction"), "$.metadata.eventId is required"),
    "retraction of the nil UUID": (
        event(eventType="retraction", metadata={"eventId": NIL}),
        "$.metadata.eventId is the nil UUID",
    ),
    "second 60 within a day": (event(timestamp="2024-01-15T12:30:60Z"), "is no leap second"),
    "retraction of no UUID": (event(eventType="retraction", metadata={"eventId": "1"}), "$.metadata.eventId must be"),
    "NaN": (with_metadata(b'{"x":NaN}'), "NaN is no JSON number"),
    "Infinity": (with_metadata(b'{"x":-Infinity}'), "Infinity is no JSON number"),
    "lone surrogate": (with_metadata(b'{"x":"\\ud83d"}'), "unpaired surrogate"),
    "lone surrogate in match": (b'{"matchId":"\\udc00","eventType":"view"}', "unpaired surrogate"),
    "not UTF-8": (with_metadata(b'{"x":"\xff"}'), "UTF-8"),
    "leading zero": (with_metadata(b'{"x":01}'), "not valid JSON"),
    "bare control character": (with_metadata(b'{"x":"a\tb"}'), "not valid JSON"),
    "single quotes": (b"{'matchId':'m'}", "not valid JSON"),
    "no JSON at all": (b"goal!", "not valid JSON"),
}
each_bad_event = pytest.mark.parametrize(("text", "says"), BAD_EVENTS.values(), ids=BAD_EVENTS.keys())


@each_bad_event
async def test_alone_it_is_refused(service: Service, text: bytes, says: str) -> None:
    before = service.appended
    if text[:1] in (b"{", b"["):
        reply = await service.post("/api/events", text)
        assert_problem(reply, 400, says=says if text != b"[]" else "send at least one")
    assert_problem(await service.post("/api/events", b"[%b]" % text), 400, says=says)
    assert_problem(await service.post("/api/events", text, content_type=NDJSON), 400, says=says)
    assert_problem(await service.post("/api/events/bulk", text, content_type=NDJSON), 400, says=says)
    assert service.appended == before


@each_bad_event
async def test_its_neighbours_are_taken(service: Service, text: bytes, says: str) -> None:
    match_id = next(_matches)
    good = event(matchId=match_id)
    array = await service.post("/api/events", b"[%b, %b, %b]" % (good, text, good))
    for_lines = b"%b\n%b\n%b\n" % (good, text, good)
    ndjson = await service.post("/api/events", for_lines, content_type=NDJSON)
    bulk = await service.post("/api/events/bulk", for_lines, content_type=NDJSON)
    for reply in (array, ndjson, bulk):
        _assert_only_one_rejected(reply, index=1, says=says)
    metrics = await service.metrics(match_id, total=6)
    assert metrics["eventsByType"] == {"view": 6}


def _assert_only_one_rejected(reply: Reply, *, index: int, says: str) -> None:
    assert reply.status == 202, reply.text
    assert reply.text.isascii()
    assert (reply.json["accepted"], reply.json["rejected"]) == (2, 1)
    [error] = reply.json["errors"]
    assert error["index"] == index
    assert any(says in f"{fault['field']} {fault['message']}" for fault in error["errors"]), error


async def test_one_bad_in_a_thousand(service: Service) -> None:
    match_id = next(_matches)
    events = [event(matchId=match_id)] * 1000
    events[617] = event(matchId=match_id, eventType="golazo")
    reply = await service.post("/api/events", b"[%b]" % b",".join(events))
    assert reply.status == 202
    assert (reply.json["accepted"], reply.json["rejected"]) == (999, 1)
    assert len(set(reply.json["eventIds"])) == 999
    assert [error["index"] for error in reply.json["errors"]] == [617]
    await service.metrics(match_id, total=999)


async def test_every_fault_of_every_event_is_reported(service: Service) -> None:
    bad = {"eventId": "x", "matchId": "", "eventType": "goal", "timestamp": "now", "playerId": [], "metadata": 1}
    one = assert_problem(await service.post("/api/events", bad), 400)
    expected = {"$.eventId", "$.matchId", "$.teamId", "$.timestamp", "$.playerId", "$.metadata"}
    assert {fault["field"] for fault in one["errors"]} == expected
    many = assert_problem(await service.post("/api/events", [bad, 5, bad]), 400)
    assert [error["index"] for error in many["errors"]] == [0, 1, 2]
    assert {fault["field"] for fault in many["errors"][2]["errors"]} == expected


@attrs.frozen
class Body:
    """A body that is refused as a whole."""

    data: bytes
    status: int
    says: str
    content_type: str | None = "application/json"
    headers: dict[str, str] = attrs.field(factory=dict)


def encoded(data: bytes, encoding: str, *, status: int = 400, says: str) -> Body:
    return Body(data, status, says, headers={"Content_Encoding": encoding})


TEXT = event()
BOMB = gzip.compress(b"\0" * (64 << 20), compresslevel=1)
BAD_BODIES = {
    "empty": Body(b"", 400, "at least one"),
    "empty, no content type": Body(b"", 400, "at least one", content_type=None),
    "blank": Body(b" \r\n\t", 400, "at least one"),
    "empty array": Body(b"[]", 400, "at least one"),
    "empty NDJSON": Body(b"\n\n \n", 400, "at least one", content_type=NDJSON),
    "not JSON": Body(b"goal!", 400, "neither a JSON object"),
    "half an object": Body(TEXT[:-1], 400, "not valid JSON"),
    "half an array": Body(b"[%b" % TEXT, 400, "not valid JSON"),
    "two objects": Body(TEXT * 2, 400, "not valid JSON"),
    "trailing comma": Body(b"[%b,]" % TEXT, 400, "not valid JSON"),
    "unclosed string": Body(b'[%b, {"matchId":"m}]' % TEXT, 400, "not valid JSON"),
    "brackets without end": Body(b"[" * 500_000, 400, "do not add up"),
    "UTF-16": Body(TEXT.decode().encode("utf-16"), 400, "JSON"),
    "binary": Body(bytes(range(256)), 400, "JSON"),
    "form": Body(b"matchId=m", 415, "send one of", content_type="application/x-www-form-urlencoded"),
    "plain text": Body(TEXT, 415, "application/json", content_type="text/plain"),
    "XML": Body(b"<goal/>", 415, "application/json", content_type="application/xml"),
    "Latin-1": Body(TEXT, 415, "UTF-8", content_type="application/json; charset=iso-8859-1"),
    "unknown encoding": encoded(TEXT, "br", status=415, says="gzip, deflate or identity"),
    "two encodings": encoded(TEXT, "gzip, deflate", status=415, says="gzip, deflate or identity"),
    "not gzip": encoded(TEXT, "gzip", says="damaged"),
    "not deflate": encoded(b"\xff" + TEXT, "deflate", says="damaged"),
    "truncated gzip": encoded(gzip.compress(TEXT)[:-5], "gzip", says="too early"),
    "truncated deflate": encoded(zlib.compress(TEXT)[:-5], "deflate", says="too early"),
    "empty gzip": encoded(b"", "gzip", says="too early"),
    "gzip of nothing": encoded(gzip.compress(b""), "gzip", says="at least one"),
    "gzip with a wrong checksum": encoded(gzip.compress(TEXT)[:-8] + b"\0" * 8, "gzip", says="damaged"),
    "garbage after gzip": encoded(gzip.compress(TEXT) + b"garbage", "gzip", says="followed by bytes that are no gzip"),
    "too large": Body(b"[%b]" % b",".join([TEXT] * 40_000), 413, "split the request"),
    "gzip bomb of 1 GiB": encoded(BOMB * 16, "gzip", status=413, says="after decompression"),
    "empty idempotency key": Body(TEXT, 400, "Idempotency-Key", headers={"Idempotency_Key": ""}),
    "long idempotency key": Body(TEXT, 400, "255 characters", headers={"Idempotency_Key": "k" * 256}),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_bodies_that_are_refused_whole(service: Service, body: Body) -> None:
    before = service.appended
    for path in ("/api/events", "/api/matches/m/events"):
        reply = await service.post(path, body.data, content_type=body.content_type, **body.headers)
        assert_problem(reply, body.status, says=body.says)
    assert service.appended == before


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("ack=", "ack must be durable or stored"),
        ("ack=both", "ack must be durable or stored"),
        ("ack=stored&timeout=0", "timeout must be a number"),
        ("ack=stored&timeout=61", "timeout must be a number"),
        ("timeout=nan", "timeout must be a number"),
        ("timeout=soon", "timeout must be a number"),
    ],
)
async def test_a_promise_that_is_not_known_is_not_made(service: Service, query: str, says: str) -> None:
    before = service.appended
    for path in ("/api/events", "/api/events/bulk", "/api/matches/m/events"):
        assert_problem(await service.post(f"{path}?{query}", TEXT, content_type=NDJSON), 400, says=says)
    assert service.appended == before


@pytest.mark.parametrize(
    ("match_id", "says"),
    [
        ("a%00b", "control"),
        ("%C2%85", "control"),
        ("x" * 129, "at most 128"),
        ("a%FFb", "UTF-8"),
        ("x" * 10_000, "shorten"),
    ],
)
async def test_bad_match_ids_in_the_path(service: Service, match_id: str, says: str) -> None:
    head = f"POST /api/matches/{match_id}/events HTTP/1.1\r\nHost: x\r\nContent-Length: {len(TEXT)}\r\n\r\n"
    assert_problem(await service.send_raw(head.encode() + TEXT), 400, says=says)


async def test_every_fault_of_path_query_and_headers_is_reported(service: Service) -> None:
    before = service.appended
    path = f"/api/matches/{'x' * 129}/events?akc=stored&ack=both&timeout=0"
    reply = await service.post(path, TEXT, content_type=NDJSON, Idempotency_Key="x" * 256)
    problem = assert_problem(reply, 400, says="did you mean ack?")
    assert [fault["field"] for fault in problem["errors"]] == ["akc", "matchId", "Idempotency-Key", "ack", "timeout"]
    assert service.appended == before


@pytest.mark.parametrize("path", ["/api/events", "/api/events/bulk", "/api/matches/m/events"])
async def test_pages_of_other_sites_send_nothing(service: Service, path: str) -> None:
    """Without a content type a browser asks nobody before it sends; with one of ours it does, and is refused."""
    before = service.appended
    for origin in ("Origin: https://evil.example", "Origin: null"):
        head_ = f"POST {path} HTTP/1.1\r\nHost: x\r\n{origin}\r\nContent-Length: {len(TEXT)}\r\n\r\n"
        assert_problem(await service.send_raw(head_.encode() + TEXT), 415, says="Content-Type")
    assert service.appended == before


async def test_path_and_body_disagree(service: Service) -> None:
    reply = await service.post("/api/matches/other/events", TEXT)
    assert_problem(reply, 400, says="$.matchId differs from the match in the path")


async def test_wrong_paths_and_methods(service: Service) -> None:
    assert_problem(await service.get("/api/nothing"), 404)
    assert_problem(await service.post("/api/matches//events", TEXT), 404)
    reply = await service.get("/api/events")
    assert_problem(reply, 405, says="POST")
    assert reply.headers["Allow"] == "POST"


def head(*fields: str) -> bytes:
    lines = ["POST /api/events HTTP/1.1", "Host: x", "Content-Type: application/json", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


MALFORMED = {
    "length is no number": head("Content-Length: abc") + TEXT,
    "negative length": head("Content-Length: -5") + TEXT,
    "two lengths": head("Content-Length: 5", "Content-Length: 6") + TEXT,
    "length and chunks": head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "bad chunk size": head("Transfer-Encoding: chunked") + b"xyz\r\n" + TEXT,
    "length too short": head(f"Content-Length: {len(TEXT) - 3}") + TEXT,
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "huge header": head(f"X-Filler: {'x' * 20_000}", "Content-Length: 0"),
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_http(service: Service, request_: bytes) -> None:
    before = service.appended
    assert_problem(await service.send_raw(request_), 400)
    assert service.appended == before
    assert (await service.get("/health")).status == 200


@pytest.mark.parametrize("path", ["/api/events", "/api/events/bulk"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_connection_cut_within_the_body_takes_nothing(service: Service, path: str, encoding: str) -> None:
    before = service.appended
    data = gzip.compress(TEXT) if encoding == "gzip" else TEXT
    fields = f"Content-Type: {NDJSON}\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(data) + 1}"
    await service.send_and_leave(f"POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode(), data)
    chunked = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
    await service.send_and_leave(chunked.encode(), b"%x\r\n%b\r\n" % (len(TEXT), TEXT))
    match_id = next(_matches)
    assert (await service.post("/api/events", event(matchId=match_id))).status == 202
    await service.metrics(match_id, total=1)
    assert service.appended == before + 1


async def test_a_body_that_stalls_times_out() -> None:
    async def handler(request: web.Request) -> web.Response:
        try:
            await read_body(request, limit=1000, pace=Pace(within_s=0.05))
        except Problem as problem:
            return problem_response(request, problem)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        waiting = asyncio.Event()

        async def body() -> Any:
            yield b"{"
            await waiting.wait()

        async with client.post("/", data=body(), headers={"Content-Type": "application/json"}) as response:
            assert response.status == 408
            waiting.set()
