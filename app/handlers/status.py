"""`GET /api/status`: what the command line and the operator see."""

from collections.abc import Sequence
from typing import Any

import attrs
from aiohttp import web

from app.context import CONTEXT
from app.times import iso_ms, iso_now, iso_of
from app.web.answers import json_answer
from shards import ErasureState, ShardSnapshot, Snapshot

routes = web.RouteTableDef()


@routes.get("/api/status")
async def status(request: web.Request) -> web.Response:
    """Answer with shards, log, store, and the accounting of events."""
    context = request.app[CONTEXT]
    snapshot = context.shards.snapshot()
    body = {
        "status": context.readiness(snapshot).status,
        "timestamp": iso_now(),
        "accounting": _accounting(snapshot),
        "wal": {
            "recovered": snapshot.recovered,
            "accepting": snapshot.accepting,
            "bytes": snapshot.wal_bytes,
            "queuedBytes": snapshot.queued_bytes,
            "oldestUnconfirmedSeconds": round(snapshot.oldest_unconfirmed_s, 3),
            "error": snapshot.wal_error,
        },
        "store": attrs.asdict(snapshot.store) | {"since": iso_of(snapshot.store.since)},
        "erasures": _erasures(snapshot.erasures),
        "tasks": [attrs.asdict(task) | {"since": iso_of(task.since)} for task in snapshot.ended],
        "viewers": context.live.viewers,
        "shards": [shard_view(shard) for shard in snapshot.shards],
    }
    return json_answer(body)


def _accounting(counts: Snapshot | ShardSnapshot) -> dict[str, int]:
    return {
        "appended": counts.appended,
        "confirmed": counts.confirmed,
        "pending": counts.pending,
        "deadLettered": counts.dead_lettered,
        "requeued": counts.requeued,
        "discarded": counts.discarded,
        "damaged": counts.damaged,
        "erased": counts.erased,
        "unaccounted": counts.unaccounted,
    }


def _erasures(states: Sequence[ErasureState]) -> dict[str, Any]:
    """Return how many matches are being erased, since when the first, and why the last try failed."""
    oldest = states[0] if states else None
    return {
        "open": len(states),
        "step": oldest.step if oldest else None,
        "since": iso_ms(oldest.at_ms) if oldest else None,
        "lastError": oldest.error if oldest else "",
    }


def shard_view(shard: ShardSnapshot) -> dict[str, Any]:
    """Return the state of one shard as it is sent."""
    return {
        "shard": shard.index,
        "accounting": _accounting(shard),
        "depth": shard.depth,
        "inFlight": shard.in_flight,
        "unread": shard.unread,
        "walBytes": shard.wal_bytes,
        "walSegments": shard.wal_segments,
        "retries": shard.retries,
        "oldestUnconfirmedSeconds": round(shard.oldest_unconfirmed_s, 3),
        "stalledSeconds": round(shard.stalled_s, 3),
        "paused": shard.paused is not None,
        "pausedBy": shard.paused.by if shard.paused else None,
        "pausedSince": iso_of(shard.paused.since) if shard.paused else None,
        "retired": shard.retired,
        "lastError": shard.last_error,
    }
