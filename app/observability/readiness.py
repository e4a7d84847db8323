"""What balancers, people and Prometheus are told of the service: one status, and a sentence for each check."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

from app.times import iso_s
from shards import Snapshot, StoreState

HEALTHY = "healthy"

KEYS_UNREAD = "the file of keys cannot be read, those of before stay in force; the log says why"

TASKS_NAMED = 8
"""Most tasks that the check names, because there may be a poller for each match."""


@attrs.frozen
class Readiness:
    """``status``, and each check: ``healthy``, or what is wrong."""

    status: Literal["ready", "degraded", "not ready"]
    checks: dict[str, str]


def readiness_of(snapshot: Snapshot, *, stopping: bool, keys_trouble: str) -> Readiness:
    """Return the readiness.

    The status is only ``degraded`` as long as events are kept, whatever else is wrong, because a balancer must not take
    away the one thing that still keeps them. Once a shutdown is announced they are to go elsewhere, though kept.
    """
    checks = {
        "recovery": HEALTHY if snapshot.recovered else snapshot.recovery_error or "the write-ahead log is being read",
        "wal": _wal(snapshot, stopping=stopping),
        "clickhouse": _clickhouse(snapshot.store),
        "flush": _flush(snapshot),
        "pauses": _pauses(snapshot),
        "tasks": _tasks(snapshot),
        "accounting": _accounting(snapshot),
        "keys": KEYS_UNREAD if keys_trouble else HEALTHY,
    }
    if checks["recovery"] != HEALTHY or checks["wal"] != HEALTHY:
        return Readiness("not ready", checks)
    return Readiness("ready" if set(checks.values()) == {HEALTHY} else "degraded", checks)


def _wal(snapshot: Snapshot, *, stopping: bool) -> str:
    if stopping:
        return "the service is shutting down"
    return HEALTHY if snapshot.accepting else f"cannot accept events: {snapshot.refusal_reason}"


def _clickhouse(store: StoreState) -> str:
    if store.up:
        return HEALTHY
    return f"away since {_moment(store.since)}, events are kept on disk: {store.error}"


def _flush(snapshot: Snapshot) -> str:
    """Say why nothing gets into ClickHouse although it is up: read-only, too many parts, a failing view, our fault."""
    if not snapshot.stuck:
        return HEALTHY
    worst = snapshot.stuck[0]
    if worst.last_error:
        return (
            f"shard {worst.index} could not store for {worst.oldest_unconfirmed_s:.0f} s, events are kept on disk and "
            f"sent again: {worst.last_error}"
        )
    since = _moment(datetime.now(UTC) - timedelta(seconds=worst.stalled_s))
    return f"shard {worst.index} has stored nothing since {since} although ClickHouse is up, events are kept on disk"


def _pauses(snapshot: Snapshot) -> str:
    """Name the shards that somebody has paused."""
    paused = [
        f"shard {shard.index} by {shard.paused.by} since {_moment(shard.paused.since)}"
        for shard in snapshot.shards
        if shard.paused
    ]
    return f"paused, events are kept on disk: {', '.join(paused)}" if paused else HEALTHY


def _tasks(snapshot: Snapshot) -> str:
    """Name the tasks that ended without being told to, and do not run again yet."""
    if not snapshot.ended:
        return HEALTHY
    ended = [
        f"{task.task}{f' of {task.where}' if task.where else ''} since {_moment(task.since)} ({task.reason})"
        for task in snapshot.ended
    ]
    return f"ended, and started anew: {', '.join(ended[:TASKS_NAMED])}{', …' if len(ended) > TASKS_NAMED else ''}"


def _moment(moment: datetime) -> str:
    return iso_s(int(moment.timestamp() * 1000))


def _accounting(snapshot: Snapshot) -> str:
    """Name the shards whose sum differs: then a figure of the service is wrong, but the events are kept."""
    if not snapshot.unaccounted:
        return HEALTHY
    differing = [f"shard {shard.index} by {shard.unaccounted}" for shard in snapshot.shards if shard.unaccounted]
    return (
        f"the sum of the events differs ({', '.join(differing)}): a fault of the service; see what fanfinity audit says"
    )
