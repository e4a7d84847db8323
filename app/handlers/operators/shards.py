"""`POST /api/shards/{shard}/pause`, `/resume`, `/flush` for operators, and `GET /api/acts`: who did what."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from app.context import CONTEXT
from app.handlers.operators.admin import RETRY_AFTER_S, keep_act
from app.handlers.parameters import faults_of, limit_of
from app.handlers.sending.acknowledgement import TIMEOUT_S, requested_acknowledgement
from app.handlers.status import shard_view
from app.schemas.faults import Fault
from app.web.answers import json_answer
from app.web.problems import Problem
from app.web.refusals import refuse, unavailable
from shards import ShardPaused

_PATH = "/api/shards/{shard:[^/]+}"
ACTS = 50
ACTS_MAX = 1000

routes = web.RouteTableDef()


@routes.post(f"{_PATH}/pause")
async def pause(request: web.Request) -> web.Response:
    """Send nothing of a shard to ClickHouse until it is resumed."""
    shard = shard_named(request)
    await _pause(request, shard)
    return _answer(request, shard)


@routes.post(f"{_PATH}/resume")
async def resume(request: web.Request) -> web.Response:
    """Let a shard go on."""
    shard = shard_named(request)
    await _resume(request, shard)
    return _answer(request, shard)


@routes.post(f"{_PATH}/flush")
async def flush(request: web.Request) -> web.Response:
    """Store and confirm what a shard holds: 200 when that is done, 202 when it goes on after the timeout."""
    faults = faults_of(request)
    timeout_s = requested_acknowledgement(request, faults).timeout_s
    shard = shard_named(request, faults)
    return _answer(request, shard, status=200 if await _flush(request, shard, timeout_s) else 202)


@routes.get("/api/acts")
async def acts(request: web.Request) -> web.Response:
    """List what operators did, the latest first."""
    faults = faults_of(request)
    limit = limit_of(request.query.get("limit"), faults, default=ACTS, largest=ACTS_MAX)
    refuse(faults)
    try:
        found = await request.app[CONTEXT].acts.latest(limit)
    except OSError as error:
        raise unavailable(
            "What operators did cannot be read now: check the disk, and ask again after Retry-After.",
            retry_after_s=RETRY_AFTER_S,
        ) from error
    return json_answer({"acts": found})


async def _pause(request: web.Request, shard: int) -> None:
    who = await keep_act(request, "pause", f"shard {shard}")
    request.app[CONTEXT].shards.pause(shard, by=who)


async def _resume(request: web.Request, shard: int) -> None:
    await keep_act(request, "resume", f"shard {shard}")
    request.app[CONTEXT].shards.resume(shard)


async def _flush(request: web.Request, shard: int, timeout_s: float = TIMEOUT_S) -> bool:
    """Flush; say whether it was done in time."""
    await keep_act(request, "flush", f"shard {shard}")
    try:
        async with asyncio.timeout(timeout_s):
            await request.app[CONTEXT].shards.flush(shard)
    except ShardPaused as error:
        detail = f"Nothing was flushed, because {error}; resume it first."
        raise Problem(409, "Paused", detail, kind="paused") from None
    except TimeoutError:
        return False
    return True


ACTS_ON_SHARDS: Mapping[str, Callable[[web.Request, int], Awaitable[object]]] = {
    "pause": _pause,
    "resume": _resume,
    "flush": _flush,
}
"""What an operator does to a shard, kept before it is done."""


def shard_named(request: web.Request, faults: list[Fault] | None = None) -> int:
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


def _answer(request: web.Request, shard: int, *, status: int = 200) -> web.Response:
    return json_answer(shard_view(request.app[CONTEXT].shards.snapshot().shards[shard]), status=status)
