"""The operator's page: what each shard holds, how ClickHouse is, what is wrong, and who did what."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiohttp import hdrs, web

from app.access.principal import PRINCIPAL
from app.access.sessions import VISITOR
from app.context import CONTEXT, Context
from app.handlers.browsers.login import form_page, read_form
from app.handlers.operators.shards import ACTS_ON_SHARDS, shard_named
from app.web.problems import Problem
from app.web.visits import MASKED, OPERATE, check_own_form

ACTS_SHOWN = 20

routes = web.RouteTableDef()

_log = structlog.stdlib.get_logger(__name__)


@routes.get(OPERATE)
async def show(request: web.Request) -> web.Response:
    """Show the state of the service."""
    return form_page(request, "operate.html", await _values(request))


@routes.post(f"{OPERATE}/shards/{{shard:[^/]+}}/{{act:[^/]+}}")
async def act(request: web.Request) -> web.Response:
    """Do to a shard what a form of the page asks for."""
    check_own_form(request)
    visitor = request.get(VISITOR)
    form = await read_form(request)
    if visitor is None or not request.app[CONTEXT].sessions.is_masked(form.get(MASKED, ""), visitor.text):
        raise Problem(
            403, "Foreign form", "This form is not of your session. Open the page anew, and send it from there."
        )
    do = ACTS_ON_SHARDS.get(request.match_info["act"])
    if do is None:
        raise Problem(404, "Not found", f"Nothing like that is done to shards, but: {', '.join(ACTS_ON_SHARDS)}.")
    await do(request, shard_named(request))
    return web.Response(status=303, headers={hdrs.LOCATION: OPERATE, hdrs.CACHE_CONTROL: "no-store"})


async def _values(request: web.Request) -> Mapping[str, Any]:
    context, visitor = request.app[CONTEXT], request.get(VISITOR)
    snapshot = context.shards.snapshot()
    readiness = context.readiness(snapshot)
    return {
        "operator": request[PRINCIPAL].name,
        "masked": context.sessions.masked(visitor.text) if visitor else "",
        "field": MASKED,
        "status": readiness.status,
        "checks": readiness.checks,
        "snapshot": snapshot,
        "acts": await _acts(context),
    }


async def _acts(context: Context) -> Sequence[Mapping[str, Any]] | None:
    """Return the latest acts; None where they cannot be read, because the page must show what is wrong all the same."""
    try:
        return await context.acts.latest(ACTS_SHOWN)
    except OSError as error:
        _log.warning("acts not readable", error=error.strerror or type(error).__name__)
        return None
