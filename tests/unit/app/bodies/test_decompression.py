"""Decompressing while counting."""

import gzip
import zlib
from typing import Literal

import pytest

from app.bodies.decompression import INPUT_BYTES, MEMBERS_FREE, BadCompression, Decompressor

TEXT = b'{"matchId":"m"}\n' * 20_000


def deflated(text: bytes, *, window: int = zlib.MAX_WBITS) -> bytes:
    stream = zlib.compressobj(wbits=window)
    return stream.compress(text) + stream.flush()


def run(encoding: Literal["gzip", "deflate"], data: bytes, size: int) -> tuple[bytes, bool]:
    decompressor = Decompressor(encoding)
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    pieces = [piece for chunk in chunks for piece in decompressor.feed(chunk)]
    assert all(len(piece) <= 64 * 1024 for piece in pieces)
    return b"".join(pieces), _is_complete(decompressor)


def _is_complete(decompressor: Decompressor) -> bool:
    try:
        decompressor.end()
    except BadCompression:
        return False
    return True


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
        ("deflate", deflated(TEXT)[:-4] + b"\0" * 4),
        ("deflate", b"\xff" * 30),
    ],
)
def test_damaged_streams(encoding: Literal["gzip", "deflate"], data: bytes) -> None:
    with pytest.raises(BadCompression, match="is damaged"):
        run(encoding, data, 1 << 20)


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("more", [b"garbage", b"x", b"\x1f", b"\0\0\x1f", b"\0x"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bytes_after_the_end_are_called_what_they_are(
    encoding: Literal["gzip", "deflate"], more: bytes, size: int
) -> None:
    data = (gzip.compress(TEXT) if encoding == "gzip" else deflated(TEXT)) + more

    def read() -> None:
        decompressor = Decompressor(encoding)
        for at in range(0, len(data), size):
            list(decompressor.feed(data[at : at + size]))
        decompressor.end()

    with pytest.raises(BadCompression, match=f"is followed by bytes that are no {encoding}"):
        read()


def test_members_with_hardly_anything_in_them_are_refused_and_others_taken() -> None:
    few, full = gzip.compress(b"") * MEMBERS_FREE, gzip.compress(TEXT[:100]) * (2 * MEMBERS_FREE)
    assert run("gzip", few, 1 << 20) == (b"", True)
    assert run("gzip", few + full, 1 << 20) == (TEXT[:100] * (2 * MEMBERS_FREE), True)
    with pytest.raises(BadCompression, match="members with hardly anything"):
        run("gzip", gzip.compress(b"") * (MEMBERS_FREE + 2), 1 << 20)


def test_members_without_anything_in_them_give_others_their_turn() -> None:
    members = gzip.compress(TEXT * 1_000) + gzip.compress(b"") * 10_000
    pieces = list(Decompressor("gzip").feed(members))
    assert pieces.count(b"") == (len(members) - 1) // INPUT_BYTES
    assert b"".join(pieces) == TEXT * 1_000


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
