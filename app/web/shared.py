"""One result for all who ask for the same: single flight, and a cache that is bounded by number, bytes and age."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs

from shards import StoreUnavailable

KEPT_BYTES = 32 << 20
"""Most bytes of results that one cache keeps, unless it says otherwise."""

_FORGOTTEN = object()
"""The version of a call that is not to be used any more."""

K = TypeVar("K")
V = TypeVar("V")


@attrs.define(eq=False)
class _Call(Generic[V]):
    """One call: when it began on the monotonic clock, the version it is made from, its task, and who waits for it."""

    began: float
    version: object
    task: "asyncio.Task[V]"
    readers: int = 0
    size: int = 0


def no_size(_: object) -> int:
    """Return 0: for results that are small whatever is asked for."""
    return 0


async def to_its_end(call: "asyncio.Future[V]") -> None:
    """Wait for a call, however long it takes. It goes on for the others when one that waits goes away."""
    await asyncio.wait({call})


class Shared(Generic[K, V]):
    """Results by key, and by the version of what they are made from. Errors are shared as results are.

    A result is given to those who ask within ``max_age_s`` after its call began. One key and version never has more
    than one call under way: whoever comes later waits for its end, and shares the next one. A call goes on when those
    who wait for it have gone, unless it is ``for_readers``.

    Attributes:
        hits: results that were given because they were at hand, or being made.
        misses: results that had to be made.
        max_age_s: age up to which a result is given, in s; infinite: until there is another version.
    """

    def __init__(
        self,
        *,
        max_age_s: float = math.inf,
        keys_max: int,
        wait: "Callable[[asyncio.Future[V]], Awaitable[None]]" = to_its_end,
        for_readers: bool = False,
        bytes_max: int = KEPT_BYTES,
        size_of: Callable[[V], int] = no_size,
    ) -> None:
        """Remember nothing yet.

        Args:
            max_age_s: see above.
            keys_max: most results that are kept; the least recently used one goes first.
            wait: waits for a call; may raise where that takes too long.
            bytes_max: most bytes of results that are kept, but for a single one that has more.
            size_of: size of a result, in bytes.
            for_readers: a call ends when the last of those who wait for it goes away.
        """
        self.max_age_s = max_age_s
        self._wait = wait
        self._for_readers = for_readers
        self._bytes_max = bytes_max
        self._size_of = size_of
        self._keys_max = keys_max
        self._calls: OrderedDict[K, _Call[V]] = OrderedDict()
        self.hits = self.misses = 0

    async def get(self, key: K, make: Callable[[], Awaitable[V]], *, version: object = None) -> V:
        """Return the result for a key; call ``make`` where there is none that may be given.

        Raises what its call or the wait raises, and StoreUnavailable at shutdown.
        """
        while (call := self._used(key)) is not None and call.version is version:
            if call.task.cancelled():
                break  # by whoever cancels tasks; only those who waited then are told
            if time.monotonic() - call.began < self.max_age_s:
                self.hits += 1
                return await self._result(call)
            if call.task.done():
                break
            await self._waited(call)
        self.misses += 1
        return await self._result(self._start(key, make, version))

    def forget(self, wanted: Callable[[K], bool]) -> None:
        """Give the results of some keys to nobody any more. A call under way goes on for those who wait for it."""
        for key, call in list(self._calls.items()):
            if wanted(key):
                call.version = _FORGOTTEN
                if call.task.done():
                    del self._calls[key]

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = [call.task for call in self._calls.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _result(self, call: _Call[V]) -> V:
        if not call.task.done():
            await self._waited(call)
        if call.task.cancelled():
            raise StoreUnavailable("the service is shutting down")
        return call.task.result()

    def _used(self, key: K) -> _Call[V] | None:
        """Return the call of a key, which is the last that goes now."""
        if key in self._calls:
            self._calls.move_to_end(key)
        return self._calls.get(key)

    async def _waited(self, call: _Call[V]) -> None:
        call.readers += 1
        try:
            await self._wait(call.task)
        except asyncio.CancelledError:
            if self._for_readers and call.readers == 1:
                call.task.cancel()
            raise
        finally:
            call.readers -= 1

    def _start(self, key: K, make: Callable[[], Awaitable[V]], version: object) -> _Call[V]:
        async def made() -> V:
            return await make()

        call = _Call(time.monotonic(), version, asyncio.create_task(made(), name=f"make {key}"))
        call.task.add_done_callback(lambda _: self._note_done(key, call))
        self._calls[key] = call
        self._calls.move_to_end(key)
        if len(self._calls) > self._keys_max:
            self._calls.popitem(last=False)
        return call

    def _note_done(self, key: K, call: _Call[V]) -> None:
        """Retrieve an error even if everyone who waited for it has gone; forget the result ``max_age_s`` later."""
        if not call.task.cancelled() and call.task.exception() is None:
            call.size = self._size_of(call.task.result())
            while len(self._calls) > 1 and sum(kept.size for kept in self._calls.values()) > self._bytes_max:
                self._calls.popitem(last=False)
        if call.version is _FORGOTTEN:
            self._forget(key, call)
        elif math.isfinite(self.max_age_s):
            asyncio.get_running_loop().call_later(self.max_age_s, self._forget, key, call)

    def _forget(self, key: K, call: _Call[V]) -> None:
        if self._calls.get(key) is call:
            del self._calls[key]
