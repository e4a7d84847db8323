"""What clients send, and leave out, on the wire: half-closed connections, odd chunks, ``Expect``, transfer codings."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import attrs
import pytest
from aiohttp import web

from app.config import Config
from tests.http.problem import assert_problem
from tests.http.service import DEADLINE_S, Reply, Service, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE_S = 5
"""Far less than the 30 s for which a body may be silent."""

_matches = (f"wire-{number}" for number in count())


def event(match_id: str = "wire") -> bytes:
    return json.dumps({"matchId": match_id, "eventType": "view"}).encode()


def head(*fields: str, path: str = "/api/events", method: str = "POST", type_: str = "application/json") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", f"Content-Type: {type_}", *fields, "", ""]).encode()


def whole(body: bytes, *fields: str, **options: str) -> bytes:
    return head(f"Content-Length: {len(body)}", *fields, **options) + body


@attrs.frozen
class Wire:
    """One connection, from the client's end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def send_no_more(self) -> None:
        """Half-close, as ``nc -N`` and ``shutdown(SHUT_WR)`` do."""
        self.writer.write_eof()

    async def reply(self) -> Reply:
        """Return the next response."""
        async with asyncio.timeout(AT_ONCE_S):
            first, *fields = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = dict(field.split(": ", 1) for field in fields)
            body = await self.reader.readexactly(int(headers.get("Content-Length", "0")))
        return Reply(int(first.split(" ")[1]), headers, body.decode())

    async def is_ended(self) -> bool:
        """Say whether the service sends no more."""
        async with asyncio.timeout(AT_ONCE_S):
            with suppress(ConnectionError):
                return await self.reader.read(1) == b""
            return True


@asynccontextmanager
async def wire(service: Service) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(service.host, service.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_who_sends_no_more_gets_the_answer(service: Service) -> None:
    match_id = next(_matches)
    async with wire(service) as client:
        await client.send(whole(event(match_id)))
        client.send_no_more()
        assert (await client.reply()).status == 202
        assert await client.is_ended()
    await service.metrics(match_id, total=1)


async def test_who_sends_all_of_it_in_one_packet_and_no_more_gets_the_answer(service: Service) -> None:
    """As `nc -N` does: the end is there before the service looks."""

    def exchange() -> bytes:
        with socket.create_connection((service.host, service.port), timeout=DEADLINE_S) as sock:
            sock.sendall(whole(event()))
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(1 << 16), b""))

    answers = await asyncio.gather(*(asyncio.to_thread(exchange) for _ in range(20)))
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 202"] * 20


async def test_every_request_sent_before_the_end_is_answered_in_order(service: Service) -> None:
    async with wire(service) as client:
        gets = [head(path=path, method="GET") for path in ("/health", "/none", "/api/status", "/ready")]
        await client.send(gets[0] + whole(event()) + gets[1] + gets[2] + whole(event()) + gets[3])
        client.send_no_more()
        assert [(await client.reply()).status for _ in range(6)] == [200, 202, 404, 200, 202, 200]
        assert await client.is_ended()


async def test_a_large_answer_is_sent_whole_to_who_sends_no_more(service: Service) -> None:
    async with wire(service) as client:
        await client.send(head(path="/openapi.json", method="GET"))
        client.send_no_more()
        assert json.loads((await client.reply()).text)["openapi"]
        assert await client.is_ended()


async def test_who_sends_no_more_after_an_answer_is_let_go(service: Service) -> None:
    async with wire(service) as client:
        await client.send(whole(event()))
        assert (await client.reply()).status == 202
        client.send_no_more()
        assert await client.is_ended()


@pytest.mark.parametrize(
    "begun",
    [whole(event())[:-1], head("Content-Length: 5"), head("Transfer-Encoding: chunked") + b"5\r\nhe"],
    ids=["all but a byte", "nothing", "half a chunk"],
)
@pytest.mark.parametrize("pause", [False, True])
async def test_who_sends_no_more_of_its_body_is_told(service: Service, begun: bytes, pause: bool) -> None:
    before = service.appended
    async with wire(service) as client:
        await client.send(begun)
        if pause:
            await asyncio.sleep(0.05)
        client.send_no_more()
        assert_problem(await client.reply(), 400, says="before its announced length")
        assert await client.is_ended()
    assert service.appended == before


def elsewhere(config: Config, name: str, **changes: Any) -> Config:
    """Return settings of a second service: one process has one embedded engine; nobody waits for the other store."""
    nowhere = "clickhouse://u@127.0.0.1:1/none"
    path = config.data_dir / name
    return attrs.evolve(config, data_dir=path, clickhouse_url=nowhere, shutdown_timeout_s=1, **changes)


async def test_what_came_of_a_body_is_read_before_its_reader_hears_that_it_was_cut_off(config: Config) -> None:
    came: list[bytes] = []

    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(0.1)  # the end is there before the first look
        try:
            while piece := await request.content.readany():
                came.append(piece)
        except web.RequestPayloadError:
            return web.Response(text="told")
        return web.Response(text="taken for whole")

    async with (
        running(elsewhere(config, "cut"), routes=[web.post("/cut", handler)]) as service,
        wire(service) as client,
    ):
        await client.send(head("Content-Length: 100000", path="/cut") + b"line\n" * 24)
        client.send_no_more()
        assert (await client.reply()).text == "told"
        assert await client.is_ended()
    assert b"".join(came) == b"line\n" * 24


async def test_whole_lines_count_that_came_before_the_end(service: Service) -> None:
    match_id = next(_matches)
    async with wire(service) as client:
        await client.send(head("Content-Length: 100000", path="/api/events/bulk", type_="application/x-ndjson"))
        await client.send((event(match_id) + b"\n") * 24 + event(match_id)[:-1])
        client.send_no_more()
        problem = assert_problem(await client.reply(), 400, says="before its announced length")
        assert (problem["accepted"], problem["durableLines"]) == (24, 24)
        assert await client.is_ended()
    await service.metrics(match_id, total=24)


async def test_a_viewer_that_sends_no_more_is_taken_to_have_left(service: Service) -> None:
    match_id = next(_matches)
    assert (await service.post("/api/events", event(match_id))).status == 202
    await service.metrics(match_id, total=1)
    async with wire(service) as client:
        await client.send(head(path=f"/api/matches/{match_id}/stream", method="GET"))
        assert b" 200 " in await client.reader.readuntil(b"\r\n\r\n")
        client.send_no_more()
        async with asyncio.timeout(AT_ONCE_S):
            await client.reader.read()


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nhello0\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"\x00"])
@pytest.mark.parametrize("path", ["/api/events", "/api/events/bulk"])
async def test_chunks_that_turn_out_to_be_malformed_are_answered_at_once(
    service: Service, path: str, rest: bytes
) -> None:
    before = service.appended
    async with wire(service) as client:
        await client.send(head("Transfer-Encoding: chunked", path=path, type_="application/x-ndjson"))
        await client.send(b"1\r\n{\r\n")
        await asyncio.sleep(0.05)
        await client.send(rest + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert_problem(await client.reply(), 400, says="chunks are malformed")
        assert await client.is_ended()
    assert service.appended == before


async def test_chunks_that_are_malformed_after_the_answer_end_the_connection(service: Service) -> None:
    async with wire(service) as client:
        await client.send(head("Transfer-Encoding: chunked", path="/none"))
        assert (await client.reply()).status == 404
        await client.send(b"zz\r\n")
        assert await client.is_ended()


async def test_malformed_http_behind_a_request_is_answered_after_it(service: Service) -> None:
    async with wire(service) as client:
        await client.send(whole(event()))
        assert (await client.reply()).status == 202
        await client.send(b"no http at all\r\n\r\n" + whole(event()))
        assert_problem(await client.reply(), 400, says="not valid HTTP")
        assert await client.is_ended()


EXPECTING = ("Expect: 100-continue", "Content-Length: 20000000")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(*EXPECTING), 413),
        (head(*EXPECTING, type_="image/png"), 415),
        (head(*EXPECTING, type_="application/json;((("), 415),
        (head(*EXPECTING, "Content-Encoding: br"), 415),
        (head(*EXPECTING, "Content-Encoding: gzip", "Content-Encoding: deflate"), 415),
        (head(*EXPECTING, "Content-Encoding: br", path="/api/events/bulk", type_="application/x-ndjson"), 415),
        (head(*EXPECTING, path="/api/events/bulk"), 415),
        (head(*EXPECTING, path="/api/nothing"), 404),
        (head(*EXPECTING, path="/api/matches"), 405),
        (head(*EXPECTING, method="PUT"), 405),
        (head(*EXPECTING, "Idempotency-Key: " + "k" * 300), 400),
        (head(*EXPECTING, path="/api/events?ack=soon"), 400),
        (head(*EXPECTING, path="/api/matches/%01/events"), 400),
        (head(*EXPECTING, path="/api/deadletters/x/retry"), 401),
    ],
)
async def test_what_the_head_already_refuses_is_refused_before_the_body_is_asked_for(
    service: Service, request_head: bytes, status: int
) -> None:
    async with wire(service) as client:
        await client.send(request_head)
        reply = await client.reply()
        assert_problem(reply, status)
        assert reply.headers["Connection"] == "close"


@pytest.mark.parametrize("path", ["/api/events", "/api/events/bulk", "/api/matches/wire/events"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_waits_to_be_asked_for_is_asked_for_and_taken(
    service: Service, path: str, chunked: bool
) -> None:
    body = event()
    size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    type_ = "application/x-ndjson" if path.endswith("bulk") else "application/json"
    async with wire(service) as client:
        for _ in range(2):
            await client.send(head(size, "Expect: 100-Continue", path=path, type_=type_))
            asked = await client.reply()
            assert (asked.status, asked.headers) == (100, {})
            await client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
            assert (await client.reply()).status == 202


async def test_without_room_a_body_is_not_asked_for(config: Config) -> None:
    full = elsewhere(config, "full", wal_min_free_bytes=1 << 62)
    async with running(full) as service, wire(service) as client:
        await client.send(head("Content-Length: 5", "Expect: 100-continue"))
        assert_problem(await client.reply(), 503)


@pytest.mark.parametrize("expectation", ["200-ok", "", "100-continue, x"])
async def test_another_expectation_is_passed_over(service: Service, expectation: str) -> None:
    async with wire(service) as client:
        await client.send(whole(event(), f"Expect: {expectation}"))
        assert (await client.reply()).status == 202


async def test_a_client_of_http_1_0_is_sent_no_100(service: Service) -> None:
    body = event()
    async with wire(service) as client:
        await client.send(
            head(f"Content-Length: {len(body)}", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
        )
        await client.send(body)
        assert (await client.reply()).status == 202


@pytest.mark.parametrize(
    "coding",
    [
        "gzip, chunked",
        "gzip",
        "deflate, chunked",
        "identity",
        "xchunked",
        "chunked;a=b",
        "chunked, gzip",
        "\xff, chunked",
    ],
)
@pytest.mark.parametrize("apart", [False, True])
async def test_a_transfer_coding_but_chunked_is_not_known(service: Service, coding: str, apart: bool) -> None:
    before = service.appended
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(event()), event())
    first = head(f"Transfer-Encoding: {coding}").decode().encode("latin-1")
    async with wire(service) as client:
        await client.send(first if apart else first + body)
        reply = await client.reply()
        assert_problem(reply, 501, says="transfer coding")
        assert reply.headers["Connection"] == "close"
        assert apart or await client.is_ended()
    assert service.appended == before


async def test_chunked_is_known_in_any_case(service: Service) -> None:
    async with wire(service) as client:
        await client.send(head("transfer-encoding: Chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(event()), event()))
        assert (await client.reply()).status == 202
