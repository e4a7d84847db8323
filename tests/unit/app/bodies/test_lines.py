"""Taking streams apart into lines."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bodies import lines
from app.bodies.lines import LineStream, LineTooLong, Slice
from app.bodies.room import BodyRoom, BodyShare
from app.schemas.events import EVENT_MAX_BYTES
from app.web.problems import Problem

CUT_OFF = Problem(400, "Body cut off", "It was cut off.")


class Pieces:
    """A stream that ends, or breaks off, behind some pieces; ``None`` among these: nothing comes for long."""

    def __init__(self, *pieces: bytes | None, then: Problem | None = None) -> None:
        self._pieces: Iterator[bytes | None] = iter(pieces)
        self._then = then
        self.asked: list[float | None] = []

    async def read(self, *, within_s: float | None) -> bytes | None:
        self.asked.append(within_s)
        for piece in self._pieces:
            return piece
        if self._then is not None:
            raise self._then
        return b""


async def read(pieces: Pieces, *, line_max_bytes: int = 100, share: BodyShare | None = None) -> list[Slice]:
    with BodyRoom(1 << 30).stream() as own:
        stream = LineStream(pieces.read, share or own, line_max_bytes=line_max_bytes)
        return [part async for part in stream.slices()]


@given(st.lists(st.sampled_from([b"", b" ", b"{}", b'{"a":1}']), max_size=30), st.integers(1, 9), st.booleans())
async def test_lines_of_a_stream_do_not_depend_on_its_pieces(rows: list[bytes], size: int, end: bool) -> None:
    body = b"\n".join(rows) + (b"\n" if end and rows else b"")
    parts = await read(Pieces(*(body[at : at + size] for at in range(0, len(body), size))))
    found = [piece for part in parts for piece in part.pieces]
    assert found == [(number, row) for number, row in enumerate(rows) if row.strip()]
    assert parts[-1].end == len(body.split(b"\n")) - (body.split(b"\n")[-1] == b"")


async def test_a_long_stream_comes_in_slices() -> None:
    parts = await read(Pieces(*[b"{}\n" * 1000] * 13))
    assert len(parts) > 2
    assert [part.end for part in parts][-1] == 13_000
    assert sum(len(part.pieces) for part in parts) == 13_000


@pytest.mark.parametrize(
    "pieces", [[b"1\n2\n" + b"x" * 101], [b"1\n2\n", *[b"x" * 10] * 11], [b"1\n2\n" + b"x" * 101 + b"\n3\n"]]
)
async def test_lines_before_one_too_long_are_yielded(pieces: list[bytes]) -> None:
    with BodyRoom(1 << 30).stream() as share:
        parts = LineStream(Pieces(*pieces).read, share, line_max_bytes=100).slices()
        before = await anext(parts)
        assert (before.end, before.pieces) == (2, [(0, b"1"), (1, b"2")])
        with pytest.raises(LineTooLong):
            await anext(parts)


async def test_what_was_whole_when_a_stream_breaks_off_is_yielded() -> None:
    with BodyRoom(1 << 30).stream() as share:
        parts = LineStream(Pieces(b"1\n2\n3", then=CUT_OFF).read, share, line_max_bytes=100).slices()
        assert (await anext(parts)).pieces == [(0, b"1"), (1, b"2")]
        with pytest.raises(Problem, match="cut off"):
            await anext(parts)


async def test_lines_wait_no_longer_than_they_may() -> None:
    pieces = Pieces(b"1\n2", None, b"\n", None, None)
    with BodyRoom(1 << 30).stream() as share:
        parts = LineStream(pieces.read, share, line_max_bytes=100).slices()
        assert (await anext(parts)).pieces == [(0, b"1")]
        assert (await anext(parts)).pieces == [(1, b"2")]
        assert not (await anext(parts)).pieces
        with pytest.raises(Problem, match="without a whole line for 75 s"):
            await anext(parts)
    assert [within is not None and within > 1 for within in pieces.asked] == [True, False, True, False, True]


async def test_blank_lines_keep_a_stream_open(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(lines.time, "monotonic", lambda: now[0])

    class Slow(Pieces):
        async def read(self, *, within_s: float | None) -> bytes | None:
            now[0] += 60
            return await super().read(within_s=within_s)

    assert (await read(Slow(*[b"\n"] * 10, b"1")))[-1].pieces == [(10, b"1")]


async def test_of_a_line_too_long_for_an_event_little_is_held() -> None:
    room = BodyRoom(1 << 30)
    held = []

    class Watched(Pieces):
        async def read(self, *, within_s: float | None) -> bytes | None:
            held.append(room.taken)
            return await super().read(within_s=within_s)

    pieces = Watched(*[b"x" * 60_000] * 100, b"\n{}\n")
    with room.stream() as share:
        parts = await read(pieces, line_max_bytes=10 << 20, share=share)
    assert EVENT_MAX_BYTES < max(held) < EVENT_MAX_BYTES + 10
    (first, text), second = parts[-1].pieces
    assert (first, len(text), second) == (0, EVENT_MAX_BYTES + 1, (1, b"{}"))
    assert room.taken == 0
