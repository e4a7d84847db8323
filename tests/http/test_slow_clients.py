"""Clients that are slow, silent or gone: each is cut off in the end, and the others do not notice."""

import asyncio
import json
import os
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import attrs
import pytest
import pytest_asyncio
from aiohttp import web

from app.bodies.reading import read_body
from app.config import Config
from app.dashboard import handlers as pages
from app.handlers.reading import stream
from app.web.timeouts import Pace, Timeouts
from tests.e2e.process import ROOT, Process
from tests.http.problem import assert_problem
from tests.http.service import DEADLINE_S, Service, eventually, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUTS = Timeouts(idle_s=1.0, head_s=0.4, linger_s=0.4, unread_s=0.4)
PACE = Pace(min_bytes=100, within_s=0.5)
EVENT = json.dumps({"matchId": "slow", "eventType": "view"}).encode()
HEAD = f"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(EVENT)}\r\n"
IDLE = 5000
SMALL_BUFFER = 4096


async def paced(request: web.Request) -> web.Response:
    """Take a body, with less patience than the service's own routes."""
    return web.Response(text=str(len(await read_body(request, limit=1 << 20, pace=PACE))))


async def remainder(request: web.Request) -> web.Response:
    """Answer with more than the kernel takes, and less than aiohttp waits for."""
    assert request.transport is not None
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    response = web.Response(body=b"x" * 48 * 1024)
    response.force_close()
    return response


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(config: Config) -> AsyncIterator[Service]:
    routes = [web.post("/paced", paced), web.get("/remainder", remainder)]
    async with running(config, routes=routes, reuse=False, timeouts=TIMEOUTS) as service:
        yield service


@pytest.fixture(autouse=True)
def impatient_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SEND_TIMEOUT_S", 0.4)
    monkeypatch.setattr(pages, "SEND_TIMEOUT_S", 0.4)


@attrs.frozen
class Client:
    """A connection of its own, with as small a buffer as there can be."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, host: str, port: int) -> "Client":
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return cls(*await asyncio.open_connection(sock=sock, limit=1024))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, *, size: int = 1, pause_s: float = 0.05) -> None:
        """Send data in small pieces, until its end or until nobody takes them any more."""
        with suppress(ConnectionError):
            for start in range(0, len(data), size):
                await self.send(data[start : start + size])
                await asyncio.sleep(pause_s)

    async def answer(self) -> bytes:
        """Read until the service closes the connection."""
        received = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_S):
                while piece := await self.reader.read(1 << 16):
                    received += piece
        return received

    def vanish(self) -> None:
        """Leave with RST, as a process that is killed does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(service: Service, count: int = 1) -> AsyncIterator[list[Client]]:
    clients: list[Client] = []
    try:
        while len(clients) < count:
            clients.append(await Client.connect(service.host, service.port))
        yield clients
    finally:
        for client in clients:
            await client.close()


def sockets(pid: int | str = "self") -> int:
    """Count a process's open sockets."""
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(entry.readlink()).startswith("socket:")
    return count


@pytest_asyncio.fixture(loop_scope="module")
async def nothing_leaks(service: Service) -> AsyncIterator[None]:
    """Afterwards, no more sockets are open than before."""
    assert (await service.get("/health")).status == 200
    before = sockets()
    yield

    async def all_closed() -> bool:
        return sockets() <= before

    await eventually(all_closed, lambda: f"{sockets()} sockets, {before} before")


@asynccontextmanager
async def others(service: Service) -> AsyncIterator[None]:
    """Meanwhile, somebody else posts and reads; every answer is what it should be.

    On a thread of its own: in the loop it shares with the service, a client that rests for 10 ms would rest for as long
    as the loop is busy, and rightly be cut off for it.
    """
    stop = threading.Event()
    connection = HTTPConnection(service.host, service.port, timeout=DEADLINE_S)

    def ask(method: str, path: str, body: bytes | None = None) -> int:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        with connection.getresponse() as response:
            response.read()
            return response.status

    def work() -> int:
        done = 0
        while not stop.wait(0.01):
            assert ask("POST", "/api/events", EVENT) == 202
            assert ask("GET", "/health") == 200
            done += 1
        return done

    with closing(connection):
        assert await asyncio.to_thread(ask, "GET", "/health") == 200  # so the service's end is open, too
        async with asyncio.TaskGroup() as group:
            working = group.create_task(asyncio.to_thread(work))
            try:
                yield
            finally:
                stop.set()
    assert working.result() > 0


async def drip_headers(client: Client) -> bytes:
    await client.drip(HEAD.encode() + b"X-Slow: " + b"x" * 2000)
    return await client.answer()


async def drip_after_a_request(client: Client) -> bytes:
    await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await client.reader.readuntil(b"}")
    return await drip_headers(client)


async def say_nothing(client: Client) -> bytes:
    return await client.answer()


async def say_nothing_more(client: Client) -> bytes:
    await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await client.reader.readuntil(b"}")
    return await client.answer()


async def stop_within_a_pipelined_request(client: Client) -> bytes:
    await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")
    assert await client.reader.readuntil(b"}")
    return await client.answer()


@pytest.mark.usefixtures("nothing_leaks")
@pytest.mark.parametrize(
    "behave",
    [drip_headers, drip_after_a_request, say_nothing, say_nothing_more, stop_within_a_pipelined_request],
    ids=lambda behave: behave.__name__,
)
async def test_who_never_ends_its_headers_is_cut_off(
    service: Service, behave: Callable[[Client], Awaitable[bytes]]
) -> None:
    async with connected(service, 20) as clients, others(service):
        answers = await asyncio.gather(*map(behave, clients))
    assert answers == [b""] * len(clients)


async def test_slow_headers_that_end_in_time_are_served(service: Service) -> None:
    async with connected(service) as [client]:
        await client.drip(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", size=10, pause_s=0.01)
        assert (await client.answer()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.usefixtures("nothing_leaks")
async def test_who_sends_its_body_too_slowly_gets_408_and_is_cut_off(service: Service) -> None:
    async def post(client: Client) -> bytes:
        await client.send(b"POST /paced HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        _, answer = await asyncio.gather(client.drip(b"x" * 1000), client.answer())
        return answer

    async with connected(service, 20) as clients, others(service):
        answers = await asyncio.gather(*map(post, clients))
    assert [answer.partition(b" ")[2][:3] for answer in answers] == [b"408"] * len(clients)


async def test_a_body_that_keeps_the_pace_may_take_long(service: Service) -> None:
    async with connected(service) as [client]:
        await client.send(b"POST /paced HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n")
        began = asyncio.get_running_loop().time()
        await client.drip(b"x" * 1000, size=25, pause_s=0.04)
        assert asyncio.get_running_loop().time() - began > PACE.within_s
        assert (await client.answer()).endswith(b"1000")


@pytest.mark.usefixtures("nothing_leaks")
async def test_who_goes_on_with_its_body_after_the_answer_is_cut_off(service: Service) -> None:
    async def post(client: Client) -> bytes:
        await client.send(b"POST /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        _, answer = await asyncio.gather(client.drip(b"x" * 1000), client.answer())
        return answer

    async with connected(service, 20) as clients, others(service):
        answers = await asyncio.gather(*map(post, clients))
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 404"}


@pytest.mark.usefixtures("nothing_leaks")
async def test_who_vanishes_leaves_nothing_behind(service: Service) -> None:
    before = service.appended
    assert (await service.post("/api/events", EVENT)).status == 202
    await service.metrics("slow", total=service.appended)
    beginnings = [
        b"POST /api/ev",
        HEAD.encode() + b"\r\n" + EVENT[:-1],
        HEAD.replace("Content-Length", "X").encode() + b"Transfer-Encoding: chunked\r\n\r\nff\r\n",
        b"GET /api/matches/slow/stream HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 30,
        b"GET /api/matches/slow/metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 5,
    ]
    async with connected(service, 10 * len(beginnings)) as clients:
        for number, client in enumerate(clients):
            await client.send(beginnings[number % len(beginnings)])
        for number, client in enumerate(clients):
            if number // len(beginnings) % 2:
                await asyncio.sleep(0)
            client.vanish()
        async with others(service):
            await asyncio.sleep(0.2)
    assert service.appended > before

    async def nobody() -> bool:
        assert (await service.post("/api/events", EVENT)).status == 202
        return service.context.live.viewers == 0

    await eventually(nobody, lambda: f"{service.context.live.viewers} viewers")


@pytest.mark.usefixtures("nothing_leaks")
@pytest.mark.parametrize("path", ["/openapi.json", "/remainder"])
async def test_who_does_not_take_its_answers_is_cut_off(service: Service, path: str) -> None:
    async with others(service):
        before = sockets()
        async with connected(service, 5) as clients:
            for client in clients:
                client.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 300)
                client.writer.transport.pause_reading()
            await all_cut_off(before, clients)


@pytest.mark.usefixtures("nothing_leaks")
@pytest.mark.parametrize("path", ["/api/matches/unread/stream", "/matches/unread/stream"])
async def test_a_viewer_who_does_not_read_is_cut_off_and_the_others_read_on(service: Service, path: str) -> None:
    goal = {"matchId": "unread", "eventType": "goal", "teamId": "1", "metadata": {"text": "x" * 16_000}}
    assert (await service.post("/api/events", goal)).status == 202
    live = service.context.live
    async with service.session.get(service.url + path) as reading:
        before = sockets()
        async with connected(service, 3) as clients:
            for client in clients:
                await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await client.reader.readuntil(b"\r\n")
                client.writer.transport.pause_reading()

            async def only_one_is_left() -> bool:
                assert (await service.post("/api/events", goal)).status == 202
                assert await reading.content.readany()
                return live.viewers == 1

            await eventually(only_one_is_left, lambda: f"{live.viewers} viewers")
            await all_cut_off(before, clients)


async def all_cut_off(before: int, clients: list[Client]) -> None:
    """Wait until of these connections only the clients' own ends are open; a client that does not read cannot tell."""

    async def only_ours() -> bool:
        return sockets() <= before + len(clients)

    await eventually(only_ours, lambda: f"{sockets()} sockets, {before} before")


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of all connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * IDLE + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"at most {hard} files can be opened here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("nothing_leaks", "many_files")
async def test_thousands_of_idle_connections_hinder_nobody_and_are_closed(service: Service) -> None:
    async with others(service), connected(service, IDLE) as clients:
        assert await asyncio.gather(*(client.answer() for client in clients)) == [b""] * IDLE


async def test_a_request_that_came_in_time_is_served_however_late_the_loop_sees_it(service: Service) -> None:
    async with others(service):
        for _ in range(3):
            await asyncio.sleep(0.1)
            time.sleep(1.5 * TIMEOUTS.idle_s)


async def accepted(service: Service) -> bool:
    return (await service.post("/api/events", EVENT)).status == 202


async def test_beyond_its_connections_new_ones_are_refused_and_old_ones_served(config: Config) -> None:
    # One process has one embedded engine; nobody waits for the other, which is not there.
    nowhere = "clickhouse://u@127.0.0.1:1/none"
    alone = attrs.evolve(config, data_dir=config.data_dir / "full", clickhouse_url=nowhere, shutdown_timeout_s=1)
    patient = Timeouts(idle_s=DEADLINE_S)
    async with running(alone, connections_max=30, timeouts=patient) as service:
        await eventually(lambda: accepted(service), lambda: "not recovered")
        async with others(service), connected(service, 28) as clients:

            async def refused() -> bool:
                reply = await service.send_raw(b"")
                assert_problem(reply, 503, says="Connect again")
                assert int(reply.headers["Retry-After"]) > 0
                return True

            await eventually(refused, lambda: "not refused")
            for path in ("/health", "/ready", "/health/ready", "/health/startup", "/metrics"):
                probe = await service.send_raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert (probe.status, probe.headers["Connection"]) == (200, "close"), path
            assert (await service.send_raw(HEAD.encode() + b"\r\n" + EVENT)).status == 503
            for client in clients:
                await client.send(HEAD.encode() + b"\r\n" + EVENT)
                assert (await client.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 202 ")

        async def welcome() -> bool:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                return (await service.send_raw(HEAD.encode() + b"\r\n" + EVENT)).status == 202
            return False

        await eventually(welcome, lambda: "refused although there is room")


async def test_at_the_limit_of_open_files_the_process_lives_and_serves_who_is_connected(tmp_path: Path) -> None:
    settings = {"PORT": 0, "DATA_DIR": tmp_path, "MONITOR": "", "LOG_FORMAT": "json"}
    environ = os.environ | {f"FANFINITY_{name}": str(value) for name, value in settings.items()}
    started = await asyncio.create_subprocess_exec(
        "sh", "-c", 'ulimit -n 700 && exec "$0" -m app serve', sys.executable,
        cwd=ROOT, env=environ, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    process = Process(started)
    try:
        host, _, port = (await process.url()).removeprefix("http://").rpartition(":")
        first = await Client.connect("127.0.0.1", int(port))
        assert host

        async def acknowledged() -> None:
            await first.send(HEAD.encode() + b"\r\n" + EVENT)
            await first.reader.readuntil(b"HTTP/1.1 202 ")

        await acknowledged()
        before = sockets(started.pid)
        flood = [await Client.connect("127.0.0.1", int(port)) for _ in range(1500)]
        for _ in range(100):
            await acknowledged()
        refused = await asyncio.gather(*(client.answer() for client in flood[-100:]))
        assert {answer[:12] for answer in refused} <= {b"HTTP/1.1 503", b""}
        for client in flood:
            await client.close()

        async def all_closed() -> bool:
            await acknowledged()
            return sockets(started.pid) <= before

        await eventually(all_closed, lambda: f"{sockets(started.pid)} sockets, {before} before")
        again = await Client.connect("127.0.0.1", int(port))
        await again.send(HEAD.encode() + b"\r\n" + EVENT)
        assert (await again.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 202 ")
        refused_at = await process.event("connections refused")
        assert refused_at["open"] == refused_at["open_max"] < 700
        await first.close()
        await again.close()
    finally:
        started.terminate()
        code = await process.ends()
    assert code == 0
