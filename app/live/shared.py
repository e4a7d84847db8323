"""One load for all who ask the same, and for a moment after."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.live.waiting import Patience
from shards import StoreUnavailable

K = TypeVar("K")
V = TypeVar("V")

MAX_AGE_S = 0.5
KEYS_MAX = 256


class Shared(Generic[K, V]):
    """Results by key whose load began at most :data:`MAX_AGE_S` before they were asked for; errors are shared too.

    Of one key there is never more than one load: who comes late waits for its end, and shares the next one.

    Bounded: the oldest key goes first.
    """

    def __init__(self, load: Callable[[K], Awaitable[V]], patience: Patience) -> None:
        self._load = load
        self._patience = patience
        self._calls: OrderedDict[K, tuple[float, asyncio.Future[V]]] = OrderedDict()

    async def get(self, key: K) -> V:
        """Return the result for a key, or raise what its load raised; StoreUnavailable if it takes too long."""
        while True:
            began, call = self._calls.get(key, (float("-inf"), None))
            too_old = time.monotonic() - began >= MAX_AGE_S
            if call is None or call.done() or not too_old:
                break
            await self._patience.wait({call}, at_hand=False)
        if call is None or too_old:
            call = asyncio.ensure_future(self._load(key))
            call.add_done_callback(lambda done: self._note(key, done))
            self._calls[key] = (time.monotonic(), call)
            self._calls.move_to_end(key)
        while len(self._calls) > KEYS_MAX:
            self._calls.popitem(last=False)
        await self._patience.wait({call}, at_hand=False)
        if call.cancelled():
            raise StoreUnavailable("the service is shutting down")
        return call.result()

    async def close(self) -> None:
        """Cancel what is being loaded."""
        calls = [call for _, call in self._calls.values()]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def _note(self, key: K, call: asyncio.Future[V]) -> None:
        """Take notice of an error, also if everyone who waited for it has gone; forget the result in a while."""
        if not call.cancelled():
            call.exception()
        asyncio.get_running_loop().call_later(MAX_AGE_S, self._forget, key, call)

    def _forget(self, key: K, call: asyncio.Future[V]) -> None:
        if self._calls.get(key, (0.0, None))[1] is call:
            del self._calls[key]
