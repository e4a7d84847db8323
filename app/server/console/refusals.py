"""Refusals: counted, and told in the log at once and then seldom."""

import threading
import time

import attrs
import structlog

_log = structlog.stdlib.get_logger(__name__)

WARNING_INTERVAL_S = 60.0


@attrs.define
class Refusals:
    """Counts refusals and logs the first at once, others at most once an interval, because a page can go on for ever.

    Attributes:
        reason: why clients are refused, and where. It holds nothing that the client sent.
    """

    reason: str
    _unlogged: int = attrs.field(default=0, init=False)
    _next_at: float = attrs.field(default=0.0, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def add(self) -> None:
        """Count one more refusal; may be called in any thread."""
        with self._lock:
            self._unlogged += 1
            if time.monotonic() < self._next_at:
                return
            self._next_at = time.monotonic() + WARNING_INTERVAL_S
            count, self._unlogged = self._unlogged, 0
        _log.warning("monitor refused clients", reason=self.reason, since_last_line=count)
