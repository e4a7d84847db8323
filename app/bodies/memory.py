"""Memory that a burst took, given back to the system.

glibc keeps what is freed, but for the end of its heap: after 200 bodies of 9 MB at once, 500 MB stayed where 65 MB are
used.
"""

import asyncio
import ctypes

BURST_BYTES = 32 << 20
"""Bytes held by bodies that make a burst; of less there is not enough to give back."""

AFTER_S = (2.0, 10.0, 30.0)
"""Seconds from the end of a burst until memory is given back; again later, because its events are still on their way.
"""


class Trimmer:
    """Gives memory back after each burst."""

    def __init__(self) -> None:
        """Wait for a burst. A C library that cannot be asked is left alone."""
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._burst = False
        self.times = 0
        """Times that memory was given back."""

    def note(self, held: int) -> None:
        """Note how many bytes bodies hold now. Cheap."""
        if held >= BURST_BYTES:
            self._burst = True
        elif self._burst:
            self._burst = False
            loop = asyncio.get_running_loop()
            for seconds in AFTER_S:
                loop.call_later(seconds, self._start)

    def _start(self) -> None:
        self.times += 1
        if self._trim is not None:
            # In a thread, because it may take a while; the interpreter is let go meanwhile.
            asyncio.get_running_loop().run_in_executor(None, self._trim, 0)
