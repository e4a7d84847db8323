"""Bodies told by how they are made, because one of 10 MiB cannot be shown: parts, how often each, how it is packed."""

import re
import zlib
from collections.abc import Iterator
from typing import Literal

import attrs

_CHUNK_BYTES = 1 << 20

Encoding = Literal["gzip", "deflate", "raw deflate"]
_WBITS: dict[Encoding, int] = {"gzip": 31, "deflate": zlib.MAX_WBITS, "raw deflate": -zlib.MAX_WBITS}


_REPEATED = re.compile(rb"(.{1,24}?)\1{19,}", re.DOTALL)
_SHOWN_BYTES = 400


def told(text: bytes) -> str:
    """Return bytes as they are written in Python, what is repeated in short."""
    parts = []
    at = 0
    for run in _REPEATED.finditer(text):
        parts += [repr(text[at : run.start()])] if run.start() > at else []
        parts.append(f"{len(run[0]) // len(run[1])} * {run[1]!r}")
        at = run.end()
    rest = text[at:]
    if rest or not parts:
        cut = f"…({len(rest)} bytes)" if len(rest) > _SHOWN_BYTES else ""
        parts.append(f"{rest[:_SHOWN_BYTES]!r}{cut}")
    return " + ".join(parts)


@attrs.frozen(repr=False)
class Part:
    """A piece, ``times`` over; where it is ``numbered`` its ``%d`` is another number each time."""

    piece: bytes
    times: int = 1
    numbered: bool = False

    def __len__(self) -> int:
        return sum(len(text) for text in self.texts()) if self.numbered else len(self.piece) * self.times

    def texts(self) -> Iterator[bytes]:
        """Yield the text in chunks of about a MiB."""
        at_once = max(1, _CHUNK_BYTES // max(1, len(self.piece)))
        for start in range(0, self.times, at_once):
            stop = min(start + at_once, self.times)
            yield (
                b"".join(self.piece % number for number in range(start, stop))
                if self.numbered
                else self.piece * (stop - start)
            )

    def __repr__(self) -> str:
        piece = told(self.piece)
        return piece if self.times == 1 else f"{self.times} * ({piece})" if " " in piece else f"{self.times} * {piece}"


@attrs.frozen(kw_only=True)
class Packing:
    """How a text is compressed, well or not.

    Attributes:
        members: into how many parts of about equal length, one behind the other.
        empty: how many compressed parts of nothing follow.
        tail: what follows behind the end.
        cut_bytes: how many bytes are missing at the end.
        flipped: at which byte a bit is wrong; None: at none.
    """

    encoding: Encoding
    level: int = 9
    members: int = 1
    empty: int = 0
    tail: bytes = attrs.field(default=b"", repr=told)
    cut_bytes: int = 0
    flipped: int | None = None

    def pack(self, text: Iterator[bytes]) -> bytes:
        """Return the text, compressed."""
        if self.members > 1:
            whole = b"".join(text)
            size = max(1, -(-len(whole) // self.members))
            packed = b"".join(self._member([whole[start : start + size]]) for start in range(0, len(whole), size))
        else:
            packed = self._member(text)
        packed += self._member([]) * self.empty
        packed = packed[: len(packed) - self.cut_bytes] if self.cut_bytes else packed
        if self.flipped is not None and packed:
            at = self.flipped % len(packed)
            packed = packed[:at] + bytes([packed[at] ^ 16]) + packed[at + 1 :]
        return packed + self.tail

    def _member(self, text: Iterator[bytes] | list[bytes]) -> bytes:
        packer = zlib.compressobj(self.level, zlib.DEFLATED, _WBITS[self.encoding])
        return b"".join([*map(packer.compress, text), packer.flush()])


@attrs.frozen(repr=False)
class Made:
    """A body: its parts in order, packed or not."""

    parts: tuple[Part, ...]
    packing: Packing | None = None

    @classmethod
    def of(cls, *parts: Part | bytes) -> "Made":
        """Return the body of these parts."""
        return cls(tuple(part if isinstance(part, Part) else Part(part) for part in parts))

    @property
    def unpacked_bytes(self) -> int:
        """Size before it is packed."""
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        texts = (text for part in self.parts for text in part.texts())
        return b"".join(texts) if self.packing is None else self.packing.pack(texts)

    def __repr__(self) -> str:
        parts = " + ".join(repr(part) for part in self.parts if part.piece) or "b''"
        return parts if self.packing is None else f"({parts}) | {self.packing}"
