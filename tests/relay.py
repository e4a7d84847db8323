"""A TCP relay in front of the tests' ClickHouse, for runs that kill the service.

The library that serves as ClickHouse in the tests aborts now and then (SIGABRT, in 1 of some 5 kills) when a client
dies before it has read the answer to an INSERT, so that the answer meets a reset connection. A ClickHouse of the usual
build does not. The relay reads every answer to its end, and tells ClickHouse of a client's death by an orderly close.
"""

import asyncio
import ssl
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

PIECE_BYTES = 64 * 1024


class Relay:
    """Passes connections on to a port of 127.0.0.1. ``port`` stays the same until :meth:`close`.

    ``seen`` has a moment, by ``time.perf_counter``, for each time ``marker`` passed on its way to the port.
    """

    def __init__(self, target_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """``tls``: for a relay that is spoken to by TLS, and passes on what it says."""
        self._target_port = target_port
        self._tls = tls
        self.marker = b""
        self.seen: list[float] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._tls)

    @property
    def listening(self) -> bool:
        """Return whether it was started."""
        return self._server is not None

    @property
    def port(self) -> int:
        """Return the port to connect to."""
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and cut what is left."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            to_client.transport.abort()
            return
        await both_ways(self._pass_on(client, to_server), _pass_answers(server, to_client), to_client, to_server)

    async def _pass_on(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        """Return when the client is gone, or ClickHouse is."""
        end = b""
        with suppress(OSError):
            while piece := await client.read(PIECE_BYTES):
                if self.marker:
                    looked_at = end + piece
                    self.seen += [time.perf_counter()] * looked_at.count(self.marker)
                    end = looked_at[-len(self.marker) + 1 :]
                to_server.write(piece)
                await to_server.drain()


async def both_ways(
    requests: Coroutine[Any, Any, None],
    answers: Coroutine[Any, Any, None],
    to_client: asyncio.StreamWriter,
    to_server: asyncio.StreamWriter,
) -> None:
    """Pass requests and answers on; after the last request wait for the rest of the answers, then cut."""
    try:
        answering = asyncio.ensure_future(answers)
        await requests
        with suppress(OSError):
            to_server.write_eof()
        await answering
    finally:
        to_server.transport.abort()
        to_client.transport.abort()


async def _pass_answers(server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    """Read to the end, whether the client is there or not; then tell the client of the end."""
    with suppress(OSError):
        while piece := await server.read(PIECE_BYTES):
            if not to_client.transport.is_closing():
                with suppress(OSError):
                    to_client.write(piece)
                    await to_client.drain()
    to_client.transport.abort()
