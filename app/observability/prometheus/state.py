"""The log, the shards, ClickHouse and readiness, as they are at a scrape."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Protocol

from prometheus_client.core import Metric

from app.observability.prometheus.families import AtScrape, counter, counters, gauge, gauges
from app.observability.readiness import HEALTHY, Readiness
from shards import REFUSALS, TASKS, ShardSnapshot, Snapshot


class ShardsView(Protocol):
    """The part of the shard set that is read at each scrape."""

    def snapshot(self) -> Snapshot:
        """Return the present state."""


class StateCollector(AtScrape):
    """The state of the shard set, and what is said of it to balancers."""

    def __init__(self, shards: ShardsView, readiness: Callable[[Snapshot], Readiness]) -> None:
        self._shards = shards
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        """Yield it, all from one snapshot."""
        snapshot = self._shards.snapshot()
        yield from _accounting(snapshot)
        yield from _wal(snapshot)
        yield from _limits(snapshot)
        yield from _per_shard(snapshot.shards)
        yield from _readiness(self._readiness(snapshot))
        ended = [task.task for task in snapshot.ended]
        yield gauges(
            *("fanfinity_task_down", "Tasks that have ended and do not run again yet.", "task"),
            {task: ended.count(task) for task in TASKS},
        )
        yield gauge("fanfinity_erasures_open", "Matches whose erasure is under way.", len(snapshot.erasures))
        yield gauge(
            *("fanfinity_erasure_oldest_age_seconds", "Age of the oldest erasure that is under way; 0: there is none."),
            max(0.0, time.time() - snapshot.erasures[0].at_ms / 1000) if snapshot.erasures else 0.0,
        )
        yield gauge("fanfinity_clickhouse_up", "1 while ClickHouse can be used.", int(snapshot.store.up))
        yield gauge("fanfinity_dead_letters", "Dead letters that nobody has settled yet.", snapshot.dead_lettered)


def _accounting(snapshot: Snapshot) -> Iterator[Metric]:
    """Appended = confirmed + pending + dead-lettered + damaged + erased + unaccounted, in records (= events).

    True across restarts. Dead-lettered = open dead letters (``fanfinity_dead_letters``) + requeued + discarded + those
    that were erased with their match.
    """
    settled = snapshot.requeued + snapshot.discarded
    yield counter("fanfinity_wal_appended_records", "Events appended, ever.", snapshot.appended)
    yield counter("fanfinity_wal_confirmed_records", "Events shown to be in ClickHouse, ever.", snapshot.confirmed)
    yield counter(
        *("fanfinity_wal_dead_lettered_records", "Events put aside, ever, settled ones too."),
        snapshot.dead_lettered + settled + snapshot.erased_letters,
    )
    yield counter("fanfinity_wal_requeued_records", "Dead letters appended again by hand, ever.", snapshot.requeued)
    yield counter("fanfinity_wal_discarded_records", "Dead letters given up by hand, ever.", snapshot.discarded)
    yield counter(
        *("fanfinity_wal_erased_records", "Events erased with their match before they were stored or put aside, ever."),
        snapshot.erased - snapshot.erased_letters,
    )
    yield counter("fanfinity_wal_damaged_records", "Events that the disk lost, ever.", snapshot.damaged)
    yield gauge("fanfinity_wal_pending_records", "Events not confirmed yet.", snapshot.pending)
    yield gauge(
        *("fanfinity_wal_unaccounted_records", "Events in no term of the sum, or in two: 0 unless there is a fault."),
        snapshot.unaccounted,
    )


def _wal(snapshot: Snapshot) -> Iterator[Metric]:
    yield gauge("fanfinity_wal_bytes", "Bytes of the log on disk.", snapshot.wal_bytes)
    yield gauge(
        *("fanfinity_wal_segments", "Files of the log on disk."), sum(shard.wal_segments for shard in snapshot.shards)
    )
    yield gauge("fanfinity_wal_queued_bytes", "Bytes that wait to be written.", snapshot.queued_bytes)
    yield gauge("fanfinity_wal_accepting", "1 while events are accepted.", int(snapshot.accepting))
    yield gauges(
        *("fanfinity_wal_refusing", "1 for the reason why events are not accepted.", "reason"),
        {reason: int(reason == snapshot.refusal) for reason in REFUSALS if reason != "saturated"},
    )
    yield gauge(
        *("fanfinity_wal_oldest_unconfirmed_age_seconds", "Age of the oldest event that is not confirmed."),
        snapshot.oldest_unconfirmed_s,
    )


def _limits(snapshot: Snapshot) -> Iterator[Metric]:
    limits = snapshot.limits
    yield gauge("fanfinity_wal_max_bytes", "Bytes of the log from which on events are refused.", limits.wal_max_bytes)
    yield gauge(
        *("fanfinity_disk_min_free_bytes", "Bytes free on the disk of the log below which events are refused."),
        limits.disk_min_free_bytes,
    )
    free = float("nan") if limits.disk_free_bytes is None else limits.disk_free_bytes
    yield gauge("fanfinity_disk_free_bytes", "Bytes free on the disk of the log; NaN where it cannot be read.", free)


_SHARD_GAUGES = (
    ("fanfinity_shard_depth", "Events not sent to ClickHouse yet.", attrgetter("depth")),
    ("fanfinity_shard_in_flight", "Events sent, not confirmed.", attrgetter("in_flight")),
    ("fanfinity_shard_unread", "Pending events that are on disk only.", attrgetter("unread")),
    ("fanfinity_shard_paused", "1 while flushing is paused.", lambda shard: int(shard.paused is not None)),
    (
        "fanfinity_shard_stalled_seconds",
        "Seconds without progress, if that is long while ClickHouse is up.",
        attrgetter("stalled_s"),
    ),
    (
        "fanfinity_shard_oldest_unconfirmed_age_seconds",
        "Age of the oldest event of the shard that is not confirmed.",
        attrgetter("oldest_unconfirmed_s"),
    ),
)


def _per_shard(shards: Sequence[ShardSnapshot]) -> Iterator[Metric]:
    for name, help_, value_of in _SHARD_GAUGES:
        yield gauges(name, help_, "shard", {str(shard.index): value_of(shard) for shard in shards})
    retries: Mapping[str, float] = {str(shard.index): shard.retries for shard in shards}
    yield counters("fanfinity_shard_retries", "Batches sent again.", "shard", retries)


def _readiness(readiness: Readiness) -> Iterator[Metric]:
    yield gauge("fanfinity_ready", "1 while /ready answers 200.", int(readiness.status != "not ready"))
    yield gauges(
        *("fanfinity_ready_check", "1 while a check of /ready is healthy.", "check"),
        {name: int(found == HEALTHY) for name, found in readiness.checks.items()},
    )
