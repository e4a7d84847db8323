"""The reports of a shard set at work. The service turns them into metrics; by default nobody listens."""

from typing import Final, Literal, get_args

Task = Literal[
    "erasures",
    "flusher",
    "keys",
    "match-poller",
    "order-start",
    "store-gate",
    "throughput",
    "wal-committer",
    "wal-recovery",
]
"""Tasks that are started anew when they end: three of them are the application's, the others of this package."""

TASKS: Final[tuple[Task, ...]] = get_args(Task)


class Observer:
    """Receives measurements. Called in the event loop; must be quick and must not raise."""

    def appended(self, *, records: int, bytes_: int) -> None:
        """One group was written to the log, and is acknowledged."""

    def synced(self, *, records: int, bytes_: int, seconds: float) -> None:
        """A sync brought appended records to the disk; ``seconds`` include the write if each group is synced."""

    def flushed(self, *, shard: int, rows: int, seconds: float, replayed: bool) -> None:
        """One batch was accepted by ClickHouse (not yet confirmed)."""

    def confirmed(self, *, shard: int, rows: int, oldest_s: float) -> None:
        """A batch was shown to be in ClickHouse, ``oldest_s`` after its first event was received."""

    def queried(self, *, seconds: float) -> None:
        """A read was answered by ClickHouse, or failed there; ``seconds`` are without the wait for its turn."""

    def retried(self, *, shard: int) -> None:
        """A batch has to be sent again."""

    def store_error(self, *, code: int) -> None:
        """ClickHouse answered with an error, or went away (code 0)."""

    def reconnected(self) -> None:
        """ClickHouse is usable again after an outage."""

    def dead_lettered(self, *, shard: int) -> None:
        """A row was put aside."""

    def task_ended(self, *, task: Task) -> None:
        """A task has ended without being told to, and will be started anew."""
