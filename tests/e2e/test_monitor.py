"""The aiomonitor console of a running service, over the telnet protocol."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.clickhouse import free_port
from tests.e2e.process import DEADLINE_S, Start

IAC, WILL, SB, SE, TTYPE, NAWS, IS = b"\xff", b"\xfb", b"\xfa", b"\xf0", b"\x18", b"\x1f", b"\x00"
WHERE_IS_THE_CURSOR = b"\x1b[6n"
PROMPT = "fanfinity >>> "
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\xff..?|\r")


class Console:
    """A client that negotiates terminal type and size, as aiomonitor's console wants it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def greet(self) -> str:
        size = IAC + SB + NAWS + bytes((0, 160, 0, 50)) + IAC + SE
        terminal = IAC + SB + TTYPE + IS + b"xterm" + IAC + SE
        self._writer.write(IAC + WILL + NAWS + size + IAC + WILL + TTYPE + terminal)
        return await self._until(PROMPT)

    async def run(self, command: str, *, until: str) -> str:
        self._writer.write(command.encode() + b"\r")
        return await self._until(until)

    async def _until(self, text: str) -> str:
        shown = ""
        async with asyncio.timeout(DEADLINE_S):
            while text not in shown:
                part = await self._reader.read(4096)
                assert part, f"the console closed the connection without {text!r}: {shown!r}"
                if WHERE_IS_THE_CURSOR in part:
                    self._writer.write(b"\x1b[1;1R")
                shown += ESCAPES.sub("", part.decode("latin-1"))
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
async def console(port: int) -> AsyncIterator[Console]:
    reader, writer = await _connect(port)
    try:
        one = Console(reader, writer)
        await one.greet()
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


async def test_its_commands_show_and_flush_the_shards(start: Start, http: aiohttp.ClientSession) -> None:
    port = two_free_ports()
    service = await start(MONITOR=f"127.0.0.1:{port}", CHECKPOINT_INTERVAL_MS=600_000)
    url = await service.url()
    await service.logged("is ready")
    await send_one(http, url)
    async with http.get(f"{url}/api/status") as reply:
        assert (await reply.json())["accounting"]["pending"] == 1
    async with console(port) as monitor:
        assert "appended" in await monitor.run("shards", until="ClickHouse (embedded) up")
        assert "segments" in await monitor.run("wal", until="accepting")
        assert "put aside" in await monitor.run("deadletters", until="0 open, 0 requeued, 0 discarded")
        await monitor.run("flush", until="ClickHouse (embedded) up")
        async with http.get(f"{url}/api/status") as reply:
            accounting = (await reply.json())["accounting"]
        assert (accounting["pending"], accounting["confirmed"]) == (0, 1)
        await monitor.run("flush 1", until="ClickHouse (embedded) up")
        await monitor.run("flush 9", until="there is no such shard")
        await monitor.run("flush x", until="not a valid integer")
        await monitor.run("flush --help", until="Store and confirm")
        await monitor.run("console", until="Python console is disabled")
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
        assert f"127.0.0.1:{port}: Address already in use" in await service.logged("no monitor")
        async with http.get(f"{url}/health") as reply:
            assert reply.status == 200
        assert await service.ends(signal.SIGTERM) == 0
