"""Liveness, readiness and startup, for balancers and orchestrators."""

from datetime import UTC, datetime, timedelta

from aiohttp import web

from app.context import CONTEXT, Context
from app.times import iso_now, iso_s
from app.web.answers import json_answer
from shards import Snapshot, StoreState

HEALTHY = "healthy"

KEYS_UNREAD = "the file of keys cannot be read, those of before stay in force; the log says why"

TASKS_NAMED = 8
"""Most tasks that the check names, because there may be a poller for each match."""

routes = web.RouteTableDef()


@routes.get("/health")
@routes.get("/health/live")
async def live(_: web.Request) -> web.Response:
    """Answer with 200 while the process lives, whatever else is wrong."""
    return json_answer({"status": HEALTHY, "timestamp": iso_now()})


@routes.get("/ready")
@routes.get("/health/ready")
async def ready(request: web.Request) -> web.Response:
    """Answer with 200 while events can be made durable, with ClickHouse or without."""
    status, checks = readiness(request.app[CONTEXT])
    body = {"status": status, "timestamp": iso_now(), "checks": checks}
    return json_answer(body, status=503 if status == "not ready" else 200)


@routes.get("/health/startup")
async def startup(request: web.Request) -> web.Response:
    """Answer with 503 until the write-ahead log is recovered."""
    recovered = request.app[CONTEXT].shards.snapshot().recovered
    body = {"status": "started" if recovered else "recovering", "timestamp": iso_now()}
    return json_answer(body, status=200 if recovered else 503)


def readiness(context: Context) -> tuple[str, dict[str, str]]:
    """Return ``ready``, ``degraded`` or ``not ready``, and each check: ``healthy``, or what is wrong.

    The status is only ``degraded`` as long as events are kept, whatever else is wrong, because a balancer must not take
    away the one thing that still keeps them.
    """
    snapshot = context.shards.snapshot()
    stopping = context.stopping
    checks = {
        "recovery": HEALTHY if snapshot.recovered else snapshot.recovery_error or "the write-ahead log is being read",
        "wal": _wal(snapshot, stopping=stopping),
        "clickhouse": _clickhouse(snapshot.store),
        "flush": _flush(snapshot),
        "pauses": _pauses(snapshot),
        "tasks": _tasks(snapshot),
        "accounting": _accounting(snapshot),
        "keys": KEYS_UNREAD if context.keyring.trouble else HEALTHY,
    }
    if stopping or checks["recovery"] != HEALTHY or checks["wal"] != HEALTHY:
        return "not ready", checks
    return ("ready" if set(checks.values()) == {HEALTHY} else "degraded"), checks


def _wal(snapshot: Snapshot, *, stopping: bool) -> str:
    if stopping:
        return "the service is shutting down"
    if snapshot.wal_error:
        return f"cannot accept events: {snapshot.wal_error}"
    return HEALTHY if snapshot.accepting else "does not accept events"


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
