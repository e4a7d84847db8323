"""The HTTP server below the application: where it listens, and how many connections it holds."""

import asyncio
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

from app.server.connection import Server
from app.web.head.expectation import note_expectation
from app.web.timeouts import Timeouts

RESERVED_FILES = 512
"""Open files that are kept for the log, for ClickHouse and for what is at hand; the others may be connections."""

CONNECTIONS_MIN = 64
CONNECTS_WAITING = 1024
"""Connections that may wait to be accepted, because a crowd that comes within milliseconds must not be turned away."""

LISTENERS = 8
"""Listeners on one socket. libuv, and so uvloop, accepts one connection for each in a round of the event loop
(libuv#3696), so with one a crowd would wait for seconds while every round has dozens of requests.
"""


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
        make_request = _without_expectations(plain.request_factory)
        server = Server(plain.request_handler, request_factory=make_request, **self._kwargs)
        server.timeouts = self._timeouts
        server.connections_max = self._connections_max
        return server


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


def _without_expectations(make_request: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Take ``Expect`` out of requests, because aiohttp would answer it before a handler is called."""

    def make(message: RawRequestMessage, *others: Any) -> web.BaseRequest:
        if (expectation := message.headers.get(hdrs.EXPECT)) is None:
            return make_request(message, *others)
        headers = CIMultiDict(message.headers)
        headers.popall(hdrs.EXPECT)
        request = make_request(message._replace(headers=CIMultiDictProxy(headers)), *others)
        note_expectation(request, expectation)
        return request

    return make
