"""`DELETE /api/matches/{matchId}` for operators, and `GET /api/erasures`: how far erasures are."""

from typing import Any

from aiohttp import web

from app.context import CONTEXT
from app.handlers.operators.admin import keep_act
from app.handlers.parameters import faults_of, path_match_id, seconds_of
from app.schemas.faults import Fault
from app.times import iso_ms
from app.web.answers import json_answer
from app.web.problems import Problem
from app.web.refusals import refuse
from shards import ErasureState

REFUSE_FOR_MAX_S = 366 * 86_400

routes = web.RouteTableDef()


@routes.delete("/api/matches/{matchId:[^/]+}")
async def erase_match(request: web.Request) -> web.Response:
    """Record the erasure of a match; it is carried out whatever happens from then on."""
    faults = faults_of(request)
    match_id, refuse_for_s = path_match_id(request, faults), _refuse_for_s(request, faults)
    refuse(faults)
    erasures = request.app[CONTEXT].shards.erasures
    await keep_act(request, "erase", f"match {match_id}")
    erasure = await erasures.request(match_id, refuse_for_s=refuse_for_s)
    view = {
        "erasure": erasure.id,
        "matchId": match_id,
        "status": "erasing",
        "timestamp": iso_ms(erasure.at_ms),
        "refusedUntil": iso_ms(erasure.refuse_until_ms) if erasure.refuse_until_ms else None,
    }
    return json_answer(view, status=202)


@routes.get("/api/erasures")
async def list_erasures(request: web.Request) -> web.Response:
    """List the erasures that are under way, the oldest first."""
    states = _states(request)
    return json_answer({"erasures": [_view(state) for state in states]})


@routes.get("/api/erasures/{id:[^/]+}")
async def read_erasure(request: web.Request) -> web.Response:
    """Answer with how far an erasure is."""
    id_ = request.match_info["id"]
    for state in _states(request):
        if state.id == id_:
            return json_answer(_view(state))
    detail = "No such erasure is under way: it is done, and nothing is kept of it, or there never was one."
    raise Problem(404, "Unknown erasure", detail)


def _states(request: web.Request) -> tuple[ErasureState, ...]:
    shards = request.app[CONTEXT].shards
    shards.require_recovered()
    return shards.erasures.states


def _view(state: ErasureState) -> dict[str, Any]:
    return {
        "erasure": state.id,
        "matchId": state.match_id,
        "status": "erasing",
        "step": state.step,
        "timestamp": iso_ms(state.at_ms),
        "lastError": state.error,
    }


def _refuse_for_s(request: web.Request, faults: list[Fault]) -> float:
    text = request.query.get("refuse_for")
    if text is None:
        return 0.0
    seconds = seconds_of(text, largest=REFUSE_FOR_MAX_S)
    if seconds is None:
        faults.append(Fault("refuse_for", f"must be a number of seconds above 0, at most {REFUSE_FOR_MAX_S}"))
    return seconds or 0.0
