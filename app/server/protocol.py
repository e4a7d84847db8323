"""The HTTP server below the application: requests that never reach a handler, and clients that hold a connection."""

import asyncio
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any, cast

import msgspec
import structlog
import uuid_utils
from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from multidict import CIMultiDict, CIMultiDictProxy

from app.server.middlewares import REQUEST_ID_HEADER, SERVER
from app.server.timer import Timer
from app.server.turns import ReadTurns
from app.web.problems import CONTENT_TYPE, Problem, problem_response
from app.web.timeouts import Timeouts

RESERVED_FILES = 512
"""Open files that are kept for the log, for ClickHouse and for what is at hand; the others may be connections."""

CONNECTIONS_MIN, CONNECTS_WAITING = 64, 1024
"""Connections that may wait to be accepted, because a crowd that comes within milliseconds must not be turned away."""

LISTENERS = 8
"""Listeners on one socket. libuv, and so uvloop, accepts one connection for each in a round of the event loop
(libuv#3696), so with one a crowd would wait for seconds while every round has dozens of requests.
"""

FULL_RETRY_AFTER_S, FULL_LOG_INTERVAL_S = 5, 10.0

_TOO_LONG = "The path with its query, or a header, is longer than the 8190 bytes that are read: shorten it."
_MALFORMED = "The request is not valid HTTP"
_MEND = "mend its first line, its headers or its chunks."
_CONTINUE = "100-continue"
_READING = ("GET", "HEAD")
_LINGER_NOT = struct.pack("ii", 1, 0)

_log = structlog.stdlib.get_logger(__name__)


def connections_for(files: int) -> int:
    """Return how many connections a process can hold that may open this many files."""
    return sys.maxsize if files == resource.RLIM_INFINITY else max(files - RESERVED_FILES, CONNECTIONS_MIN)


def _nothing_to_do(_host: str, _port: int) -> None: ...


class ServiceRunner(web.AppRunner):
    """Runs the application so that malformed HTTP is answered by a problem too, and bodies stay compressed.

    No client can hold a connection without using it for longer than `timeouts` says. One that comes when
    ``connections_max`` are open is refused, so that those who are connected go on being served.
    """

    __slots__ = ("_connections_max", "_timeouts")

    def __init__(
        self,
        app: web.Application,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (frozen)
        connections_max: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            app,
            auto_decompress=False,
            keepalive_timeout=timeouts.idle_s,
            lingering_time=timeouts.linger_s,
            **options,
        )
        self._timeouts = timeouts
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._connections_max = connections_for(files) if connections_max is None else connections_max

    async def listen(self, host: str, port: int, *, opening: Callable[[str, int], None] = _nothing_to_do) -> None:
        """Accept connections at an address, or at all addresses of a name.

        Args:
            host: the address, or the name.
            port: 0 takes a free one.
            opening: called with the first address and its port once these are known, and before anybody can connect.

        Raises:
            OSError: an address is taken, or not of this machine.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, address) for family, *_, address in found)
        with ExitStack() as closing:
            bound = [closing.enter_context(_bound(family, address)) for family, address in addresses]
            opening(*bound[0].getsockname()[:2])
            for one in bound:
                for _ in range(LISTENERS):
                    await web.SockSite(self, one.dup(), backlog=CONNECTS_WAITING).start()

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        make_request = _without_odd_expectations(plain.request_factory)
        server = _Server(plain.request_handler, request_factory=make_request, **self._kwargs)
        server.timeouts = self._timeouts
        server.turns = ReadTurns()
        server.connections_max = self._connections_max
        return server


class _Server(web.Server):
    timeouts: Timeouts
    connections_max: int
    _full_logged_s = float("-inf")
    turns: ReadTurns

    def __call__(self) -> web.RequestHandler:
        return _ClientConnection(self, loop=self._loop, **self._kwargs)

    @property
    def is_full(self) -> bool:
        return len(self._connections) >= self.connections_max

    def refuse(self, transport: asyncio.Transport) -> None:
        """Tell a client that there is no room for it. It may miss that, because its request is not read."""
        transport.write(_refusal())
        transport.close()
        if time.monotonic() - self._full_logged_s >= FULL_LOG_INTERVAL_S:
            self._full_logged_s = time.monotonic()
            _log.warning(
                "connections refused",
                open=len(self._connections),
                open_max=self.connections_max,
                remedy="allow more open files (ulimit -n), or find out who holds the connections",
            )


class _ClientConnection(web.RequestHandler):
    """One connection.

    aiohttp itself answers malformed HTTP in plain text, quotes it, and logs a traceback. It cuts off a client that
    sends nothing for long, but waits for ever for one that does not take its answers.
    """

    __slots__ = ("_close_timer", "_head_timer", "_server", "_transport", "_unread_timer")

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._transport: asyncio.Transport | None = None  # kept until it is lost; aiohttp drops its own at the close
        self._head_timer = Timer(self._loop)
        self._unread_timer = Timer(self._loop)
        self._close_timer = Timer(self._loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._server.is_full:
            self._force_close = True  # whatever still comes is ignored
            self._server.refuse(self._transport)
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        request = self._current_request
        if self._task_handler and request and request.method in _READING and not request.writer.output_size:
            self._task_handler.cancel()  # it keeps no place
        self._server.turns.forget(self)
        for timer in (self._head_timer, self._unread_timer, self._close_timer):
            timer.stop()
        self._transport = None
        super().connection_lost(exc)

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            # A closed transport waits until its last bytes are taken, however long that lasts.
            if self._transport is not None:
                self._close_timer.start(self._server.timeouts.unread_s, self._cut_off)

    def hold(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._take(data)

    def data_received(self, data: bytes) -> None:
        if not self._awaits_request or not self._server.turns.defers(self, data):
            self._take(data)

    def _take(self, data: bytes) -> None:
        super().data_received(data)
        if not self._awaits_request:
            self._head_timer.stop()
        elif data and not self._head_timer.is_running:
            self._head_timer.start(self._server.timeouts.head_s, self._head_overdue)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_timer.start(self._server.timeouts.unread_s, self._cut_off)

    def resume_writing(self) -> None:
        self._unread_timer.stop()
        super().resume_writing()

    @property
    def _awaits_request(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _cut_off(self) -> None:
        """End the connection at once, and drop what still waits in the kernel, because nobody takes it."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self._transport.abort()

    def _head_overdue(self) -> None:
        self._head_timer.stop()
        if self._awaits_request:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        _log.info("http malformed", remote=request.remote, error=type(exc).__name__)
        problem = Problem(
            status,
            "Malformed HTTP",
            _TOO_LONG if isinstance(exc, LineTooLong) else f"{_MALFORMED} ({HTTPStatus(status).phrase}): {_MEND}",
            headers={REQUEST_ID_HEADER: str(uuid_utils.uuid7()), hdrs.SERVER: SERVER, hdrs.CONNECTION: "close"},
            kind="malformed-http",
        )
        response = problem_response(request, problem)
        response.force_close()
        return response


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    """Return a socket that has its address and port, but does not listen yet, so that whoever connects is refused."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _without_odd_expectations(make_request: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Ignore an unknown ``Expect``, as RFC 9110 (10.1.1) allows, because aiohttp would answer 417 in plain text."""

    def make(message: RawRequestMessage, *others: Any) -> web.BaseRequest:
        if message.headers.get(hdrs.EXPECT, _CONTINUE).lower() != _CONTINUE:
            headers = CIMultiDict(message.headers)
            headers.popall(hdrs.EXPECT)
            message = message._replace(headers=CIMultiDictProxy(headers))
        return make_request(message, *others)

    return make


def _refusal() -> bytes:
    detail = "The service has no room for another connection. Connect again after Retry-After."
    problem = Problem(503, "Service unavailable", detail)
    body = msgspec.json.encode(problem.body("/"))
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        f"{hdrs.CONTENT_TYPE}: {CONTENT_TYPE}",
        f"{hdrs.CONTENT_LENGTH}: {len(body)}",
        f"{hdrs.RETRY_AFTER}: {FULL_RETRY_AFTER_S}",
        f"{hdrs.SERVER}: {SERVER}",
        f"{REQUEST_ID_HEADER}: {uuid_utils.uuid7()}",
        f"{hdrs.CONNECTION}: close",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body
