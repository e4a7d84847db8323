"""Reading a body: its type, its encoding, and its bytes, counted after decompression while they come in.

The server must be run with ``auto_decompress=False``.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, Iterator
from typing import Literal

from aiohttp import StreamReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from app.web.content_type import media_type
from app.web.head.expectation import ask_for_body
from app.web.problems import Problem
from app.web.timeouts import Pace, Waiting

Format = Literal["json", "ndjson"]

JSON_TYPES = frozenset({"application/json"})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

PACE = Pace()

_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
_GZIP = frozenset({"gzip", "x-gzip"})
_DEFLATE = "deflate"
_PIECE_BYTES = 64 * 1024
_FAILURES = (TimeoutError, web.RequestPayloadError, HttpProcessingError, ConnectionError, zlib.error)


def body_format(request: web.BaseRequest, *, default: Format = "json") -> Format:
    """Return the format that the body's content type names; ``default`` where there is none.

    Raises Problem (415) for any other type, and for a charset that is not UTF-8. A page has to name the type, because
    without one a browser sends a body for the page of any site, and does not ask by a preflight.
    """
    if hdrs.CONTENT_TYPE not in request.headers:
        if hdrs.ORIGIN in request.headers:
            raise _unsupported("A page that sends events must name the Content-Type, such as application/json.")
        return default
    try:
        type_, parameters = media_type(request.headers[hdrs.CONTENT_TYPE])
    except ValueError as error:
        raise _unsupported(f"The Content-Type is {error}; send one such as application/json.") from None
    charset = parameters.get("charset", "utf-8")
    if charset.lower() not in _CHARSETS:
        raise _unsupported(f"The charset {charset[:40]!a} is not accepted; send UTF-8.")
    if type_ in JSON_TYPES:
        return "json"
    if type_ in NDJSON_TYPES:
        return "ndjson"
    raise unsupported_type(JSON_TYPES | NDJSON_TYPES)


def unsupported_type(accepted: frozenset[str]) -> Problem:
    """Return the problem of a content type that is none of those accepted."""
    return _unsupported(f"This content type is not accepted; send one of {', '.join(sorted(accepted))}.")


async def read_body(request: web.BaseRequest, *, limit: int, pace: Pace = PACE) -> bytes:
    """Return the whole body, decompressed.

    Raises Problem: 413 as soon as there are more than ``limit`` bytes, 415 for an encoding that is not known,
    400 where the body is cut off or its compression is broken, 408 where it does not keep the pace.
    """
    decompressor = _decompressor(request)
    if decompressor is None and (request.content_length or 0) > limit:
        raise too_large(limit)
    pieces = []
    size = 0
    async for piece in iter_body(request, decompressor, pace=pace):
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def open_body(request: web.BaseRequest) -> AsyncGenerator[bytes, None]:
    """Return the body as a stream of decompressed pieces; raises as `read_body`, except 413."""
    return iter_body(request, _decompressor(request))


async def iter_body(
    request: web.BaseRequest, decompressor: "Decompressor | None", *, pace: Pace = PACE
) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes in, through ``decompressor`` if there is one."""
    await ask_for_body(request)
    content = request.content
    waiting = Waiting(pace)
    try:
        while chunk := content.read_nowait() or (b"" if content.at_eof() else await _wait_for_more(content, waiting)):
            waiting.note_received(len(chunk))
            if decompressor is None:
                yield chunk
                continue
            for piece in decompressor.feed(chunk):
                yield piece
    except _FAILURES as error:
        raise _problem_of(error) from error
    if decompressor is not None and not decompressor.complete:
        raise _bad_compression("ends too early")


async def _wait_for_more(content: StreamReader, waiting: Waiting) -> bytes:
    began = time.monotonic()
    async with asyncio.timeout(waiting.left_s):
        chunk = await content.readany()
    waiting.note_waited(time.monotonic() - began)
    return chunk


def too_large(limit: int) -> Problem:
    """Return the problem of a body, or a line, of more than ``limit`` bytes."""
    return Problem(
        413,
        "Body too large",
        f"At most {limit} bytes are accepted, counted after decompression; split the request.",
    )


class Decompressor:
    """Decompresses a stream piece by piece: gzip of one or more members; deflate, with or without wrapper."""

    def __init__(self, encoding: Literal["gzip", "deflate"]) -> None:
        self._encoding = encoding
        self._head = b""
        self._stream: zlib._Decompress | None = None
        self._members = 0

    @property
    def complete(self) -> bool:
        """Whether the data fed so far ends where a compressed stream ends."""
        return self._members > 0 and self._stream is None and not self._head

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield pieces of at most 64 KiB; raises zlib.error for data that is damaged."""
        data = self._head + data
        self._head = b""
        more = False
        while data or more:
            if self._stream is None:
                data = self._start(data)
                if self._stream is None:
                    return
            if piece := self._stream.decompress(data, _PIECE_BYTES):
                yield piece
            data = self._stream.unconsumed_tail
            more = len(piece) == _PIECE_BYTES  # zlib may hold more output although it took all input
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = None
                self._members += 1
                more = False

    def _start(self, data: bytes) -> bytes:
        """Begin a member at the start of ``data``, or hold it back if too short to tell; return what is left."""
        if self._members:
            if self._encoding == _DEFLATE:
                raise zlib.error("data after the end")
            data = data.lstrip(b"\0")
        if len(data) < 2:
            self._head = data
            return b""
        self._stream = zlib.decompressobj(31 if self._encoding == "gzip" else _deflate_window(data))
        return data


def _deflate_window(data: bytes) -> int:
    """Return zlib's ``wbits``. RFC 9110 means zlib's format, with its check, but some clients send the bare stream."""
    wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


def _decompressor(request: web.BaseRequest) -> Decompressor | None:
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
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
        return _timed_out()
    if isinstance(failure, zlib.error):
        return _bad_compression("is damaged")
    return _cut_off()


def _unsupported(detail: str) -> Problem:
    return Problem(415, "Unsupported media type", detail)


def _cut_off() -> Problem:
    return Problem(
        400,
        "Body cut off",
        "The body ended before its announced length, or its chunks are malformed; send it whole.",
        headers={hdrs.CONNECTION: "close"},
        kind="cut-off",
    )


def _timed_out() -> Problem:
    return Problem(
        408,
        "Body timed out",
        "The body stopped, or came too slowly; check Content-Length, and send the request again.",
        headers={hdrs.CONNECTION: "close"},
        kind="timed-out",
    )


def _bad_compression(what: str) -> Problem:
    return Problem(
        400,
        "Bad compression",
        f"The compressed body {what}; compress it again, or send it uncompressed.",
        kind="bad-compression",
    )
