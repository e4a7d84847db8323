"""Decompressing while counting."""

import gzip
import zlib
from typing import Literal

import pytest

from app.web.body import Decompressor

TEXT = b'{"matchId":"m"}\n' * 20_000


def deflated(text: bytes, *, window: int = zlib.MAX_WBITS) -> bytes:
    stream = zlib.compressobj(wbits=window)
    return stream.compress(text) + stream.flush()


def run(encoding: Literal["gzip", "deflate"], data: bytes, size: int) -> tuple[bytes, bool]:
    decompressor = Decompressor(encoding)
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    pieces = [piece for chunk in chunks for piece in decompressor.feed(chunk)]
    assert all(0 < len(piece) <= 64 * 1024 for piece in pieces)
    return b"".join(pieces), decompressor.complete


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:1000]) + gzip.compress(b"") + gzip.compress(TEXT[1000:])),
        ("gzip", gzip.compress(TEXT) + b"\0" * 10),
        ("deflate", deflated(TEXT)),
        ("deflate", deflated(TEXT, window=-zlib.MAX_WBITS)),
    ],
)
def test_whole_streams(encoding: Literal["gzip", "deflate"], data: bytes, size: int) -> None:
    assert run(encoding, data, size) == (TEXT, True)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_streams_cut_anywhere_are_not_complete(encoding: Literal["gzip", "deflate"], size: int) -> None:
    data = gzip.compress(b"a" * 50) if encoding == "gzip" else deflated(b"a" * 50)
    for length in range(len(data)):
        text, complete = run(encoding, data[:length], size)
        assert not complete
        assert text == b"a" * 50 or len(text) < 50


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", b"not compressed at all"),
        ("gzip", gzip.compress(TEXT)[:-8] + b"\0" * 8),
        ("gzip", gzip.compress(TEXT) + b"garbage"),
        ("deflate", deflated(TEXT)[:-4] + b"\0" * 4),
        ("deflate", deflated(TEXT) + b"x"),
        ("deflate", b"\xff" * 30),
    ],
)
def test_damaged_streams(encoding: Literal["gzip", "deflate"], data: bytes) -> None:
    with pytest.raises(zlib.error):
        run(encoding, data, 1 << 20)


def test_bare_deflate_of_any_length_is_complete() -> None:
    for length in range((64 << 10) - 300, (64 << 10) + 300):
        text = b"a" * length
        assert run("deflate", deflated(text, window=-zlib.MAX_WBITS), 1 << 20) == (text, True)


def test_a_bomb_is_opened_piece_by_piece() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20), compresslevel=1)
    taken = 0
    for piece in Decompressor("gzip").feed(bomb):
        taken += len(piece)
        if taken > 1 << 20:
            break
    assert taken <= (1 << 20) + 64 * 1024
