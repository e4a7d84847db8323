"""Failures in flushing one shard: counted, logged once, and kept for whoever asks."""

from shards.errors import StoreError, public_text
from shards.logger import get_logger
from shards.observer import Observer

_log = get_logger(__name__)


class Troubles:
    """The failures of one shard's flusher. ``last_error`` is empty while all goes well; it quotes no event."""

    def __init__(self, shard: int, observer: Observer) -> None:
        self._shard = shard
        self._observer = observer
        self.retries = 0
        self.last_error = ""

    def note_retry(self) -> None:
        """Count a batch that has to be sent again."""
        self.retries += 1
        self._observer.retried(shard=self._shard)

    def note_store_error(self, error: StoreError) -> None:
        """Take an error of ClickHouse; it is not logged again while it only repeats."""
        self.note_retry()
        if error.message != self.last_error:
            _log.warning("flush failed", shard=self._shard, code=error.code, error=error.message)
        self.last_error = error.message

    def note_fault(self, error: Exception) -> None:
        """Take any other error: of a disk that takes no dead letter, or by a fault of ours."""
        self.last_error = public_text(error)
        _log.error("flusher failed", shard=self._shard, error=self.last_error, exc_info=error)

    def note_success(self) -> None:
        """Forget the last error."""
        self.last_error = ""
