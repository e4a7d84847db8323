"""The log and ClickHouse: what happens there, as the shard set reports it."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram

from shards import TASKS, Observer, Task

SYNC_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
FLUSH_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
QUERY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
STORED_BUCKETS_S = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

NOT_REACHABLE = "0"
"""The code of an error that ClickHouse did not answer with, because it was away."""


class StoringCounts(Observer):
    """Counts what happens; what merely *is* (depths, bytes, states) is read from a snapshot at each scrape."""

    def __init__(self, registry: CollectorRegistry, *, shards: int) -> None:
        """Count nothing yet. ``shards``: how many there are from the start."""
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self._appended_bytes = counter("fanfinity_wal_appended_bytes", "Bytes of events appended in this process.")
        self._synced_records = counter("fanfinity_wal_synced_records", "Records that reached the disk in this process.")
        self._synced_bytes = counter("fanfinity_wal_synced_bytes", "Bytes that reached the disk in this process.")
        self._sync_seconds = histogram(
            "fanfinity_wal_fsync_seconds",
            "Time of one fsync of the log, with the write of its group where each has one.",
            buckets=SYNC_BUCKETS_S,
        )
        self._flushed_rows = counter("fanfinity_shard_flushed_rows", "Rows sent to ClickHouse, replays too.", ["shard"])
        self._flush_seconds = histogram(
            *("fanfinity_shard_flush_seconds", "Time of one INSERT of a batch."), ["shard"], buckets=FLUSH_BUCKETS_S
        )
        self._stored_seconds = histogram(
            "fanfinity_events_stored_seconds",
            "Time from the receipt of a batch's first event until ClickHouse is shown to hold the batch.",
            buckets=STORED_BUCKETS_S,
        )
        self._count_clickhouse(counter, histogram)
        self._restarts = counter(
            *("fanfinity_task_restarts", "Ends of tasks that were not told to end, each followed by a start."), ["task"]
        )
        for task in TASKS:
            self._restarts.labels(task)
        for shard in range(shards):
            self._flushed_rows.labels(str(shard))
            self._flush_seconds.labels(str(shard))

    def _count_clickhouse(self, counter: "partial[Counter]", histogram: "partial[Histogram]") -> None:
        self._query_seconds = histogram(
            "fanfinity_clickhouse_query_seconds",
            "Time of one read, without the wait for its turn; failed ones count, too.",
            buckets=QUERY_BUCKETS_S,
        )
        self._inserted = counter("fanfinity_clickhouse_inserted_rows", "Rows that ClickHouse accepted, replays too.")
        self._replayed = counter("fanfinity_clickhouse_replayed_batches", "Batches sent again, straight into events.")
        self._errors = counter(
            *("fanfinity_clickhouse_errors", "Errors by ClickHouse's code; 0: it was not reachable, or went away."),
            ["code"],
        )
        self._errors.labels(NOT_REACHABLE)
        self._reconnects = counter("fanfinity_clickhouse_reconnects", "Times ClickHouse came back after an outage.")

    def appended(self, *, records: int, bytes_: int) -> None:
        """Count the bytes of a group written to the log; the log itself counts the records there ever were."""
        self._appended_bytes.inc(bytes_)

    def synced(self, *, records: int, bytes_: int, seconds: float) -> None:
        """Count a sync that brought appended records to the disk."""
        self._synced_records.inc(records)
        self._synced_bytes.inc(bytes_)
        self._sync_seconds.observe(seconds)

    def flushed(self, *, shard: int, rows: int, seconds: float, replayed: bool) -> None:
        """Count a batch that ClickHouse accepted."""
        self._flushed_rows.labels(str(shard)).inc(rows)
        self._flush_seconds.labels(str(shard)).observe(seconds)
        self._inserted.inc(rows)
        if replayed:
            self._replayed.inc()

    def confirmed(self, *, shard: int, rows: int, oldest_s: float) -> None:
        """Count a batch that ClickHouse is shown to hold."""
        self._stored_seconds.observe(oldest_s)

    def queried(self, *, seconds: float) -> None:
        """Count a read."""
        self._query_seconds.observe(seconds)

    def store_error(self, *, code: int) -> None:
        """Count an error of ClickHouse, or that it went away."""
        self._errors.labels(str(code)).inc()

    def reconnected(self) -> None:
        """Count that ClickHouse is usable again."""
        self._reconnects.inc()

    def task_ended(self, *, task: Task) -> None:
        """Count the end of a task that will be started anew."""
        self._restarts.labels(task).inc()
