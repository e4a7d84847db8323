"""A telnet connection's check of its client, over real sockets, and the count of refusals."""

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest
from prompt_toolkit.contrib.telnet.server import TelnetConnection, TelnetServer
from prompt_toolkit.input import create_pipe_input

from app.server.console import refusals
from app.server.console.guard import CheckedConnection
from app.server.console.refusals import Refusals
from tests.logged import lines_of

TERMINAL = b"\xff\xfa\x18\x00xterm\xff\xf0"


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end and the client's."""
    server, client = socket.socketpair()
    with server, client:
        yield server, client


async def interactions(server: socket.socket) -> int:
    """Serve one connection to its end; how often its client got as far as the prompt."""
    asked = []

    async def interact(connection: TelnetConnection) -> None:
        asked.append(connection)

    with create_pipe_input() as keys:
        address = ("127.0.0.1", 1)
        connection = CheckedConnection(server, address, interact, TelnetServer(), "utf-8", None, keys)
        async with asyncio.timeout(10):
            await connection.run_application()
    return len(asked)


@pytest.mark.parametrize("first", [b"POST / HTTP/1.1\r\n\r\n", b"\0", b"\x16\x03\x01", b"shards\r", b"\xfe\xff"])
async def test_whoever_does_not_negotiate_first_is_cut_off(
    sockets: tuple[socket.socket, socket.socket], first: bytes
) -> None:
    server, client = sockets
    client.sendall(first + TERMINAL)
    assert await interactions(server) == 0
    assert server.fileno() == -1, "the connection is closed"


async def test_whoever_leaves_before_saying_what_terminal_it_is_leaves_nothing_behind(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    server, client = sockets
    client.sendall(b"\xff\xfb")
    client.shutdown(socket.SHUT_WR)
    assert await interactions(server) == 0


async def test_whoever_negotiates_first_gets_the_prompt(sockets: tuple[socket.socket, socket.socket]) -> None:
    server, client = sockets
    client.sendall(TERMINAL + b"shards\r")
    assert await interactions(server) == 1


def test_refusals_are_logged_at_once_and_then_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Refusals("no reason")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            counted.add()
        assert [line["since_last_line"] for line in lines_of(caplog, "monitor refused clients")] == [1]
        now = refusals.time.monotonic() + refusals.WARNING_INTERVAL_S
        monkeypatch.setattr("app.server.console.refusals.time.monotonic", lambda: now)
        counted.add()
    lines = lines_of(caplog, "monitor refused clients")
    assert [(line["since_last_line"], line["reason"]) for line in lines] == [(1, "no reason"), (3, "no reason")]
