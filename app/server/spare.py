"""Connections beyond the limit: kept for those who watch over the service, because a crowd must not pass for its death.

A balancer that is refused at ``/ready`` takes the service away although it serves, an orchestrator at ``/health`` kills
it, and nobody sees why if ``/metrics`` is refused, too. Therefore a client that connects when all connections are taken
has a moment to say what it wants. If that is one of these paths it is answered, once; any other is refused as it would
have been at once.
"""

import asyncio
import re
from collections import OrderedDict
from typing import Final, Protocol

SPARE_MAX: Final = 32
"""Connections beyond the limit that may say what they want. A newcomer takes the place of the one that waited longest,
so that clients that say nothing keep no probe out.
"""
SPARE_S: Final = 2.0
"""Seconds that one has to say it."""

_LINE_MAX_BYTES = 256
_PROBE = re.compile(
    rb"(?:GET|HEAD) (?:/health(?:/live|/ready|/startup)?|/ready|/metrics)(?:\?[!-~]*)? HTTP/1\.[01]\r?\n"
)


class Newcomer(Protocol):
    """A connection beyond the limit."""

    def admitted(self, data: bytes) -> None:
        """Serve it; ``data`` is what has come of its request."""

    def refused(self) -> None:
        """Tell it that there is no room."""


class SpareConnections:
    """The connections beyond the limit that have not said what they want, the one that waited longest first."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Newcomer, tuple[bytes, asyncio.TimerHandle]] = OrderedDict()
        self._serving: set[Newcomer] = set()

    def admit(self, connection: Newcomer) -> None:
        """Let a client say what it wants."""
        if len(self._serving) >= SPARE_MAX:
            connection.refused()
            return
        if len(self._waiting) + len(self._serving) >= SPARE_MAX:
            self._refuse(next(iter(self._waiting)))
        timer = asyncio.get_running_loop().call_later(SPARE_S, self._refuse, connection)
        self._waiting[connection] = b"", timer

    def holds_back(self, connection: Newcomer, data: bytes) -> bool:
        """Take what came from a connection; say whether that is not for its parser, or was handed to it already."""
        if connection in self._serving:
            return False
        if connection not in self._waiting:
            return True
        before, timer = self._waiting[connection]
        data = before + data
        if b"\n" not in data and len(data) <= _LINE_MAX_BYTES:
            self._waiting[connection] = data, timer
        elif _PROBE.match(data):
            self.forget(connection)
            self._serving.add(connection)
            connection.admitted(data)
        else:
            self._refuse(connection)
        return True

    def forget(self, connection: Newcomer) -> None:
        """Give up the place of a connection that is lost."""
        self._serving.discard(connection)
        if waiting := self._waiting.pop(connection, None):
            waiting[1].cancel()

    def refuse_all(self) -> None:
        """Let nobody wait any more, because the port closes."""
        for connection in list(self._waiting):
            self._refuse(connection)

    def _refuse(self, connection: Newcomer) -> None:
        self.forget(connection)
        connection.refused()
