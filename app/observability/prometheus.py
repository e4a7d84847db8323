"""Every Prometheus metric of the service, declared here and nowhere else.

No label may carry the id of a match, a player or an event. Values of ``path`` are templates of routes,
values of ``event_type`` are known types, so the number of series is bounded.
"""

from collections import Counter as Count
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shards import TASKS, Event, Observer, ShardSnapshot, Snapshot, Task

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1)
SYNC_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
FLUSH_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class ShardsView(Protocol):
    """The part of the shard set that is read at each scrape."""

    def snapshot(self) -> Snapshot:
        """Return the present state."""


class LiveView(Protocol):
    """The part of the live hub that is read at each scrape."""

    @property
    def viewers(self) -> int:
        """Open streams."""

    def active_matches(self) -> int:
        """Return how many matches received an event lately."""


class Telemetry(Observer):
    """Counts what happens; what merely *is* (depths, bytes, states) is read from a snapshot at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, histogram = partial(Counter, registry=self.registry), partial(Histogram, registry=self.registry)
        self._requests = counter("http_requests", "HTTP requests answered.", ["method", "path", "status"])
        self._request_seconds = histogram(
            *("http_request_duration_seconds", "Time from a request to the end of its response."),
            ["method", "path"],
            buckets=REQUEST_BUCKETS_S,
        )
        self._errors = counter("http_errors", "HTTP requests that ended in an error.", ["method", "path", "error_type"])
        self._ingested = counter("fanfinity_events_ingested", "Events acknowledged, re-sent ones too.", ["event_type"])
        self._rejected = counter(
            "fanfinity_events_rejected", "Events refused; a body without any event counts as one.", ["reason"]
        )
        self._wal_appended_bytes = counter("fanfinity_wal_appended_bytes", "Bytes of events appended in this process.")
        self._wal_records = counter("fanfinity_wal_synced_records", "Records that reached the disk in this process.")
        self._wal_bytes = counter("fanfinity_wal_synced_bytes", "Bytes that reached the disk in this process.")
        self._wal_sync_seconds = histogram(
            *(
                "fanfinity_wal_fsync_seconds",
                "Time of one fsync of the log, with the write of its group where each has one.",
            ),
            buckets=SYNC_BUCKETS_S,
        )
        self._flushed_rows = counter("fanfinity_shard_flushed_rows", "Rows sent to ClickHouse, replays too.", ["shard"])
        self._flush_seconds = histogram(
            *("fanfinity_shard_flush_seconds", "Time of one INSERT of a batch."),
            ["shard"],
            buckets=FLUSH_BUCKETS_S,
        )
        self._inserted = counter("fanfinity_clickhouse_inserted_rows", "Rows that ClickHouse accepted, replays too.")
        self._replayed = counter("fanfinity_clickhouse_replayed_batches", "Batches sent again, straight into events.")
        self._store_errors = counter(
            "fanfinity_clickhouse_errors",
            "Errors by ClickHouse's code; 0: it was not reachable, or went away.",
            ["code"],
        )
        self._reconnects = counter("fanfinity_clickhouse_reconnects", "Times ClickHouse came back after an outage.")
        self._restarts = counter(
            *("fanfinity_task_restarts", "Ends of tasks that were not told to end, each followed by a start."), ["task"]
        )
        for task in TASKS:
            self._restarts.labels(task)
        # Finding a series by its labels costs several times as much as counting in it.
        self._requests_of, self._request_seconds_of = cache(self._requests.labels), cache(self._request_seconds.labels)
        self._ingested_of = cache(self._ingested.labels)

    def watch(self, *, shards: ShardsView, live: LiveView) -> None:
        """Read these at each scrape from now on. Call it once."""
        self.registry.register(_SnapshotCollector(shards, live))

    def ingested(self, events: Sequence[Event]) -> None:
        """Count acknowledged events; their types are known ones."""
        for event_type, count in Count(event.event_type for event in events).items():
            self._ingested_of(event_type).inc(count)

    def rejected(self, reason: str, count: int) -> None:
        """Count events that were refused; ``reason`` is one of a few words."""
        self._rejected.labels(reason).inc(count)

    def request(self, method: str, path_template: str, status: int, seconds: float | None) -> None:
        """Count an answered request; ``path_template`` is the route's, ``seconds`` None for a stream."""
        self._requests_of(method, path_template, status).inc()
        if seconds is not None:
            self._request_seconds_of(method, path_template).observe(seconds)

    def error(self, method: str, path_template: str, error_type: str) -> None:
        """Count a request that ended in an error; ``error_type`` is one of a few words."""
        self._errors.labels(method, path_template, error_type).inc()

    def appended(self, *, records: int, bytes_: int) -> None:
        """Count the bytes of a group written to the log; the log itself counts the records there ever were."""
        self._wal_appended_bytes.inc(bytes_)

    def synced(self, *, records: int, bytes_: int, seconds: float) -> None:
        """Count a sync that brought appended records to the disk."""
        self._wal_records.inc(records)
        self._wal_bytes.inc(bytes_)
        self._wal_sync_seconds.observe(seconds)

    def flushed(self, *, shard: int, rows: int, seconds: float, replayed: bool) -> None:
        """Count a batch that ClickHouse accepted."""
        self._flushed_rows.labels(str(shard)).inc(rows)
        self._flush_seconds.labels(str(shard)).observe(seconds)
        self._inserted.inc(rows)
        if replayed:
            self._replayed.inc()

    def store_error(self, *, code: int) -> None:
        """Count an error of ClickHouse, or that it went away."""
        self._store_errors.labels(str(code)).inc()

    def reconnected(self) -> None:
        """Count that ClickHouse is usable again."""
        self._reconnects.inc()

    def task_ended(self, *, task: Task) -> None:
        """Count the end of a task that will be started anew."""
        self._restarts.labels(task).inc()


class _SnapshotCollector(Collector):
    """The values at the moment of a scrape."""

    def __init__(self, shards: ShardsView, live: LiveView) -> None:
        self._shards = shards
        self._live = live

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the state of shards, log, ClickHouse and viewers."""
        snapshot = self._shards.snapshot()
        yield from _wal(snapshot)
        yield from _per_shard(snapshot.shards)
        yield _tasks(snapshot)
        yield _gauge("fanfinity_clickhouse_up", "1 while ClickHouse can be used.", int(snapshot.store.up))
        yield _gauge("fanfinity_dead_letters", "Dead letters that nobody has settled yet.", snapshot.dead_lettered)
        yield _gauge(
            *("fanfinity_matches_active", "Matches that go on, by the events of the last 15 minutes in this process."),
            self._live.active_matches(),
        )
        yield _gauge("fanfinity_viewers", "Open streams of matches.", self._live.viewers)


def _wal(snapshot: Snapshot) -> Iterator[Metric]:
    """Appended = confirmed + pending + dead-lettered + damaged + unaccounted, in records (= events), across restarts.

    Dead-lettered = open dead letters (``fanfinity_dead_letters``) + requeued + discarded.
    """
    settled = snapshot.requeued + snapshot.discarded
    yield _counter("fanfinity_wal_appended_records", "Events appended, ever.", snapshot.appended)
    yield _counter("fanfinity_wal_confirmed_records", "Events shown to be in ClickHouse, ever.", snapshot.confirmed)
    yield _counter(
        *("fanfinity_wal_dead_lettered_records", "Events put aside, ever, settled ones too."),
        snapshot.dead_lettered + settled,
    )
    yield _counter("fanfinity_wal_requeued_records", "Dead letters appended again by hand, ever.", snapshot.requeued)
    yield _counter("fanfinity_wal_discarded_records", "Dead letters given up by hand, ever.", snapshot.discarded)
    yield _counter("fanfinity_wal_damaged_records", "Events that the disk lost, ever.", snapshot.damaged)
    yield _gauge(
        *("fanfinity_wal_unaccounted_records", "Events in no term of the sum, or in two: 0 unless there is a fault."),
        snapshot.unaccounted,
    )
    yield _gauge("fanfinity_wal_pending_records", "Events not confirmed yet.", snapshot.pending)
    yield _gauge("fanfinity_wal_bytes", "Bytes of the log on disk.", snapshot.wal_bytes)
    yield _gauge(
        *("fanfinity_wal_segments", "Files of the log on disk."),
        sum(shard.wal_segments for shard in snapshot.shards),
    )
    yield _gauge("fanfinity_wal_queued_bytes", "Bytes that wait to be written.", snapshot.queued_bytes)
    yield _gauge("fanfinity_wal_accepting", "1 while events are accepted.", int(snapshot.accepting))
    yield _gauge(
        *("fanfinity_wal_oldest_unconfirmed_age_seconds", "Age of the oldest event that is not confirmed."),
        snapshot.oldest_unconfirmed_s,
    )


def _tasks(snapshot: Snapshot) -> Metric:
    down = GaugeMetricFamily("fanfinity_task_down", "Tasks that have ended and do not run again yet.", labels=["task"])
    for task in TASKS:
        down.add_metric([task], sum(ended.task == task for ended in snapshot.ended))
    return down


def _per_shard(shards: Sequence[ShardSnapshot]) -> Iterator[Metric]:
    depth = GaugeMetricFamily("fanfinity_shard_depth", "Events not sent to ClickHouse yet.", labels=["shard"])
    in_flight = GaugeMetricFamily("fanfinity_shard_in_flight", "Events sent, not confirmed.", labels=["shard"])
    unread = GaugeMetricFamily("fanfinity_shard_unread", "Pending events that are on disk only.", labels=["shard"])
    paused = GaugeMetricFamily("fanfinity_shard_paused", "1 while flushing is paused.", labels=["shard"])
    stalled = GaugeMetricFamily(
        *("fanfinity_shard_stalled_seconds", "Seconds without progress, if that is long while ClickHouse is up."),
        labels=["shard"],
    )
    retries = CounterMetricFamily("fanfinity_shard_retries", "Batches sent again.", labels=["shard"])
    for shard in shards:
        label = [str(shard.index)]
        depth.add_metric(label, shard.depth)
        in_flight.add_metric(label, shard.in_flight)
        unread.add_metric(label, shard.unread)
        paused.add_metric(label, int(shard.paused is not None))
        stalled.add_metric(label, shard.stalled_s)
        retries.add_metric(label, shard.retries)
    yield from (depth, in_flight, unread, paused, stalled, retries)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_, value=value)
