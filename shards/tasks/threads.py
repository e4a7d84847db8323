"""Work in threads that goes on when the task that waits for it is cancelled."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """Work in threads of one task and its successors, in one event loop.

    A thread cannot be cancelled. So a successor first waits for what its predecessor has left: :meth:`settled`.
    """

    def __init__(self) -> None:
        self._working: set[asyncio.Future[Any]] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """Run a blocking call in a thread; return its result, or raise its error."""
        return await self._finish(asyncio.get_running_loop().run_in_executor(None, work))

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that waits for a thread to its end, also if the caller is cancelled."""
        return await self._finish(asyncio.create_task(work, name="thread"))

    async def _finish(self, work: "asyncio.Future[T]") -> T:
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        return await asyncio.shield(work)

    async def settled(self) -> None:
        """Return when no thread works any more."""
        while self._working:
            await asyncio.wait(self._working)
