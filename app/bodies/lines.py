"""Lines of a stream, in slices that become durable together, soon after they came."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from typing import Protocol

import attrs

from app.bodies.reading import silent, too_large
from app.bodies.room import BodyShare
from app.schemas.batch import BOM, Numbered, numbered
from app.schemas.events import EVENT_MAX_BYTES
from app.web.problems import Problem

SLICE_LINES = 5_000
SLICE_BYTES = 512 << 10
SLICE_S = 0.4
"""Lines are made durable together as soon as they are this many, have this many bytes, or have waited this long."""

STRETCH_BYTES = 32 << 10
"""Bytes that are taken apart at a stretch: if these are blank lines, that takes a few milliseconds."""

SILENCE_S = 75.0
"""Seconds after which a stream is ended that sends no whole line; a blank line keeps it open."""


class Read(Protocol):
    """Reads the next piece of a stream, as `app.bodies.reading.BodyReader.read`."""

    def __call__(self, *, within_s: float | None) -> Awaitable[bytes | None]:
        """Return it; b"" at the end; None if nothing came in time."""


class LineTooLong(Problem):
    """A line of a stream is longer than a whole body may be."""

    def __init__(self, limit: int) -> None:
        """Tell the limit, in bytes."""
        problem = too_large(limit)
        super().__init__(problem.status, problem.title, problem.detail, kind=problem.kind)


@attrs.define
class Slice:
    """Some whole lines, in order, without blank ones. ``end``: lines of the stream up to here, blank ones too."""

    end: int
    pieces: list[Numbered] = attrs.field(factory=list)
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether there are enough lines to be worked on."""
        return self.size_bytes >= SLICE_BYTES or len(self.pieces) >= SLICE_LINES

    def add(self, lines: list[bytes]) -> None:
        """Append whole lines."""
        if self.end == 0:
            lines[0] = lines[0].removeprefix(BOM)
        self.pieces += numbered(lines, self.end, blank=True)
        self.size_bytes += sum(map(len, lines))
        self.end += len(lines)


class LineStream:
    """Reads a stream of lines; holds one slice, one piece of the stream and the line that has not ended yet.

    Of a line that is too long for an event only as much is kept as shows that.
    """

    def __init__(self, read: Read, share: BodyShare, *, line_max_bytes: int) -> None:
        """Begin; ``line_max_bytes`` is the length of a line beyond which the stream ends."""
        self._read = read
        self._share = share
        self._line_max = line_max_bytes
        self._tail = bytearray()
        self._tail_bytes = 0
        self._slice = Slice(0)
        self._ended = False
        self._line_came_s = time.monotonic()
        self._first_came_s = 0.0

    async def slices(self) -> AsyncGenerator[Slice, None]:
        """Yield slices until the stream ends. The last line needs no newline.

        Raises Problem, as the reading does, and LineTooLong (413), each after every whole line before it was yielded.
        """
        stopped: Problem | None = None
        while not self._ended:
            try:
                await self._fill()
            except Problem as problem:
                stopped = problem
            slice_, self._slice = self._slice, Slice(self._slice.end)
            yield slice_
            if stopped is not None:
                raise stopped
            self._settle()
            self._line_came_s = time.monotonic()

    async def _fill(self) -> None:
        """Read until the slice is full, its first line has waited long enough, or the stream ends."""
        while not self._slice.is_full:
            piece = await self._read(within_s=self._left_s())
            if piece is None:
                if self._slice.pieces:
                    return
                raise silent(f", without a whole line for {SILENCE_S:g} s")
            if not piece:
                self._end()
                return
            await self._share.take(len(piece))
            for start in range(0, len(piece), STRETCH_BYTES):
                self._add(piece[start : start + STRETCH_BYTES])
                await asyncio.sleep(0)
            self._settle()
            if self._slice.pieces and self._left_s() == 0:
                return

    def _left_s(self) -> float:
        until = self._first_came_s + SLICE_S if self._slice.pieces else self._line_came_s + SILENCE_S
        return max(0.0, until - time.monotonic())

    def _add(self, piece: bytes) -> None:
        whole, newline, rest = piece.rpartition(b"\n")
        if newline:
            had = bool(self._slice.pieces)
            self._add_lines(whole.split(b"\n"))
            self._line_came_s = time.monotonic()
            if not had:
                self._first_came_s = self._line_came_s
        self._extend(rest)

    def _add_lines(self, lines: list[bytes]) -> None:
        self._extend(lines[0])
        lines[0] = bytes(self._tail)
        self._tail = bytearray()
        self._tail_bytes = 0
        too_long = next((at for at, line in enumerate(lines) if len(line) > self._line_max), None)
        self._slice.add(lines[:too_long])
        if too_long is not None:
            raise LineTooLong(self._line_max)

    def _extend(self, part: bytes) -> None:
        """Add to the line that has not ended yet."""
        self._tail_bytes += len(part)
        if self._tail_bytes > self._line_max:
            raise LineTooLong(self._line_max)
        self._tail += part[: EVENT_MAX_BYTES + 1 - len(self._tail)]

    def _end(self) -> None:
        self._ended = True
        if self._tail:
            self._add_lines([b""])

    def _settle(self) -> None:
        """Give back the room for what is not held any more."""
        self._share.give_back(self._share.held - self._slice.size_bytes - len(self._tail))
