"""What is counted and logged of clients that are turned away, because of what they send or for want of room."""

import structlog

from app.observability.prometheus import Connections
from shards import RepeatedLines

_log = structlog.stdlib.get_logger(__name__)


class TurnedAway:
    """Counts each client, and logs a few lines a minute at most."""

    def __init__(self, counts: Connections) -> None:
        self._counts = counts
        self._malformed = RepeatedLines()
        self._refused = RepeatedLines()

    def note_malformed(self, remote: str | None, error: str) -> None:
        """Take in a request that is not valid HTTP; ``error`` is the name of the parser's exception."""
        self._counts.malformed += 1
        self._malformed.note(
            "malformed", lambda again: _log.info("http malformed", remote=remote, error=error, repeated=again)
        )

    def close(self) -> None:
        """Log what is still counted."""
        self._malformed.end()
        self._refused.end()

    def note_refused(self, *, open_: int, open_max: int) -> None:
        """Take in a connection for which there was no room."""
        self._counts.refused += 1
        remedy = "allow more open files (ulimit -n), or find out who holds the connections"
        self._refused.note(
            "refused",
            lambda again: _log.warning(
                "connections refused", open=open_, open_max=open_max, remedy=remedy, repeated=again
            ),
        )
