"""A timer that can be set again."""

import asyncio
from collections.abc import Callable

import attrs


@attrs.define
class Timer:
    """Calls something once, unless stopped before."""

    _loop: asyncio.AbstractEventLoop
    _handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is set."""
        return self._handle is not None

    def start(self, delay_s: float, call: Callable[[], None]) -> None:
        """Set it; a time set before is dropped."""
        self.stop()
        self._handle = self._loop.call_later(delay_s, call)

    def stop(self) -> None:
        """Let it call nothing."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
