"""The bytes of a file: gunzipped where they are gzipped, and named where they are no text."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import attrs

from app.sending.recordings.recording import RecordingError

BOM: Final = b"\xef\xbb\xbf"
CONTENT_MAX_BYTES: Final = 512 << 20
"""Bytes, unpacked, up to which a file that has to be read as a whole is."""

_GZIP: Final = b"\x1f\x8b"
_GZIP_BITS: Final = 31
_PIECE_BYTES: Final = 1 << 16
_MAGIC: Final = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"PK\x05\x06", "a ZIP archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"BZh", "packed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "packed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it first"),
    (b"SQLite format 3", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"\x7fELF", "a program"),
    (b"\xff\xfe", "text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16; save it as UTF-8"),
)


@attrs.frozen(kw_only=True)
class Survey:
    """A look through a whole file.

    Attributes:
        rows: lines that are not empty.
        first: the first of them, at most 1 MiB of it.
        is_cut_off: whether its gzip stream ends too early.
    """

    rows: int
    first: bytes
    is_cut_off: bool


@attrs.frozen(kw_only=True)
class FileLine:
    """A line and its place. ``has_end``: whether a line feed ends it, which the last line of a file may lack."""

    place: str
    text: bytes
    has_end: bool = True


def survey(path: Path) -> Survey:
    """Go through the whole file.

    Raises:
        RecordingError: it cannot be read, or holds no text.
    """
    pieces = Pieces(path)
    rows, first = 0, b""
    for line in _lines(pieces):
        if text := line.text.removeprefix(BOM).strip():
            first = first or text[: 1 << 20]
            rows += 1
    if named := _binary(pieces.head):
        raise RecordingError(f"{path} is {named}")
    if not rows:
        raise RecordingError(f"{path} is empty" if not pieces.is_cut_off else f"cannot read {path}: it ends too early")
    return Survey(rows=rows, first=first, is_cut_off=pieces.is_cut_off)


def content_of(path: Path) -> bytes:
    """Return the file's content without a byte order mark; of a gzip stream that ends too early what is there.

    Raises:
        RecordingError: it cannot be read.
    """
    parts: list[bytes] = []
    size = 0
    for part in Pieces(path):
        parts.append(part)
        size += len(part)
        if size > CONTENT_MAX_BYTES:
            raise RecordingError(f"{path} is larger than the {CONTENT_MAX_BYTES >> 20} MiB that one match may have")
    return b"".join(parts).removeprefix(BOM)


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file, 8 KiB at most; none where it cannot be read, because it is one of several."""
    try:
        return next(iter(Pieces(path)), b"")[: 1 << 13]
    except RecordingError:
        return b""


def lines_of(path: Path) -> Iterator[FileLine]:
    """Yield the lines that are not empty."""
    for line in _lines(Pieces(path)):
        if text := line.text.removeprefix(BOM).strip():
            yield attrs.evolve(line, text=text)


@attrs.define
class Pieces:
    """The pieces of a file, unpacked where it is gzipped; can be gone through once.

    Attributes:
        head: its first bytes, once it has been begun.
        is_cut_off: whether its gzip stream ended too early, once it has been gone through.
    """

    path: Path
    head: bytes = b""
    is_cut_off: bool = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                packed = file.read(2)
                file.seek(0)
                pieces = self._unpacked(file) if packed == _GZIP else iter(lambda: file.read(_PIECE_BYTES), b"")
                for piece in pieces:
                    self.head = self.head or piece[:4096]
                    yield piece
        except (OSError, zlib.error) as error:
            raise RecordingError(f"cannot read {self.path}: {error}") from error

    def _unpacked(self, file: IO[bytes]) -> Iterator[bytes]:
        """Yield what the members of a gzip file hold, of one that ends too early what there is."""
        unpacking = zlib.decompressobj(_GZIP_BITS)
        while packed := file.read(_PIECE_BYTES):
            while packed:
                if unpacking.eof:
                    packed = packed.lstrip(b"\0")
                    if not packed:
                        break
                    unpacking = zlib.decompressobj(_GZIP_BITS)
                if piece := unpacking.decompress(packed, _PIECE_BYTES):
                    yield piece
                packed = unpacking.unconsumed_tail or unpacking.unused_data
        self.is_cut_off = not unpacking.eof


def _lines(pieces: Pieces) -> Iterator[FileLine]:
    begun: list[bytes] = []  # pieces of a line whose end has not been seen
    number = 0
    for piece in pieces:
        *whole, rest = piece.split(b"\n")
        for text in whole:
            number += 1
            yield FileLine(place=f"line {number}", text=b"".join([*begun, text]))
            begun = []
        if rest:
            begun.append(rest)
    if begun:
        yield FileLine(place=f"line {number + 1}", text=b"".join(begun), has_end=False)


def stem_of(path: Path) -> str:
    """Return a file's name without ``.gz`` and the ending before it."""
    return path.name.split(".")[0] or path.name


def _binary(head: bytes) -> str:
    """Name a file that holds no text; empty where it may hold some."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return "not text: it has bytes that no text has" if b"\0" in head else ""
