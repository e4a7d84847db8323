"""`POST /api/shards/{shard}/pause`, `/resume`, `/flush` for operators, and `GET /api/acts`: who did what."""

import asyncio

from aiohttp import web

from app.context import CONTEXT, Context
from app.handlers.admin import keep_act
from app.handlers.parameters import faults_of, limit_of
from app.handlers.sending.acknowledgement import requested_acknowledgement
from app.handlers.status import shard_view
from app.schemas.faults import Fault
from app.web.answers import json_answer
from app.web.problems import Problem
from app.web.refusals import refuse
from shards import ShardPaused

_PATH = "/api/shards/{shard:[^/]+}"
ACTS = 50
ACTS_MAX = 1000

routes = web.RouteTableDef()


@routes.post(f"{_PATH}/pause")
async def pause(request: web.Request) -> web.Response:
    """Send nothing of a shard to ClickHouse until it is resumed."""
    context, shard = request.app[CONTEXT], _shard_of(request)
    who = await keep_act(request, "pause", f"shard {shard}")
    context.shards.pause(shard, by=who)
    return _answer(context, shard)


@routes.post(f"{_PATH}/resume")
async def resume(request: web.Request) -> web.Response:
    """Let a shard go on."""
    context, shard = request.app[CONTEXT], _shard_of(request)
    await keep_act(request, "resume", f"shard {shard}")
    context.shards.resume(shard)
    return _answer(context, shard)


@routes.post(f"{_PATH}/flush")
async def flush(request: web.Request) -> web.Response:
    """Store and confirm what a shard holds: 200 when that is done, 202 when it goes on after the timeout."""
    faults = faults_of(request)
    timeout_s = requested_acknowledgement(request, faults).timeout_s
    context, shard = request.app[CONTEXT], _shard_of(request, faults)
    await keep_act(request, "flush", f"shard {shard}")
    try:
        async with asyncio.timeout(timeout_s):
            await context.shards.flush(shard)
    except ShardPaused as error:
        detail = f"Nothing was flushed, because {error}; resume it first."
        raise Problem(409, "Paused", detail, kind="paused") from None
    except TimeoutError:
        return _answer(context, shard, status=202)
    return _answer(context, shard)


@routes.get("/api/acts")
async def acts(request: web.Request) -> web.Response:
    """List what operators did, the latest first."""
    faults = faults_of(request)
    limit = limit_of(request.query.get("limit"), faults, default=ACTS, largest=ACTS_MAX)
    refuse(faults)
    return json_answer({"acts": await request.app[CONTEXT].acts.latest(limit)})


def _shard_of(request: web.Request, faults: list[Fault] | None = None) -> int:
    """Return the number of a shard that there is. Raises Problem 400 or 404."""
    faults, text = faults_of(request) if faults is None else faults, request.match_info["shard"]
    if not (text.isascii() and text.isdigit()):
        faults.append(Fault("shard", "must be a number, that of a shard"))
    refuse(faults)
    shards = request.app[CONTEXT].shards
    shards.require_recovered()
    if len(text) > 4 or int(text) >= len(shards.snapshot().shards):
        raise Problem(404, "Unknown shard", "There is no such shard; /api/status lists them.")
    return int(text)


def _answer(context: Context, shard: int, *, status: int = 200) -> web.Response:
    return json_answer(shard_view(context.shards.snapshot().shards[shard]), status=status)
