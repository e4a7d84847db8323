"""Decompression of a body while it comes in."""

import zlib
from collections.abc import Iterator
from typing import Literal

PIECE_BYTES = 64 * 1024
"""The largest piece that is yielded."""

INPUT_BYTES = 16 * 1024
"""Bytes that are decompressed at a stretch. Some 800 empty members of gzip fit in, which take 5 ms."""

MEMBERS_FREE = 200
MEMBER_BYTES = 16
"""A body of gzip may have `MEMBERS_FREE` members, and one more for each `MEMBER_BYTES` bytes in them, because to begin
one takes as long as to work on so much of events."""

_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE = "deflate"


class BadCompression(ValueError):
    """The data cannot be decompressed; the message completes "the compressed body …"."""


class Decompressor:
    """Decompresses a stream piece by piece: gzip of one or more members; deflate, with or without wrapper."""

    def __init__(self, encoding: Literal["gzip", "deflate"]) -> None:
        self._encoding = encoding
        self._head = b""
        self._stream: zlib._Decompress | None = None
        self._members = 0
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield pieces of at most `PIECE_BYTES`, and an empty one after each `INPUT_BYTES` of data.

        So others get their turn also where very many members have nothing in them. Raises BadCompression for data that
        is damaged.
        """
        try:
            for start in range(0, len(data), INPUT_BYTES):
                if start:
                    yield b""
                yield from self._pieces(self._head + data[start : start + INPUT_BYTES])
        except zlib.error:
            raise BadCompression("is damaged") from None

    def end(self) -> None:
        """Raise BadCompression where the data fed so far does not end where a compressed stream ends."""
        if self._members and self._head:
            raise self._followed()
        if not self._members or self._stream is not None:
            raise BadCompression("ends too early")

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        self._head = b""
        more = False
        while data or more:
            if self._stream is None:
                data = self._start(data)
                if self._stream is None:
                    return
            if piece := self._stream.decompress(data, PIECE_BYTES):
                self._size += len(piece)
                yield piece
            data = self._stream.unconsumed_tail
            more = len(piece) == PIECE_BYTES  # zlib may hold more output although it took all input
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = None
                self._members += 1
                more = False

    def _start(self, data: bytes) -> bytes:
        """Begin a member at the start of ``data``, or hold it back if too short to tell; return what is left."""
        if self._members:
            data = self._between(data)
        if len(data) < len(_GZIP_MAGIC):
            self._head = data
            return b""
        if self._members and data[:2] != _GZIP_MAGIC:
            raise self._followed()
        self._stream = zlib.decompressobj(31 if self._encoding == "gzip" else _deflate_window(data))
        return data

    def _between(self, data: bytes) -> bytes:
        """Return what follows a member, without the zeros that some programs pad with."""
        if self._encoding == _DEFLATE:
            raise self._followed()
        if self._members > MEMBERS_FREE + self._size // MEMBER_BYTES:
            raise BadCompression(f"has {self._members} members with hardly anything in them")
        return data.lstrip(b"\0")

    def _followed(self) -> BadCompression:
        return BadCompression(f"is followed by bytes that are no {self._encoding}")


def _deflate_window(data: bytes) -> int:
    """Return zlib's ``wbits``. RFC 9110 means zlib's format, with its check, but some clients send the bare stream."""
    wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
