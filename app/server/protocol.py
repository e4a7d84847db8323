"""The HTTP server below the application: where it listens, and how many connections it holds."""

import asyncio
import errno
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

from app.context import CONTEXT
from app.server.connection import Server
from app.server.spare import SpareConnections
from app.server.turns import ReadTurns
from app.web.head.expectation import note_expectation
from app.web.timeouts import Timeouts

RESERVED_FILES = 512
"""Open files that are kept for the log, for ClickHouse and for what is at hand; the others may be connections."""

CONNECTIONS_MIN = 64
CONNECTS_WAITING = 1024
"""Connections that may wait to be accepted, because a crowd that comes within milliseconds must not be turned away."""

ANY_V4 = "0.0.0.0"  # noqa: S104 (it is compared, and taken where the setting says ::)
ANY_V6 = "::"
PORT_TRIES = 20
"""Most free ports that are tried, where one is to be free at several addresses."""

ARRIVING_S = 0.5
"""Seconds that a connection has for the first bytes of its request when the port closes, because it may have waited to
be accepted: a balancer does not send again what it has begun to send.
"""
_ARRIVING_CHECKS = 50

LISTENERS = 8
"""Listeners on one socket. libuv, and so uvloop, accepts one connection for each in a round of the event loop
(libuv#3696), so with one a crowd would wait for seconds while every round has dozens of requests.
"""


_Address = tuple[Any, ...]
"""Host and port, and what else an address of its family has."""


def connections_for(files: int) -> int:
    """Return how many connections a process can hold that may open this many files."""
    return sys.maxsize if files == resource.RLIM_INFINITY else max(files - RESERVED_FILES, CONNECTIONS_MIN)


def _nothing_to_do(_host: str, _port: int) -> None: ...


class ServiceRunner(web.AppRunner):
    """Runs the application so that malformed HTTP is answered by a problem too, and bodies stay compressed.

    No client can hold a connection without using it for longer than `timeouts` says. One that comes when
    ``connections_max`` are open is refused, so that those who are connected go on being served; unless it asks how the
    service is (`app.server.spare`).
    """

    __slots__ = ("_bound", "_connections_max", "_timeouts", "listens_at")

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
        self.listens_at = ("", 0)
        self._bound: list[socket.socket] = []
        self._timeouts = timeouts
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._connections_max = connections_for(files) if connections_max is None else connections_max

    async def listen(self, host: str, port: int, *, opening: Callable[[str, int], None] = _nothing_to_do) -> None:
        """Accept connections at an address, or at all addresses of a name; at ``::``, at every one of both families.

        Args:
            host: the address, or the name.
            port: 0 takes a free one, the same for all addresses.
            opening: called with the first address and its port once these are known, and before anybody can connect;
                for ``::`` with one that answers where a machine has no IPv6 at its loopback, too.

        Raises:
            OSError: an address is taken, or not of this machine.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, address) for family, *_, address in found)
        with ExitStack() as closing:
            bound = _all_bound(list(addresses))
            for one in bound:
                closing.enter_context(one)
            self.listens_at = _first_address(bound)
            opening(*self.listens_at)
            for one in bound:
                for _ in range(LISTENERS):
                    await web.SockSite(self, one.dup(), backlog=CONNECTS_WAITING).start()
            closing.pop_all()
            self._bound = bound

    async def close_port(self) -> None:
        """Accept nobody any more, but let those be answered who had connected before.

        The kernel resets a connection that still waits to be accepted when its port closes, although the client may
        have sent its request by then. So those that wait are taken before, and each gets :data:`ARRIVING_S` to send.
        """
        for site in list(self.sites):
            await site.stop()
        taken = _taken_at_the_end(self._bound)
        self._bound = []
        loop, server = asyncio.get_running_loop(), self.server
        for sock in taken:
            with suppress(OSError):  # who has left by now
                await loop.connect_accepted_socket(server, sock)  # type: ignore[arg-type]  # aiohttp makes protocols
        if not isinstance(server, Server):
            return
        for _ in range(_ARRIVING_CHECKS):
            if not server.awaits_somebody(ARRIVING_S):
                break
            await asyncio.sleep(ARRIVING_S / _ARRIVING_CHECKS)
        server.spare.refuse_all()
        server.turned_away.close()

    async def cleanup(self) -> None:
        """Close the port, end every connection, and close the application."""
        await self.close_port()
        await super().cleanup()

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        make_request = _without_expectations(plain.request_factory)
        server = Server(plain.request_handler, request_factory=make_request, **self._kwargs)
        server.timeouts = self._timeouts
        server.turns = ReadTurns()
        server.spare = SpareConnections()
        server.connections_max = self._connections_max
        if CONTEXT in self.app:
            server.count_in(self.app[CONTEXT].telemetry.connections)
        server.counts.limit, server.counts.count = self._connections_max, lambda: len(server.connections)
        return server


def _all_bound(addresses: Sequence[tuple[int, _Address]]) -> list[socket.socket]:
    """Return a bound socket for each address, all of one port: to ``::`` belongs ``0.0.0.0``.

    Not one socket for both families, because that would show clients of IPv4 under other addresses. The port that one
    address had free may be taken at the next one: then others are tried. Raises OSError.
    """
    for _ in range(PORT_TRIES - 1):
        with suppress(_TakenElsewhere):
            return _bound_once(addresses)
    return _bound_once(addresses)


def _bound_once(addresses: Sequence[tuple[int, _Address]]) -> list[socket.socket]:
    """Bind each address; :class:`_TakenElsewhere` if only the free port of the first one is taken at another."""
    with ExitStack() as closing:
        bound: list[socket.socket] = []
        for family, (host, port, *more) in addresses:
            try:
                at = bound[0].getsockname()[1] if bound else port
                bound.append(closing.enter_context(_bound(family, (host, at, *more))))
                if host == ANY_V6 and _has_v4():
                    everywhere = (ANY_V4, bound[-1].getsockname()[1])
                    bound.append(closing.enter_context(_bound(socket.AF_INET, everywhere)))
            except OSError as error:
                if bound and not port and error.errno == errno.EADDRINUSE:
                    raise _TakenElsewhere(*error.args) from error
                raise
        closing.pop_all()
    return bound


def _taken_at_the_end(listening: Sequence[socket.socket]) -> list[socket.socket]:
    """Return the connections that waited to be accepted, and close the sockets at once after the last one."""
    taken = []
    for sock in listening:
        sock.setblocking(False)
        with suppress(OSError):  # nobody waits any more
            while True:
                taken.append(sock.accept()[0])
        sock.close()
    return taken


class _TakenElsewhere(OSError):
    """A free port of one address is taken at another one."""


def _has_v4() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _first_address(bound: Sequence[socket.socket]) -> tuple[str, int]:
    (host, port), *others = (one.getsockname()[:2] for one in bound)
    return (ANY_V4 if host == ANY_V6 and (ANY_V4, port) in others else host), port


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
