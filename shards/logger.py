"""The loggers of this package, and what keeps a log short: repeated lines counted, a state's edges told.

Lines of one kind come as one line, and as one more each interval in which others came, which says how many. A state
that flutters is told a few times a minute, and in the end as it is.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from time import monotonic

import structlog

REPEATS_S = 30.0
EDGES_MAX, EDGES_S = 6, 60.0
"""Most changes of one state that are told within so many seconds."""

_FIGURES = re.compile(r"\d+")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger that writes to the logger ``name`` of ``logging``, through structlog as it is configured.

    In a process that does not configure structlog, a logger of ``structlog.get_logger`` prints to stdout. This one
    leaves level and place to ``logging`` there too, and each line is text.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(logging.getLogger(name))
    return logger


def without_figures(text: str) -> str:
    """Return a text without its digits: two that differ only there tell the same, as "3 of 10 rows" and "4 of 10"."""
    return _FIGURES.sub("#", text)


class RepeatedLines:
    """Lines that differ in nothing that matters, of one kind at a time. Used in the event loop only."""

    def __init__(self, *, interval_s: float = REPEATS_S) -> None:
        self._interval_s = interval_s
        self._kind: str | None = None
        self._told_s = 0.0
        self._count = 0
        self._tell: Callable[[int], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def note(self, kind: str, tell: Callable[[int], None]) -> None:
        """Call ``tell`` now for the first line of a kind; else count it, and call the last one when its time has come.

        ``tell`` logs one line, and gets the number of lines that were left out before it.
        """
        early_s = self._told_s + self._interval_s - monotonic()
        if kind != self._kind or (early_s <= 0 and self._timer is None):
            self.end()
            self._kind, self._told_s = kind, monotonic()
            tell(0)
            return
        self._count, self._tell = self._count + 1, tell
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(early_s, self._sum_up)

    def end(self) -> None:
        """Tell what is still counted, because the next line is of another kind, or nothing will come any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._sum_up()
        self._kind = None

    def _sum_up(self) -> None:
        self._timer = None
        self._told_s = monotonic()
        count, tell, self._count, self._tell = self._count, self._tell, 0, None
        if tell is not None:
            tell(count - 1)


class Edges:
    """The changes of one state, told as they come, unless it flutters. ``told`` is the state that was told last."""

    def __init__(self, state: str) -> None:
        """Begin with a state that nobody need be told of."""
        self.told = state
        self._told_s: deque[float] = deque(maxlen=EDGES_MAX)

    def is_news(self, state: str) -> bool:
        """Say whether the state is to be told now, because it is another one than was told last."""
        now = monotonic()
        too_many = len(self._told_s) == EDGES_MAX and now - self._told_s[0] < EDGES_S
        if state == self.told or too_many:
            return False
        self.told = state
        self._told_s.append(now)
        return True
