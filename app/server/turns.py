"""Turns of those who read: few of their requests begin in one round of the event loop, so that senders come in between.

A crowd of ten thousand readers, each of which takes a fraction of a millisecond, would else hold everything up for
seconds. A request that has to wait is not even parsed, and nothing more is read from its connection meanwhile.
"""

import asyncio
from collections import OrderedDict
from typing import Protocol

READS_A_ROUND = 8
"""Requests that begin in a round: some 3 ms of it."""

_READING = (b"GET ", b"HEAD")
_WITHOUT_TURN = (b"GET /health", b"GET /ready", b"GET /metrics")
"""Requests of those who watch over the service, who must not be told by a crowd that it is dead."""


class Connection(Protocol):
    """What waits for its turn."""

    def hold(self) -> None:
        """Read nothing more for now."""

    def go_on(self, data: bytes) -> None:
        """Take what came before, and read on."""


class ReadTurns:
    """The turns of all connections, in the order of arrival."""

    def __init__(self, a_round: int = READS_A_ROUND) -> None:
        self._a_round = a_round
        self._left = a_round
        self._waiting: OrderedDict[Connection, bytes] = OrderedDict()
        self._counting = False

    def defers(self, connection: Connection, data: bytes) -> bool:
        """Say whether bytes that came have to wait; then they come back by ``go_on``."""
        if not data.startswith(_READING) or data.startswith(_WITHOUT_TURN):
            return False
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next)
        if self._left and not self._waiting:
            self._left -= 1
            return False
        connection.hold()
        self._waiting[connection] = self._waiting.get(connection, b"") + data
        return True

    def forget(self, connection: Connection) -> None:
        """Give up the turn of a connection that is lost."""
        self._waiting.pop(connection, None)

    def _next(self) -> None:
        self._left = self._a_round
        while self._waiting and self._left:
            self._left -= 1
            connection, data = self._waiting.popitem(last=False)
            connection.go_on(data)
        self._counting = bool(self._waiting) or self._left < self._a_round
        if self._counting:
            asyncio.get_running_loop().call_soon(self._next)
