"""Time limits of readers that wait for ClickHouse, so that each is told something promptly, whatever it does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs

from shards import StoreUnavailable, TooManyReads

T = TypeVar("T")

WITH_ANSWER_S = 2.0
"""Seconds after which a reader is given the last good answer."""

WITHOUT_ANSWER_S = 5.0
"""Seconds after which a reader without an earlier answer is told to come again. The first count of a match of many
millions takes a second or two."""

AWAY_S = 0.2
"""Seconds in place of either while ClickHouse is known to be away: enough to notice that it is back, or that only a
connection was lost."""


def _never() -> bool:
    return False


@attrs.frozen
class Patience:
    """Waits for loads, which go on when the waiting ends; ``is_away`` says whether ClickHouse is known to be away."""

    is_away: Callable[[], bool] = _never

    async def wait(self, loads: Collection[asyncio.Future[T]], *, at_hand: bool) -> None:
        """Return when the loads are done, or when the time is over and an earlier answer is ``at_hand``.

        Raises StoreUnavailable when the time is over and none is.
        """
        if not loads:
            return
        timeout_s = AWAY_S if self.is_away() else WITH_ANSWER_S if at_hand else WITHOUT_ANSWER_S
        _, waiting = await asyncio.wait(loads, timeout=timeout_s)
        if waiting and not at_hand:
            raise StoreUnavailable(f"ClickHouse did not answer within {timeout_s:g} s")

    async def wait_for(self, load: "asyncio.Future[T]") -> None:
        """Return when a load is done; raise StoreUnavailable as :meth:`wait` without an answer at hand."""
        await self.wait({load}, at_hand=False)


class Line:
    """Readers who come one after the other; whoever finds too many waiting is refused.

    Args:
        waiting_max: most that wait, or are served, at a time.
    """

    def __init__(self, waiting_max: int) -> None:
        self._waiting_max = waiting_max
        self._turn = asyncio.Lock()
        self._there = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn, and hold it for as long as the block runs. Raises TooManyReads."""
        if self._there >= self._waiting_max:
            raise TooManyReads("too many lists of matches are being read")
        self._there += 1
        try:
            async with self._turn:
                yield
        finally:
            self._there -= 1
