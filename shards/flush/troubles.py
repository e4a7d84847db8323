"""Failures in flushing one shard: counted, logged once, and kept for whoever asks."""

from shards.errors import StoreError, public_text
from shards.logger import RepeatedLines, get_logger, without_figures
from shards.observer import Observer

_log = get_logger(__name__)


class Troubles:
    """The failures of one shard's flusher. ``last_error`` is empty while all goes well; it quotes no event."""

    def __init__(self, shard: int, observer: Observer) -> None:
        self._shard = shard
        self._observer = observer
        self.retries = 0
        self.last_error = ""
        self._repeats = RepeatedLines()

    def note_retry(self) -> None:
        """Count a batch that has to be sent again."""
        self.retries += 1
        self._observer.retried(shard=self._shard)

    def note_store_error(self, error: StoreError) -> None:
        """Take an error of ClickHouse; while it only repeats, but for its figures, it is counted."""
        self.note_retry()
        shard, code, message = self._shard, error.code, error.message
        self._repeats.note(
            without_figures(message),
            lambda again: _log.warning("flush failed", shard=shard, code=code, error=message, repeated=again),
        )
        self.last_error = message

    def note_fault(self, error: Exception) -> None:
        """Take any other error: of a disk that takes no dead letter, or by a fault of ours."""
        shard, message = self._shard, public_text(error)
        self._repeats.note(
            f"{type(error).__name__} {without_figures(message)}",
            lambda again: _log.error("flusher failed", shard=shard, error=message, repeated=again, exc_info=error),
        )
        self.last_error = message

    def close(self) -> None:
        """Log what is still counted."""
        self._repeats.end()

    def note_success(self) -> None:
        """Forget the last error, and say so."""
        if self.last_error:
            self._repeats.end()
            _log.info("flush works again", shard=self._shard)
        self.last_error = ""
