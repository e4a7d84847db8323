"""Heads of requests that mean harm: whatever a header holds, nothing fails, and nothing takes long."""

import gc
import json
import time
from collections.abc import Iterator

import pytest

from app.web.head.checks import READ
from tests.http.problem import assert_problem
from tests.http.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE_BYTES = 8000
"""Nearly the longest header that is read."""

LOOP_MAX_S = 0.05

EVENT = json.dumps({"matchId": "hostile", "eventType": "view"}).encode()
NO_EVENT = b" " * len(EVENT)
"""A body that is read whole, and refused before anything waits for the disk."""

REQUESTS = {
    "post": f"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: {len(EVENT)}\r\n",
    "bulk": f"POST /api/events/bulk HTTP/1.1\r\nHost: x\r\nContent-Length: {len(EVENT)}\r\n",
    "list": "GET /api/matches HTTP/1.1\r\nHost: x\r\n",
    "page": "GET / HTTP/1.1\r\nHost: x\r\n",
    "file": "GET /static/css/base.css HTTP/1.1\r\nHost: x\r\n",
    "metrics": "GET /metrics HTTP/1.1\r\nHost: x\r\n",
    "letters": "GET /api/deadletters HTTP/1.1\r\nHost: x\r\n",
    "options": "OPTIONS /api/matches HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Method: GET\r\n",
    "none": "GET /none HTTP/1.1\r\nHost: x\r\n",
}
UNITS = (
    *('"', "(", ",", ";", "=", "\\", ":", " ", "a", "9", "-", "%", "*", "/", "[", "@", "\x7f"),
    *(
        '("',
        "a;",
        'W/"',
        'a="',
        '"a",',
        '"a" ',
        "1 ",
        "1,",
        "1:",
        "a=b;",
        '"\\',
        "*=",
        "a*0=",
        ", ",
        ";q=0",
        "0-9,",
        "é",
    ),
)
STARTS = {
    "Content-Type": ("application/json;", 'a/b;x="'),
    "Accept": ("application/openmetrics-text;version=", "text/plain;version=1."),
    "Accept-Encoding": ("gzip;q=",),
    "Authorization": ("Bearer ",),
    "Cookie": ("a=", 'a="'),
    "Forwarded": ("for=",),
    "Range": ("bytes=",),
    **dict.fromkeys(("If-None-Match", "If-Match"), ('W/"',)),
    **dict.fromkeys(("If-Modified-Since", "If-Unmodified-Since", "If-Range"), ("Mon, 01 Jan 2024 00:00:00 ",)),
}
"""Beginnings behind which a parser looks further, by header."""

ODD = (
    *(
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 99999999999999999999:00:00 GMT",
        "1 Jan 0 0:0:0",
    ),
    *("Mon, 01 Jan 0001 00:00:00 +9999", "Mon, 01 Jan 9999 23:59:59 -9999", "Mon, 99 Jan 2024 99:99:99 GMT"),
    *(
        "bytes=-0",
        "bytes=0-0,1-1",
        "bytes=9-1",
        "bytes=",
        "bytes=" + "9" * 30 + "-",
        "lines=1-2",
        "bytes=-" + "9" * 5000,
    ),
    *("application/openmetrics-text;version=x.1.1", "application/openmetrics-text;version=", "text/plain;version=9"),
    *("application/openmetrics-text;version=1.0.0;escaping=x", "[::1", "http://[", "x:99999999", "x:y@z:", "null"),
)


def values(header: str) -> Iterator[str]:
    for start in ("", *STARTS.get(header, ())):
        for unit in UNITS:
            yield start + unit * ((VALUE_BYTES - len(start)) // len(unit.encode()))
    yield from ODD


def raw(request: str, header: str, value: bytes, *, body: bytes = NO_EVENT) -> bytes:
    lines = request
    if header in ("Host", "Access-Control-Request-Method"):
        lines = "\r\n".join(line for line in lines.split("\r\n") if not line.startswith(f"{header}:"))
    sent = body if request.startswith("POST") else b""
    return lines.encode() + header.encode() + b": " + value + b"\r\n\r\n" + sent


REFERRED = (*READ, "Referer", "User-Agent", "Upgrade", "Sec-WebSocket-Key", "Via", "Date", "TE", "Expect", "Connection")


@pytest.fixture
def spared_collector() -> Iterator[None]:
    """What was there before is exempt from garbage collection, as what a start loads is in the service."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.usefixtures("spared_collector")
async def test_no_header_however_odd_fails_or_takes_long(service: Service, name: str) -> None:
    slow, failed = [], []
    for header in REFERRED:
        for value in values(header) if header in READERS[name] else ODD:
            began = time.thread_time()
            reply = await service.send_raw(raw(REQUESTS[name], str(header), value.encode()))
            took = time.thread_time() - began
            if took > LOOP_MAX_S:
                slow.append((header, value[:40], took))
            if reply.status >= 500 and not (name == "page" and reply.status == 503):
                failed.append((header, value[:60], reply.status))
    assert (slow, failed) == ([], [])


READERS = {
    "post": ("Content-Type", "Content-Encoding", "Idempotency-Key", "X-Request-ID", "Origin", "Expect"),
    "bulk": ("Content-Type", "Content-Encoding"),
    "list": ("Accept-Encoding", "If-None-Match", "Cookie"),
    "page": ("Accept", "If-None-Match", "Cookie"),
    "file": (
        "Accept-Encoding",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "If-Range",
        "Range",
    ),
    "metrics": ("Accept",),
    "letters": ("Authorization",),
    "options": ("Access-Control-Request-Method", "Access-Control-Request-Headers", "Origin"),
    "none": ("Accept", "Host", "Forwarded", "X-Forwarded-For"),
}


@pytest.mark.parametrize("header", READ)
@pytest.mark.parametrize("value", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"application/json;x=\xfe"])
async def test_a_header_that_is_no_text_is_refused_by_name(service: Service, header: str, value: bytes) -> None:
    before = service.appended
    for name in ("post", "bulk", "list", "file", "metrics", "none"):
        reply = await service.send_raw(raw(REQUESTS[name], str(header), value))
        problem = assert_problem(reply, 400, says="UTF-8")
        assert [fault["field"] for fault in problem["errors"]] == [header]
    assert service.appended == before


async def test_every_header_that_is_no_text_is_named(service: Service) -> None:
    odd = b"\r\nOrigin: \xff\r\nX-Request-ID: \xff\r\nUser-Agent: \xff"
    reply = await service.send_raw(raw(REQUESTS["list"], "Accept", b"\xff" + odd))
    problem = assert_problem(reply, 400)
    assert {fault["field"] for fault in problem["errors"]} == {"Accept", "Origin", "X-Request-ID"}


async def test_a_header_that_nobody_reads_may_hold_anything(service: Service) -> None:
    for header in ("User-Agent", "Referer", "X-Odd"):
        assert (await service.send_raw(raw(REQUESTS["list"], header, b"\xff\xfe"))).status == 200


async def test_an_idempotency_key_may_be_any_text_and_stands_once(service: Service) -> None:
    first = await service.send_raw(raw(REQUESTS["post"], "Idempotency-Key", "ключ".encode(), body=EVENT))
    again = await service.send_raw(raw(REQUESTS["post"], "Idempotency-Key", "ключ".encode(), body=EVENT))
    assert (first.status, again.status) == (202, 202)
    assert first.json["eventId"] == again.json["eventId"]
    twice = raw(REQUESTS["post"], "Idempotency-Key", b"a\r\nIdempotency-Key: b")
    assert_problem(await service.send_raw(twice), 400, says="must be given once")


@pytest.mark.parametrize(
    "target",
    [
        *("/api/matches?limit=%ff", "/api/matches?%ff=1", "/api/matches?cursor=%ed%a0%80", "/api/matches/%ff/metrics"),
        *("/api/matches/%ed%a0%80/events", "/matches/%ff", "/static/%ff", "/api/receipts/%ff", "/api/receipts/%00"),
        *("/%", "/%ff", "//x", "/api/matches?a=%", "http://x/%ff", "http://x:99999/", "http://[::1/", "x:y", "?"),
        *("/api/matches/a%2fb/metrics", "/api/matches?limit=" + "9" * 5000, "/api/matches?limit=%d9%a3", "*"),
    ],
)
async def test_no_target_however_odd_fails(service: Service, target: str) -> None:
    for method in ("GET", "POST", "OPTIONS", "CONNECT"):
        reply = await service.send_raw(f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert 200 <= reply.status < 500, (method, reply.text)
