"""`GET /api/receipts/{receipt}`: what became of a request's events."""

from aiohttp import web

from app.access.principal import PRINCIPAL, Scope
from app.context import CONTEXT
from app.web.answers import json_answer
from app.web.problems import Problem
from shards import Receipt

routes = web.RouteTableDef()


@routes.get("/api/receipts/{receipt:[^/]+}")
async def receipt_outcome(request: web.Request) -> web.Response:
    """Answer with how many of the events are durable only, stored, dead letters, and erased."""
    shards = request.app[CONTEXT].shards
    shards.require_recovered()
    text = request.match_info["receipt"]
    principal = request[PRINCIPAL]
    plain, is_own = request.app[CONTEXT].seals.opened(text, principal)
    if not is_own and (principal.prefixes or not principal.may(Scope.READ)):
        detail = (
            "This key reads the receipts of what it sent itself; ask with the key that sent, or with one of scope read"
            " that is for all matches."
        )
        raise Problem(403, "Forbidden", detail)
    try:
        receipt = Receipt.parse(plain)
        outcome = shards.outcome(receipt)
    except ValueError:
        outcome = None
    if outcome is None:
        raise Problem(404, "Not found", "This service gave no such receipt; send it as it stands in the reply.")
    body = {
        "receipt": text,
        "status": outcome.status,
        "events": receipt.count,
        "durable": outcome.durable,
        "stored": outcome.stored,
        "deadLettered": outcome.dead_lettered,
        "erased": outcome.erased,
    }
    return json_answer(body)
