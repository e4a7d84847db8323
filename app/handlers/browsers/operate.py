"""The operator's page: what each shard holds, how ClickHouse is, and what is wrong."""

from aiohttp import web

from app.access.principal import PRINCIPAL
from app.access.sessions import VISITOR
from app.context import CONTEXT
from app.handlers.browsers.login import form_page
from app.handlers.health import readiness

OPERATE = "/operate"

routes = web.RouteTableDef()


@routes.get(OPERATE)
async def show(request: web.Request) -> web.Response:
    """Show the state of the service."""
    context = request.app[CONTEXT]
    status, checks = readiness(context)
    visitor = request.get(VISITOR)
    values = {
        "operator": request[PRINCIPAL].name,
        "has_session": visitor is not None,
        "status": status,
        "checks": checks,
        "snapshot": context.shards.snapshot(),
        "viewers": context.live.viewers,
    }
    return form_page(request, "operate.html", values)
