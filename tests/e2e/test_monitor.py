"""The aiomonitor console of a running service, over the telnet protocol, and its web page."""

import asyncio
import os
import pty
import re
import signal
import socket
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from app.access.keys import ApiKey
from app.access.principal import Scope
from app.web.admin_token import AdminToken
from tests.clickhouse import free_port
from tests.e2e.process import DEADLINE_S, Process, Start

IAC, WILL, SB, SE, TTYPE, NAWS, IS = b"\xff", b"\xfb", b"\xfa", b"\xf0", b"\x18", b"\x1f", b"\x00"
WHERE_IS_THE_CURSOR = b"\x1b[6n"
PROMPT = "fanfinity >>> "
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\xff..?|\r")


class Console:
    """A client that negotiates terminal type and size, as aiomonitor's console wants it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.shown = ""
        """All that it has shown so far."""

    async def greet(self, columns: int) -> str:
        size = IAC + SB + NAWS + bytes((0, columns, 0, 50)) + IAC + SE
        terminal = IAC + SB + TTYPE + IS + b"xterm" + IAC + SE
        self._writer.write(IAC + WILL + NAWS + size + IAC + WILL + TTYPE + terminal)
        return await self.shows(PROMPT)

    async def run(self, command: str, *, until: str) -> str:
        self.type(f"{command}\r")
        return await self.shows(until)

    def type(self, keys: str) -> None:
        self._writer.write(keys.encode())

    async def shows(self, text: str) -> str:
        shown = ""
        async with asyncio.timeout(DEADLINE_S):
            while text not in shown:
                part = await self._reader.read(4096)
                assert part, f"the console closed the connection without {text!r}: {shown!r}"
                if WHERE_IS_THE_CURSOR in part:
                    self._writer.write(b"\x1b[1;1R")
                shown += ESCAPES.sub("", part.decode("latin-1"))
        self.shown += shown
        return shown


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as soon as the console listens: aiomonitor says that it started a moment before."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def console(port: int, *, columns: int = 160) -> AsyncIterator[Console]:
    reader, writer = await _connect(port)
    try:
        one = Console(reader, writer)
        await one.greet(columns)
        yield one
    finally:
        writer.close()


def two_free_ports() -> int:
    """The first of two neighbouring ports that are free."""
    while True:
        port = free_port()
        if _is_free(port + 1):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def send_one(http: aiohttp.ClientSession, url: str) -> None:
    event = {"matchId": "derby", "eventType": "cheer"}
    async with http.post(f"{url}/api/events", json=event) as reply:
        assert reply.status == 202


def token_in(tmp_path: Path) -> str:
    return AdminToken.read(tmp_path / "data").secret


async def test_its_commands_show_and_flush_the_shards(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}", CHECKPOINT_INTERVAL_MS=600_000)
    url = await service.url()
    await service.event("clickhouse ready")
    await send_one(http, url)
    async with http.get(f"{url}/api/status") as reply:
        assert (await reply.json())["accounting"]["pending"] == 1
    async with console(port) as monitor:
        assert "appended" in await monitor.run("shards", until="ClickHouse (embedded) up")
        assert "segments" in await monitor.run("wal", until="accepting")
        await monitor.run("viewers", until="0 viewers of streams")
        await monitor.run(f"login {token_in(tmp_path)}", until="logged in as admin-token")
        assert "FANFINITY_MONITOR" in await monitor.run("config", until="FANFINITY_SHUTDOWN_DELAY_S")
        assert "derby" in await monitor.run("matches", until="1 matches")
        assert "put aside" in await monitor.run("deadletters", until="0 open, 0 requeued, 0 discarded")
        await monitor.run("flush", until="ClickHouse (embedded) up")
        async with http.get(f"{url}/api/status") as reply:
            accounting = (await reply.json())["accounting"]
        assert (accounting["pending"], accounting["confirmed"]) == (0, 1)
        await monitor.run("flush 1", until="ClickHouse (embedded) up")
        await monitor.run("flush 9", until="there is no such shard")
        await monitor.run("flush x", until="not a valid integer")
        await monitor.run("pause 1", until="paused by admin-token")
        async with http.get(f"{url}/ready") as reply:
            assert "shard 1 by admin-token" in (await reply.json())["checks"]["pauses"]
        await monitor.run("flush 1", until="failed: shard 1 is paused by admin-token")
        await monitor.run("pause 9", until="there is no such shard")
        assert "paused" not in await monitor.run("resume 1", until="ClickHouse (embedded) up")
        headers = {"Authorization": f"Bearer {token_in(tmp_path)}"}
        async with http.get(f"{url}/api/acts", headers=headers) as reply:
            acts = [(act["act"], act["subject"], act["address"]) for act in (await reply.json())["acts"]]
        assert acts[:2] == [("resume", "shard 1", "console"), ("flush", "shard 1", "console")]
        await monitor.run("flush --help", until="Store and confirm")
        assert await service.ends(signal.SIGTERM) == 0


async def test_without_a_login_it_shows_counts_only(start: Start, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    port = two_free_ports()
    key, line = ApiKey.new("boss", [Scope.ADMIN])
    reader, reader_line = ApiKey.new("viewer", [Scope.READ])
    service = await start(MONITOR=f"127.0.0.1:{port}", API_KEYS=f"{line.line()},{reader_line.line()}")
    await service.url()
    async with console(port) as one, console(port) as other:
        naming = ("ps", "p", "pst", "where 1", "wt 1", "stacktrace")
        for command in ("config", "flush", "pause 0", "resume 0", "deadletters", "matches", *naming):
            await one.run(command, until="failed: log in first")
        await one.run(f"login {reader}", until="failed: this is neither the admin token")
        await one.run(f"login {key}", until="logged in as boss")
        await one.run("matches", until="0 matches")
        await other.run("matches", until="failed: log in first")
        await one.run("logout", until="logged out")
        await one.run("matches", until="failed: log in first")
        for _ in range(4):
            await other.run("login wrong", until="failed: this is neither the admin token")
        await one.run(f"login {key}", until="failed: too many logins were wrong")
    assert await service.ends(signal.SIGTERM) == 0
    log = "\n".join(service.lines)
    assert "a login of the console or of its web page was wrong" in log
    assert not any(secret in log for secret in (key, reader, "wrong "))


async def test_names_that_one_has_seen_are_completed_for_no_other(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}")
    url = await service.url()
    await service.event("clickhouse ready")
    await send_one(http, url)
    async with console(port) as one, console(port) as other:
        await one.run(f"login {token_in(tmp_path)}", until="logged in as admin-token")
        await one.run("matches", until="1 matches")
        for each in (one, other):
            each.shown = ""
            each.type("matches de\t")
        await one.shows("rby")  # a terminal may be sent only what is added to "de"
        await asyncio.sleep(0.5)  # as long as that takes, and more
        await other.run("", until="failed: log in first")
        assert "rby" not in other.shown
    assert await service.ends(signal.SIGTERM) == 0


async def test_a_flush_that_cannot_end_gives_the_prompt_back(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = two_free_ports()
    away = f"clickhouse://127.0.0.1:{free_port()}/gone"
    service = await start(MONITOR=f"127.0.0.1:{port}", CLICKHOUSE_URL=away)
    await send_one(http, await service.url())
    async with console(port) as monitor:
        await monitor.run(f"login {token_in(tmp_path)}", until="logged in as admin-token")
        await monitor.run("flush", until="the rest is kept, and goes on by itself")
        await monitor.run("viewers", until="0 viewers of streams")
    assert await service.ends(signal.SIGTERM) == 0


async def test_a_narrow_terminal_gets_what_fits(start: Start) -> None:
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}")
    await service.url()
    async with console(port, columns=80) as monitor:
        shown = await monitor.run("shards", until="ClickHouse (embedded)")
        table = [line for line in shown.splitlines() if line.startswith(("+", "|"))]
        assert table
        assert all(len(line) <= 80 for line in table)
        assert "on disk only" not in shown
        assert "pending" in shown
    assert await service.ends(signal.SIGTERM) == 0


async def test_tasks_fit_a_narrow_terminal(start: Start, tmp_path: Path) -> None:
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}")
    await service.url()
    async with console(port, columns=80) as monitor:
        await monitor.run(f"login {token_in(tmp_path)}", until="logged in as admin-token")
        shown = await monitor.run("ps", until="store-gate")
        table = [line for line in shown.splitlines() if line.startswith(("+", "|"))]
        assert "coroutine" in table[1]
        assert all(len(line) <= 80 for line in table)
        await monitor.run("ps-terminated", until="since terminated")
    assert await service.ends(signal.SIGTERM) == 0


async def test_the_service_goes_on_without_it_where_its_port_is_taken(
    start: Start, http: aiohttp.ClientSession
) -> None:
    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        service = await start(MONITOR=f"127.0.0.1:{port}")
        url = await service.url()
        line = await service.event("monitor not started")
        assert (line["address"], line["error"]) == (f"127.0.0.1:{port}", "Address already in use")
        async with http.get(f"{url}/health") as reply:
            assert reply.status == 200
        assert await service.ends(signal.SIGTERM) == 0


REMOVED = ("signal", "cancel", "console")


async def test_no_command_of_aiomonitor_can_end_the_service_or_a_task(start: Start, tmp_path: Path) -> None:
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}")
    await service.url()
    async with console(port) as monitor:
        helped = await monitor.run("help", until="where-terminated (wt)")
        listed = set(re.findall(r"^  ([a-z-]+)(?: |$)", helped.replace("\r", ""), re.MULTILINE))
        assert {"shards", "wal", "deadletters", "flush", "help", "exit", "ps", "where", "stacktrace"} <= listed
        assert listed.isdisjoint(REMOVED)
        await monitor.run("signal SIGUSR2", until="No such command 'signal'")
        await monitor.run("cancel 1", until="No such command 'cancel'")
        await monitor.run("ca 1", until="No such command 'ca'")
        await monitor.run("console", until="No such command 'console'")
        await monitor.run(f"login {token_in(tmp_path)}", until="logged in as admin-token")
        await monitor.run("p", until="flusher shard 1")
    assert await service.ends(signal.SIGTERM) == 0


def forged(port: int) -> bytes:
    """What a browser sends for a page's fetch(…, {method: "POST", mode: "no-cors", body}): telnet is in the body."""
    body = IAC + WILL + TTYPE + IAC + SB + TTYPE + IS + b"xterm" + IAC + SE + b"\rflush\rsignal SIGUSR2\r"
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answers_to(port: int, *parts: bytes) -> bytes:
    """All that the telnet port sends until it closes the connection."""
    reader, writer = await _connect(port)
    answers = b""
    async with asyncio.timeout(DEADLINE_S):
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.1)
            while part := await reader.read(4096):
                answers += part
    writer.close()
    return answers


async def test_a_page_cannot_use_the_console_by_http(start: Start, http: aiohttp.ClientSession) -> None:
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}", CHECKPOINT_INTERVAL_MS=600_000)
    url = await service.url()
    await service.event("clickhouse ready")
    await send_one(http, url)
    whole = forged(port)
    for parts in ((whole,), (whole[:4], whole[4:]), (b"\0" + whole,), (b"\r", whole)):
        assert PROMPT.encode() not in await answers_to(port, *parts)
    await asyncio.sleep(1)  # a command would have run: the console waits for 0.3 s before it takes one
    async with http.get(f"{url}/api/status") as reply:
        assert (await reply.json())["accounting"]["pending"] == 1, "the flush was executed"
    assert len([line for line in service.lines if "does not speak telnet" in line]) == 1
    assert not [line for line in service.lines if "SIGUSR2" in line]
    async with console(port) as monitor:
        assert "appended" in await monitor.run("shards", until="ClickHouse (embedded) up")
    assert await service.ends(signal.SIGTERM) == 0


@asynccontextmanager
async def aiomonitors_client(port: int) -> AsyncIterator[tuple[Console, asyncio.subprocess.Process]]:
    """``python -m aiomonitor.cli`` in a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 160))
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiomonitor.cli", "-p", str(port)), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    output, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0))
    input_, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(os.dup(ours), "wb", 0))
    try:
        yield Console(reader, asyncio.StreamWriter(input_, protocol, None, loop)), client
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
        output.close()
        input_.close()


async def test_aiomonitors_own_client_is_let_in(start: Start) -> None:
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}")
    await service.url()
    async with aiomonitors_client(port) as (monitor, client):
        await monitor.shows(PROMPT)
        assert "appended" in await monitor.run("shards", until="ClickHouse (embedded)")
        await monitor.shows(PROMPT)
        await monitor.run("exit", until="exit")
        async with asyncio.timeout(DEADLINE_S):
            assert await client.wait() == 0
    assert not [line for line in service.lines if "does not speak telnet" in line]


@pytest.fixture
async def page(start: Start, http: aiohttp.ClientSession, tmp_path: Path) -> tuple[Process, int]:
    """A service with a monitor, and the port of the monitor's web page, with the session of an operator."""
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}")
    await service.url()
    url = f"http://127.0.0.1:{port + 1}/login"
    async with http.post(url, data={"token": token_in(tmp_path)}, allow_redirects=False) as reply:
        assert reply.status == 303
        cookie = reply.cookies["fanfinity-console"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert token_in(tmp_path) not in cookie.value
    http.headers["Cookie"] = f"fanfinity-console={cookie.value}"
    return service, port + 1


async def test_the_web_page_shows_nothing_without_a_login(
    page: tuple[Process, int], http: aiohttp.ClientSession
) -> None:
    _, port = page
    url = f"http://127.0.0.1:{port}"
    for headers in ({"Cookie": ""}, {"Cookie": "fanfinity-console=made-up"}):
        for method, path in (
            ("GET", "/"),
            ("POST", "/api/live-tasks"),
            ("GET", "/api/version"),
            ("DELETE", "/api/task"),
        ):
            async with http.request(method, url + path, headers=headers, allow_redirects=False) as reply:
                assert (reply.status, reply.headers["Location"]) == (303, "/login")
    async with http.get(f"{url}/login") as reply:
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
    for _ in range(5):
        async with http.post(f"{url}/login", data={"token": "wrong"}) as reply:
            assert reply.status == 403
    async with http.post(f"{url}/login", data={"token": "wrong"}) as reply:
        assert reply.status == 429


ODD_FORMS = (
    ("application/x-www-form-urlencoded; charset=bogus", b"token=a", 403),
    ("application/x-www-form-urlencoded", b"token=%ff\xff\xfe", 403),
    ("application/x-www-form-urlencoded", b"", 403),
    ("application/x-www-form-urlencoded", b"token=" + b"a" * (16 << 10), 413),
    ("multipart/form-data; boundary=x", b"garbage", 415),
    ("multipart/form-data", b"garbage", 415),
)


async def test_only_its_own_form_logs_in_and_odd_ones_are_no_fault_of_the_service(
    page: tuple[Process, int], http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service, port = page
    url, right = f"http://127.0.0.1:{port}/login", {"token": token_in(tmp_path)}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": f"evil.example:{port}"}):
        async with http.post(url, data=right, headers=headers, allow_redirects=False) as reply:
            assert (reply.status, reply.headers.get("Set-Cookie")) == (403, None)
    for kind, body, status in ODD_FORMS:
        async with http.post(url, data=body, headers={"Content-Type": kind}) as reply:
            assert (reply.status, reply.headers.get("Set-Cookie")) == (status, None), (kind, body[:20])
    for method in ("PUT", "DELETE", "OPTIONS"):
        async with http.request(method, url, data=right) as reply:
            assert (reply.status, reply.headers["Allow"]) == (405, "GET,HEAD,POST")
    async with http.post(
        url, data=right, headers={"Origin": url.removesuffix("/login")}, allow_redirects=False
    ) as reply:
        assert (reply.status, reply.cookies["fanfinity-console"]["max-age"]) == (303, str(12 * 3600))
    assert await service.ends(signal.SIGTERM) == 0
    assert service.faults == []
    assert not [line for line in service.lines if right["token"] in line]


async def flushers(http: aiohttp.ClientSession, url: str) -> list[str]:
    """The ids of the flushers' tasks, as the page lists them."""
    async with http.post(f"{url}/api/live-tasks", data={"filter": "flusher shard"}, headers={"Origin": url}) as reply:
        assert reply.status == 200
        tasks = (await reply.json())["tasks"]
    assert all(task["is_root"] for task in tasks), "the page shows a button that cancels, to tasks that are no roots"
    return [task["task_id"] for task in tasks]


async def test_the_web_page_shows_tasks_and_cancels_none(
    page: tuple[Process, int], http: aiohttp.ClientSession
) -> None:
    service, port = page
    url = f"http://127.0.0.1:{port}"
    for path in ("/", "/about", "/static/htmx.js", "/api/version"):
        async with http.get(url + path) as reply:
            assert reply.status == 200
    before = await flushers(http, url)
    assert len(before) == 2
    for task in before:
        async with http.get(f"{url}/trace-running?task_id={task}") as reply:
            assert "Stack of" in await reply.text()
        for method in ("DELETE", "POST", "PUT", "PATCH", "OPTIONS"):
            async with http.request(method, f"{url}/api/task?task_id={task}") as reply:
                assert (reply.status, reply.headers["Allow"]) == (405, "GET,HEAD")
    assert await flushers(http, url) == before
    assert await service.ends(signal.SIGTERM) == 0


HOSTS_AND_ORIGINS = (
    ({"Host": "127.0.0.1:{port}"}, 200),
    ({"Host": "LocalHost:{port}"}, 200),
    ({"Host": "[::1]:{port}"}, 200),
    ({"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}, 200),
    ({"Host": "evil.example:{port}"}, 403),
    ({"Host": "evil.example"}, 403),
    ({"Host": "127.0.0.1"}, 403),
    ({"Host": "127.0.0.1:8080"}, 403),
    ({"Host": "localhost.evil.example:{port}"}, 403),
    ({"Host": ""}, 403),
    ({"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"}, 403),
    ({"Host": "localhost:{port}", "Origin": "http://127.0.0.1:{port}"}, 403),
    ({"Host": "localhost:{port}", "Origin": "https://localhost:{port}"}, 403),
    ({"Host": "localhost:{port}", "Origin": "http://localhost:3000"}, 403),
    ({"Host": "localhost:{port}", "Origin": "null"}, 403),
)


async def test_the_web_page_answers_under_its_own_name_to_its_own_page(
    page: tuple[Process, int], http: aiohttp.ClientSession
) -> None:
    service, port = page
    url = f"http://127.0.0.1:{port}"
    for headers, status in HOSTS_AND_ORIGINS:
        sent = {name: value.format(port=port) for name, value in headers.items()}
        for method, path in (("GET", "/"), ("POST", "/api/live-tasks"), ("DELETE", "/api/task?task_id=1")):
            async with http.request(method, url + path, headers=sent) as reply:
                assert reply.status == (405 if (status, method) == (200, "DELETE") else status), (method, sent)
    assert len([line for line in service.lines if "from another page" in line]) == 1
