"""`GET /api/audit`: the accounting, checked against ClickHouse."""

from typing import Any

from aiohttp import web

from app.context import CONTEXT
from app.times import iso_ms
from app.web.answers import json_answer
from app.web.refusals import unavailable
from shards import Audit, Difference, ShardAccount

DIFFERENCES_SHOWN = 100
_UNREADABLE_RETRY_AFTER_S = 5

routes = web.RouteTableDef()


@routes.get("/api/audit")
async def audit(request: web.Request) -> web.Response:
    """Check every row up to the checkpoints, and answer with what differs."""
    context = request.app[CONTEXT]
    try:
        found = await context.shards.audit(retention_days=context.config.retention_days)
    except OSError as error:
        raise unavailable(
            "A journal of confirmed events cannot be read now: check the disk, and ask again after Retry-After.",
            retry_after_s=_UNREADABLE_RETRY_AFTER_S,
        ) from error
    return json_answer(_view(found))


def _view(found: Audit) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "timestamp": iso_ms(round(found.at.timestamp() * 1000)),
        "shards": [_account(account) for account in found.shards],
        "clickhouse": {
            "ledgerRows": found.ledger_rows,
            "eventsRows": found.events_rows,
            "eventsError": found.events_error,
        },
        "differencesTotal": len(found.differences),
        "differences": [_difference(one) for one in found.differences[:DIFFERENCES_SHOWN]],
    }


def _account(account: ShardAccount) -> dict[str, Any]:
    return {
        "shard": account.shard,
        "appended": account.appended,
        "checkpoint": account.upto,
        "confirmed": account.confirmed,
        "deadLettered": account.dead_lettered,
        "damaged": account.unprovable["damaged"],
        "erased": account.unprovable["erased"],
        "expired": account.unprovable["expired"],
        "beforeJournal": account.unprovable["no_journal"],
        "notNoted": account.unprovable["not_noted"],
        "missing": account.missing,
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {"kind": one.kind, "shard": one.shard, "rows": one.rows, "runs": one.runs, "text": one.text}
