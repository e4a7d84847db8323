"""A server that says too little: no ClickHouse can be made to stop in the middle of an answer at a given moment."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asynch.proto.connection import Connection

from shards.errors import StoreUnavailable
from shards.stores import server as stores_server
from shards.stores.server import ServerStore

DEADLINE_S = 60
REVISION = 54_032


def _varint(number: int) -> bytes:
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def _text(text: str) -> bytes:
    return _varint(len(text)) + text.encode()


HELLO = b"\0" + _text("silent") + _varint(1) + _varint(1) + _varint(REVISION)


class SilentServer:
    """Greets whoever comes, if it is to, and answers nothing that is asked."""

    def __init__(self, *, greets: bool) -> None:
        self.greets = greets
        self.came = self.left = self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        try:
            if self.greets and await reader.read(4096):
                writer.write(HELLO)
            while await reader.read(4096):
                self.asked += 1
        except ConnectionError:
            pass
        self.left += 1
        writer.close()


@pytest.fixture
async def silent(request: pytest.FixtureRequest) -> AsyncIterator[tuple[SilentServer, ServerStore]]:
    server = SilentServer(greets=request.param)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    store = ServerStore(f"clickhouse://default@127.0.0.1:{port}/fan", shard_count=1)
    yield server, store
    await store.close()
    listening.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("silent", [False, True], ids=["nothing", "a greeting"], indirect=True)
@pytest.mark.parametrize("lane", ["read", "schema", 0])
async def test_a_statement_that_hangs_ends_in_time(silent: tuple[SilentServer, ServerStore], lane: Any) -> None:
    _, store = silent
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.05 s"):
        await asyncio.wait_for(store._run("SELECT 1", lane=lane, timeout_s=0.05), DEADLINE_S)


@pytest.mark.parametrize("silent", [True], indirect=True)
async def test_a_connection_in_the_middle_of_an_answer_is_cut_and_not_used_again(
    silent: tuple[SilentServer, ServerStore],
) -> None:
    server, store = silent
    for number in (1, 2):
        asking = asyncio.create_task(store._run("SELECT 1", lane=0, timeout_s=DEADLINE_S))
        await until(lambda: server.asked)
        asking.cancel()
        await asyncio.wait({asking}, timeout=DEADLINE_S)
        await until(lambda number=number: server.left == number)
        assert server.came == number
        server.asked = 0


def _greet_and_leave(listening: socket.socket, leave: threading.Event) -> None:
    came, _ = listening.accept()
    with came:
        came.recv(4096)
        came.sendall(HELLO)
        leave.wait(DEADLINE_S)


async def test_a_connection_that_ended_while_the_event_loop_was_held_up_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Connection, "ping", _not_there)
    leave = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=_greet_and_leave, args=(listening, leave))
        serving.start()
        store = ServerStore(f"clickhouse://default@127.0.0.1:{listening.getsockname()[1]}/fan", shard_count=1)
        client = store._connection()._connect()
        await asyncio.wait_for(client.connect(), DEADLINE_S)
        client.heard_at_s = time.monotonic()
        assert await client.ping()
        leave.set()
        serving.join()  # holds the event loop up, so that it has seen nothing of the end yet
        client.heard_at_s = time.monotonic()
        assert not await asyncio.create_task(client.ping())
    await stores_server._drop(client, None)


async def _not_there(_: Connection) -> bool:
    return False
