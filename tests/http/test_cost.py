"""What one request may cost: how many events it may have, how large they may be, how long they may take to come."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app.bodies import room
from app.config import Config
from app.schemas.elements import EVENTS_MAX
from app.schemas.events import EVENT_MAX_BYTES
from tests.http.problem import assert_problem
from tests.http.service import Service, eventually, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"
NDJSON = "application/x-ndjson"
_matches = (f"cost-{number}" for number in count())


@pytest.fixture
def match_id() -> str:
    """A match that no other test uses."""
    return next(_matches)


def pieces_of(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


async def appended(service: Service, number: int) -> None:
    """Return when the service has made so many events durable."""

    async def condition() -> bool:
        return service.appended == number

    await eventually(condition, lambda: f"{service.appended} of {number}")


async def holding(service: Service, least: int) -> None:
    """Return when bodies hold so many bytes."""

    async def condition() -> bool:
        return service.context.room.taken >= least

    await eventually(condition, lambda: f"{service.context.room.taken} of {least}")


def lines_of(match_id: str, number: int) -> bytes:
    return b'{"matchId":"%b","eventType":"view"}\n' % match_id.encode() * number


@pytest.mark.parametrize("element", [b"{}", b"1", b"null"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_too_many_events_are_refused_and_none_taken(service: Service, element: bytes, encoding: str) -> None:
    before = service.appended
    for body, content_type in (
        (b"[" + b",".join([element] * (EVENTS_MAX + 1)) + b"]", JSON),
        (b"\n".join([element] * (EVENTS_MAX + 1)), NDJSON),
    ):
        data = gzip.compress(body) if encoding == "gzip" else body
        reply = await service.post("/api/events", data, content_type=content_type, Content_Encoding=encoding)
        assert_problem(reply, 413, says="/api/events/bulk")
    assert service.appended == before


@pytest.mark.parametrize(
    "body",
    [
        b"{%b}" % b",".join(b'"k%d":1' % number for number in range(30_000)),
        b'{"matchId":"m","eventType":"view"%b}' % (b" " * EVENT_MAX_BYTES),
        b'{"matchId":"m","eventType":"view","metadata":{"a":"%b"}}' % (b"x" * EVENT_MAX_BYTES),
    ],
)
async def test_an_event_that_is_too_long_is_refused_unread(service: Service, body: bytes) -> None:
    assert_problem(await service.post("/api/events", body), 400, says=f"longer than the {EVENT_MAX_BYTES} bytes")
    both = b"[%b,%b]" % (body, lines_of("m", 1))
    reply = await service.post("/api/events", both)
    assert (reply.status, reply.json["accepted"], reply.json["rejected"]) == (202, 1, 1)
    for path in ("/api/events", "/api/events/bulk"):
        reply = await service.post(path, lines_of("m", 1) + body + b"\n" + lines_of("m", 1), content_type=NDJSON)
        assert (reply.status, reply.json["accepted"], reply.json["errors"][0]["index"]) == (202, 2, 1)


@pytest.mark.parametrize(("path", "explained"), [("/api/events", 1_000), ("/api/events/bulk", 100)])
async def test_of_many_rejected_events_all_are_told_by_number(
    service: Service, match_id: str, path: str, explained: int
) -> None:
    texts = [lines_of(match_id, 1).strip(), b"{}", b'{"matchId":"m","eventType":"nope"}', b"1"]
    kinds = [number * 7919 % 11 % 4 for number in range(5_000)]
    reply = await service.post(path, b"\n".join(texts[kind] for kind in kinds), content_type=NDJSON)
    good = {number for number, kind in enumerate(kinds) if kind == 0}
    assert (reply.status, reply.json["accepted"], reply.json["rejected"]) == (202, len(good), 5_000 - len(good))
    assert reply.json["errorsTruncated"] is True
    assert len(reply.json["errors"]) == explained
    named = {error["index"] for error in reply.json["errors"]}
    for first, last in reply.json["rejectedIndexes"]:
        assert named.isdisjoint(range(first, last + 1))
        named.update(range(first, last + 1))
    assert named == set(range(5_000)) - good
    await service.metrics(match_id, total=len(good))


async def test_when_none_is_valid_the_numbers_are_told_too(service: Service) -> None:
    reply = await service.post("/api/events", b"[" + b",".join([b"{}"] * 1_500) + b"]")
    problem = assert_problem(reply, 400)
    assert (len(problem["errors"]), problem["errorsTruncated"]) == (1_000, True)
    assert problem["rejectedIndexes"] == [[1_000, 1_499]]


class Stream:
    """A request to ``/bulk`` whose lines are sent when a test says so."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def body(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    def send(self, piece: bytes | None) -> None:
        self._pieces.put_nowait(piece)


async def test_lines_of_a_stream_are_durable_while_it_goes_on(service: Service, match_id: str) -> None:
    stream = Stream()
    before = service.appended
    posting = asyncio.create_task(service.post("/api/events/bulk", stream.body(), content_type=NDJSON))
    for number in (1, 2, 3):
        stream.send(lines_of(match_id, 1) + b'{"matchId":"')
        await appended(service, before + number)
        stream.send(match_id.encode() + b'","eventType":"nope"}\n')
    await service.metrics(match_id, total=3)
    assert not posting.done()
    stream.send(None)
    reply = await posting
    assert (reply.json["accepted"], reply.json["rejected"], reply.json["durableLines"]) == (3, 3, 6)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_of_a_stream_that_breaks_off_whole_lines_are_kept(service: Service, match_id: str, encoding: str) -> None:
    whole = lines_of(match_id, 24) + b'{"matchId":"'
    data = whole
    if encoding == "gzip":
        compressor = gzip.zlib.compressobj(wbits=31)  # type: ignore[attr-defined]
        data = compressor.compress(whole) + compressor.flush(gzip.zlib.Z_SYNC_FLUSH)  # type: ignore[attr-defined]
    fields = f"Content-Type: {NDJSON}\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(data) + 9}"
    await service.send_and_leave(f"POST /api/events/bulk HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode(), data)
    await service.metrics(match_id, total=24)


@pytest.mark.parametrize(("size", "spaces"), [(1, 120_000), (2, 800_000), (3, 800_000), (100, 800_000)])
async def test_chunks_of_a_byte_or_two_are_refused(service: Service, match_id: str, size: int, spaces: int) -> None:
    body = b"[" + b" " * spaces + lines_of(match_id, 1).strip() + b"]"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces_of(body, size)) + b"0\r\n\r\n"
    head = f"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = await service.send_raw(head.encode(), chunks)
    if size > 2:
        assert reply.status == 202
    else:
        assert_problem(reply, 400, says="send larger ones")


async def test_a_short_body_may_come_in_any_chunks(service: Service, match_id: str) -> None:
    body = lines_of(match_id, 1_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = "POST /api/events/bulk HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = await service.send_raw(head.encode(), chunks)
    assert (reply.status, reply.json["accepted"]) == (202, 1_000)


async def test_a_byte_order_mark_within_a_stream_is_named(service: Service, match_id: str) -> None:
    body = lines_of(match_id, 1) + b"\xef\xbb\xbf" + lines_of(match_id, 1)
    for path in ("/api/events", "/api/events/bulk"):
        reply = await service.post(path, body, content_type=NDJSON)
        assert (reply.status, reply.json["accepted"]) == (202, 1)
        assert "byte order mark" in reply.json["errors"][0]["errors"][0]["message"]


async def test_bytes_after_a_compressed_body_are_called_what_they_are(service: Service) -> None:
    data = gzip.compress(b'{"matchId":"m","eventType":"view"}') + b"\nmore"
    reply = await service.post("/api/events", data, Content_Encoding="gzip")
    assert_problem(reply, 400, says="followed by bytes that are no gzip")


async def test_a_body_that_finds_no_room_is_refused_and_small_ones_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PATIENCE_S", 0.2)
    async with running(Config(data_dir=tmp_path, port=0, monitor=None, bodies_max_bytes=1 << 20)) as service:
        stream = Stream()
        first = asyncio.create_task(service.post("/api/events", stream.body()))
        stream.send(b"[" + b" " * 700_000)
        await holding(service, 700_000)
        refused = await service.post("/api/events", b" " * 100_000 + b"{}")
        assert_problem(refused, 503, says="no room for this body")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await service.post("/api/events", {"matchId": "m", "eventType": "view"})).status == 202
        stream.send(json.dumps({"matchId": "m", "eventType": "view"}).encode() + b"]")
        stream.send(None)
        reply: Any = await first
        assert (reply.status, reply.json["accepted"]) == (202, 1)
        assert service.context.room.taken == 0
