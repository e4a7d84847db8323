"""Reading a body: its encoding, and its bytes, counted after decompression while they come in.

The server must be run with ``auto_decompress=False``.
"""

import asyncio
import time
from collections.abc import Iterator

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from app.bodies.decompression import BadCompression, Decompressor
from app.bodies.room import BodyShare
from app.web.body import TinyChunks
from app.web.head.expectation import ask_for_body
from app.web.problems import Problem
from app.web.timeouts import Pace, Waiting

PACE = Pace()

LARGE_PACE = Pace(min_bytes=320 * 1024, within_s=5)
"""The slowest pace of who holds a place among the large bodies, for which others may wait."""

_GZIP = frozenset({"gzip", "x-gzip"})
_DEFLATE = "deflate"
_FAILURES = (TimeoutError, web.RequestPayloadError, HttpProcessingError, ConnectionError, BadCompression)


class BodyReader:
    """Reads a body, decompressed, piece by piece.

    Raises Problem when it is made: 415 for an encoding that is not known.
    """

    def __init__(self, request: web.BaseRequest, *, pace: Pace | None = PACE) -> None:
        """Begin; ``pace`` None: the client may take any time."""
        self._request = request
        self._content = request.content
        self._decompressor = _decompressor(request)
        self._pieces: Iterator[bytes] = iter(())
        self._waiting = None if pace is None else Waiting(pace)
        self.received = 0
        """Bytes that have come, as they were sent."""

    def keep_pace(self, pace: Pace) -> None:
        """From now on the client has to keep this pace, if it is not the one it keeps already."""
        if self._waiting is not None and self._waiting.pace is not pace:
            self._waiting = Waiting(pace)

    async def read(self, *, within_s: float | None = None) -> bytes | None:
        """Return the next piece, of at most some 128 KiB; b"" at the end; None if nothing came within that time.

        Raises Problem: 400 where the body is cut off or its compression is broken, 408 where it does not keep the pace.
        """
        try:
            if piece := await self._decompressed():
                await asyncio.sleep(0)  # a few compressed bytes can be gigabytes, so others must get their turn
                return piece
            while chunk := await self._chunk(within_s):
                if self._decompressor is None:
                    return chunk
                self._pieces = self._decompressor.feed(chunk)
                if piece := await self._decompressed():
                    return piece
            if chunk is not None and self._decompressor is not None:
                self._decompressor.end()
            return chunk
        except _FAILURES as error:
            raise _problem_of(error) from error

    async def _decompressed(self) -> bytes:
        """Return the next piece of the chunk that came last, b"" if there is none; others get their turn meanwhile."""
        for piece in self._pieces:
            if piece:
                return piece
            await asyncio.sleep(0)
        return b""

    async def _chunk(self, within_s: float | None) -> bytes | None:
        """Return what has come, as it was sent."""
        chunk = self._content.read_nowait() or (b"" if self._content.at_eof() else await self._more(within_s))
        if chunk:
            self.received += len(chunk)
            if self._waiting is not None:
                self._waiting.note_received(len(chunk))
        return chunk

    async def _more(self, within_s: float | None) -> bytes | None:
        await ask_for_body(self._request)
        began = time.monotonic()
        left_s = None if self._waiting is None else self._waiting.left_s
        try:
            async with asyncio.timeout(_least(left_s, within_s)):
                return await self._content.readany()
        except TimeoutError:
            if left_s is None or (within_s is not None and within_s < left_s):
                return None
            raise
        finally:
            if self._waiting is not None:
                self._waiting.note_waited(time.monotonic() - began)


async def read_body(
    request: web.BaseRequest, *, limit: int, share: BodyShare | None = None, pace: Pace = PACE
) -> bytes:
    """Return the whole body, decompressed, for which room is taken in ``share``.

    Raises Problem as `BodyReader`, and 413 as soon as there are more than ``limit`` bytes, sent or decompressed, 503
    where there is no room.
    """
    reader = BodyReader(request, pace=pace)
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    pieces = []
    size = 0
    while piece := await reader.read():
        size += len(piece)
        if size > limit or reader.received > limit:
            raise too_large(limit)
        if share is not None:
            await share.take(len(piece))
            if share.is_large:
                reader.keep_pace(LARGE_PACE)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def too_large(limit: int) -> Problem:
    """Return the problem of a body, or a line, of more than ``limit`` bytes."""
    return Problem(
        413,
        "Body too large",
        f"At most {limit} bytes are accepted, counted after decompression; split the request.",
    )


def silent(what: str) -> Problem:
    """Return the problem of a client that sends nothing any more, or too slowly."""
    return Problem(
        408,
        "Body timed out",
        f"The body stopped, or came too slowly{what}; check Content-Length, and send the request again.",
        headers={hdrs.CONNECTION: "close"},
        kind="timed-out",
    )


def _least(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)


def _decompressor(request: web.BaseRequest) -> Decompressor | None:
    encoding = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())).strip().lower()  # several lines are a list
    if encoding in ("", "identity"):
        return None
    if encoding in _GZIP:
        return Decompressor("gzip")
    if encoding == _DEFLATE:
        return Decompressor("deflate")
    raise Problem(
        415,
        "Unsupported content encoding",
        "This content encoding is not accepted; send gzip, deflate or identity.",
        headers={hdrs.ACCEPT_ENCODING: "gzip, deflate, identity"},
        kind="unsupported-encoding",
    )


def _problem_of(failure: Exception) -> Problem:
    """Return the problem of a body that could not be read to its end, for one of `_FAILURES`."""
    if isinstance(failure, TimeoutError):
        return silent("")
    if isinstance(failure, BadCompression):
        return _bad_compression(str(failure))
    if isinstance(failure, TinyChunks):
        return _cut_off("The body comes in chunks of a byte or two; send larger ones.")
    return _cut_off()


def _cut_off(
    detail: str = "The body ended before its announced length, or its chunks are malformed; send it whole.",
) -> Problem:
    return Problem(
        400,
        "Body cut off",
        detail,
        headers={hdrs.CONNECTION: "close"},
        kind="cut-off",
    )


def _bad_compression(what: str) -> Problem:
    return Problem(
        400,
        "Bad compression",
        f"The compressed body {what}; compress it again, or send it uncompressed.",
        kind="bad-compression",
    )
