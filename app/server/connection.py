"""One connection of the HTTP server: what it is told of malformed HTTP, when it ends, and who holds it in vain."""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from app.observability.prometheus import Connections
from app.server.refusal import cut_off, malformed, refusal
from app.server.spare import SpareConnections
from app.server.timer import Timer
from app.server.turned_away import TurnedAway
from app.server.turns import ReadTurns
from app.web.body import TinyChunks
from app.web.head.expectation import is_body_withheld
from app.web.keys import STREAMED
from app.web.timeouts import Timeouts

_CUT_OFF = "the client sent no more of the body"
_UNREAD_CHECK_S = 0.01
"""Seconds between two looks at whether the reader of a body that was cut off has read what came of it."""

_READING = ("GET", "HEAD")
_ROUND_BYTES = 64 << 10
"""Bytes after which nothing more is read from a connection in this round of the event loop. libuv would go on with what
has come, up to 8 MB, which as chunks of one byte each takes half a second.
"""

_CHUNKS_FREE, _CHUNKS_RATIO = 256 << 10, 3
"""Bytes that a body may take on the wire: so many, and three times those that are in it."""


class Server(web.Server):
    """Makes a connection for each client, as long as there is room for it."""

    timeouts: Timeouts
    connections_max: int
    turns: ReadTurns
    spare: SpareConnections

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.count_in(Connections())

    def count_in(self, counts: Connections) -> None:
        """Count clients here from now on."""
        self.counts = counts
        self.turned_away = TurnedAway(counts)

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return _ClientConnection(self, loop=self._loop, **self._kwargs)

    @property
    def is_full(self) -> bool:
        """Whether as many connections are open as may be."""
        return len(self._connections) >= self.connections_max

    def awaits_somebody(self, within_s: float) -> bool:
        """Say whether a client that connected less than so many seconds ago has not sent anything yet."""
        since_s = self._loop.time() - within_s
        return any(one.is_new_since(since_s) for one in self.connections if isinstance(one, _ClientConnection))

    def refuse(self, transport: asyncio.Transport) -> None:
        """Tell a client that there is no room for it. It may miss that, because its request is not read."""
        self.turned_away.note_refused(open_=len(self._connections), open_max=self.connections_max)
        transport.write(refusal())
        transport.close()


class _ClientConnection(web.RequestHandler):
    """One connection.

    aiohttp itself answers malformed HTTP in plain text, quotes it, and logs a traceback. It cuts off a client that
    sends nothing for long, but waits for ever for one that does not take its answers. It drops one that sends no more
    (``shutdown(SHUT_WR)``) without an answer, and lets a body wait whose chunks have turned out to be malformed.
    """

    __slots__ = (
        *("_answered", "_answers", "_body_sent", "_close_timer", "_head_timer", "_is_read", "_is_spare", "_last_body"),
        *("_made_s", "_server", "_transport", "_unread_timer"),
    )

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._transport: asyncio.Transport | None = None  # kept until it is lost; aiohttp drops its own at the close
        self._head_timer = Timer(self._loop)
        self._unread_timer = Timer(self._loop)
        self._close_timer = Timer(self._loop)
        self._is_read = True
        self._is_spare = False
        self._made_s = self._loop.time()
        self._answers = 0
        self._body_sent = 0
        self._last_body: StreamReader = EMPTY_PAYLOAD
        self._answered: StreamReader | None = None
        """The body of the last request that was answered; what is still read of it is thrown away."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._server.is_full:
            self._is_spare = True
            self._server.spare.admit(self)
        else:
            super().connection_made(transport)
            self._server.counts.note_opened()

    def admitted(self, data: bytes) -> None:
        """Go on as any other, for one request, which began with ``data``."""
        if self._transport is not None:
            super().connection_made(self._transport)
            self.data_received(data)

    def refused(self) -> None:
        """Tell the client that there is no room, and read nothing more of it."""
        self._force_close = True
        if self._transport is not None:
            self._server.refuse(self._transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        request = self._current_request
        if self._task_handler and request and request.method in _READING and not request.writer.output_size:
            self._task_handler.cancel()  # it keeps no place
        self._server.turns.forget(self)
        self._server.spare.forget(self)
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

    def is_new_since(self, since_s: float) -> bool:
        """Say whether the client has connected since then, and no request has come from it yet."""
        return self._made_s > since_s and self._request_count == 0 and self._awaits_request

    def hold(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._take(data)

    def data_received(self, data: bytes) -> None:
        if self._is_spare and self._server.spare.holds_back(self, data):
            return
        if self._is_read and not (self._awaits_request and self._server.turns.defers(self, data)):
            self._take(data)

    def _take(self, data: bytes) -> None:
        if len(data) >= _ROUND_BYTES and not self._reading_paused:
            self.hold()
            self._loop.call_soon(self._read_on)
        super().data_received(data)
        if self._messages:
            self._look_at_last()
        self._look_at_chunks(len(data))
        if not self._awaits_request:
            self._head_timer.stop()
        elif data and not self._head_timer.is_running:
            self._head_timer.start(self._server.timeouts.head_s, self._head_overdue)

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and not self._reading_paused:
            self._transport.resume_reading()

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio allows
        """Say whether the connection is still needed, because a client that sends no more waits for an answer.

        One that has left looks the same until something is sent to it. A stream would last until its next line, so the
        viewer of one is taken to have left.
        """
        if (
            self._force_close
            or self._close
            or (self._current_request is not None and STREAMED in self._current_request)
        ):
            return False
        self._read_no_more()
        return self._answers < self._request_count

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if is_body_withheld(request) or self._is_last or self._is_spare:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self._answers += 1
        self._answered = request.content
        if self._is_last:
            self._last_body.feed_eof()  # nobody need wait for its rest
            self.close()
        return finished

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_timer.start(self._server.timeouts.unread_s, self._cut_off)

    def resume_writing(self) -> None:
        self._unread_timer.stop()
        super().resume_writing()

    @property
    def _awaits_request(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    @property
    def _is_last(self) -> bool:
        """Whether the request that is being answered is the last one of the connection."""
        return not self._is_read and not self._messages

    def _look_at_last(self) -> None:
        """Note the body of the last request that came; where malformed HTTP came instead, end the one before."""
        last, body = self._messages[-1]
        if isinstance(last, RawRequestMessage):
            self._last_body = body
            self._body_sent = 0
            return
        if not self._last_body.is_eof():  # it is this body's chunks that are malformed, and its answer tells
            self._messages.pop()
            self._request_count -= 1
        self._read_no_more()

    def _look_at_chunks(self, size: int) -> None:
        """Refuse a body that comes in chunks of a byte or two: to parse one takes as long as to work on many bytes."""
        if self._last_body.is_eof():
            return
        self._body_sent += size
        if self._body_sent > _CHUNKS_FREE + self._last_body.total_bytes * _CHUNKS_RATIO:
            self._last_body.set_exception(TinyChunks("a byte or two each"))
            self._is_read = False

    def _read_no_more(self) -> None:
        self._is_read = False
        if self._last_body.is_eof():
            return
        if self._last_body is self._answered:
            self._last_body.feed_eof()
            self.close()
        else:
            self._end_body(self._last_body)

    def _end_body(self, body: StreamReader) -> None:
        """Tell the reader of a body that it will not be whole, once it has read what came, because lines may count."""
        unread = body._buffer  # noqa: SLF001 (nothing public tells it)
        if unread and body is not self._answered and self._transport is not None:
            self._loop.call_later(_UNREAD_CHECK_S, self._end_body, body)
        else:
            body.set_exception(web.RequestPayloadError(_CUT_OFF))

    def _cut_off(self) -> None:
        if self._transport is not None:
            cut_off(self._transport)

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
        self._server.turned_away.note_malformed(request.remote, type(exc).__name__)
        return malformed(request, status, is_too_long=isinstance(exc, LineTooLong), reason=message or "")
