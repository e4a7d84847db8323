"""The memory that bodies of requests may hold together, so that a crowd of large ones costs time, not memory.

Room is taken as bytes arrive, in order of arrival. Small bodies have a part to themselves, because what fans send must
not wait for files. Numbers are bytes after decompression; what asyncio and the kernel hold of a connection
(128 KiB and less) is not counted.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext

import attrs
from aiohttp import hdrs

from app.bodies.memory import Trimmer
from app.web.problems import Problem

SMALL_BYTES = 64 << 10
"""Size up to which a body is small."""

SMALL_SHARE = 4
"""Small bodies have one part in so many to themselves."""

LARGE_BYTES = 1 << 20
"""Size from which a body needs one of `LARGE_MAX` places, and has to keep a pace."""

LARGE_MAX = 12
"""The most bodies of more than `LARGE_BYTES` that are held at a time."""

DECODED_MAX = 2
"""Bodies beyond `SMALL_BYTES` that are taken apart at a time: their events take several times the room of the text,
and more at a time would not be done any sooner, because Python works on one."""

STREAMS_MAX = 256
"""The most requests to ``/bulk`` at a time."""

PATIENCE_S = 5.0
"""Seconds that a body may wait for room."""

RETRY_AFTER_S = 5

_AT_ONCE = nullcontext()


class _Pool:
    """A number of bytes, handed out in the order in which they were asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        return self.size - self._free

    async def take(self, size: int) -> None:
        """Take bytes, or wait for them; raise Problem (503) where they are not free in time."""
        if size <= self._free and not self._waiting:
            self._free -= size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await _patiently(turn)
        except BaseException:
            self._leave(size, turn)
            raise

    def give_back(self, size: int) -> None:
        self._free += size
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)

    def _leave(self, size: int, turn: "asyncio.Future[None]") -> None:
        """Take back what came too late, and let those behind go on."""
        came = turn.done() and not turn.cancelled()
        turn.cancel()
        self.give_back(size if came else 0)


class BodyRoom:
    """All of the memory for bodies. One is part of the context."""

    def __init__(self, size: int) -> None:
        """Make room for ``size`` bytes."""
        self._small = _Pool(size // SMALL_SHARE)
        self._large = _Pool(size - size // SMALL_SHARE)
        self._places = asyncio.Semaphore(LARGE_MAX)
        self._decoders = asyncio.Semaphore(DECODED_MAX)
        self._streams = 0
        self._trimmer = Trimmer()

    @property
    def taken(self) -> int:
        """Bytes that are held now."""
        return self._small.taken + self._large.taken

    def note_held(self) -> None:
        """Tell the trimmer how much is held now."""
        self._trimmer.note(self.taken)

    def body(self) -> "BodyShare":
        """Return the share of one body, which is empty. Use it in a ``with``, which gives it back at the end."""
        return BodyShare(self, self._small, self._large, self._places, self._decoders)

    @contextmanager
    def stream(self) -> "Iterator[BodyShare]":
        """Yield the share of one stream; raise Problem (503) where there are `STREAMS_MAX` already."""
        if self._streams >= STREAMS_MAX:
            raise no_room(f"{STREAMS_MAX} streams are open already.")
        self._streams += 1
        try:
            with self.body() as share:
                yield share
        finally:
            self._streams -= 1


@attrs.define
class BodyShare:
    """What one body holds. It begins among the small ones, and moves to the large ones as it grows."""

    _room: BodyRoom
    _small: _Pool
    _large: _Pool
    _places: asyncio.Semaphore
    _decoders: asyncio.Semaphore
    held: int = 0
    _pool: _Pool | None = None
    _has_place: bool = False

    def __enter__(self) -> "BodyShare":
        return self

    def __exit__(self, *_: object) -> None:
        self._room.note_held()
        self.give_back()
        self._room.note_held()

    @property
    def is_large(self) -> bool:
        """Whether the body has to keep the pace of large ones."""
        return self.held > LARGE_BYTES

    async def take(self, size: int) -> None:
        """Take room for ``size`` more bytes, or wait for it; raise Problem (503) where there is none in time."""
        wanted = self.held + size
        if wanted > LARGE_BYTES and not self._has_place:
            await _patiently(self._places.acquire())
            self._has_place = True
        if wanted <= SMALL_BYTES or self._pool is self._large:
            pool = self._pool or self._small
            await pool.take(size)
        else:
            pool = self._large
            await pool.take(wanted)
            self._small.give_back(self.held)
        self._pool = pool
        self.held = wanted

    def give_back(self, size: int | None = None) -> None:
        """Give back ``size`` bytes, by default all."""
        size = self.held if size is None else size
        if self._pool is not None:
            self._pool.give_back(size)
            self.held -= size
        if self.held == 0:
            self._pool = None
        if self._has_place and self.held <= LARGE_BYTES:
            self._has_place = False
            self._places.release()

    def decoding(self) -> AbstractAsyncContextManager[None]:
        """Return what to hold while the body is taken apart: large ones wait for their turn, small ones need not."""
        return self._decoders if self.held > SMALL_BYTES else _AT_ONCE


def no_room(reason: str) -> Problem:
    """Return the problem of a request whose body finds no room."""
    return Problem(
        503,
        "Service unavailable",
        f"There is no room for this body now: {reason}"
        " Send it again after Retry-After; with the same ids or Idempotency-Key nothing counts twice.",
        headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S), hdrs.CONNECTION: "close"},
    )


async def _patiently(turn: "asyncio.Future[None] | object") -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await turn  # type: ignore[misc]
    except TimeoutError:
        raise no_room("many large ones are being received.") from None
