"""The clock of receipts."""

import time


class ReceiptClock:
    """Hands out receive times in ns since the epoch that never repeat and never go back within a process.

    The copy received first stands (see :mod:`shards.stores.schema`). So two receipts must never compare equal, and a
    clock that was set back must not let a later receipt win.
    """

    def __init__(self) -> None:
        self._last_ns = 0

    def now_ns(self) -> int:
        """Return a receive time, strictly greater than the one before."""
        self._last_ns = max(self._last_ns + 1, time.time_ns())
        return self._last_ns
