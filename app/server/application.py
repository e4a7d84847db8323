"""The aiohttp application: middlewares, routes, and what is started and closed with it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from aiohttp import hdrs, web

from app import dashboard
from app.access.needs import Need, need_of
from app.config import Config
from app.context import CONTEXT, Context
from app.handlers import (
    docs,
    health,
    ingest,
    metrics,
    openapi,
    receipts,
    status,
)
from app.handlers.browsers import login, operate
from app.handlers.operators import audit, deadletters, erasures, shards
from app.handlers.reading import events, export, matches, shots, stream, streams
from app.handlers.sending.limiting import send_standing
from app.live import Changes
from app.server import authorization
from app.server.middlewares import around, send_identity
from app.server.monitor import monitor_context
from app.web import cors
from app.web.conditional import forbid_storing
from app.web.keys import ROOT_PATH

HANDLERS = (
    *(matches, ingest, events, shots, receipts, deadletters, stream, streams),
    *(health, metrics, status, audit, openapi, docs, login, operate, shards, erasures),
)
"""Modules of handlers, those asked most first, because a path is looked for in this order."""

HANDLERS_SHARE = 0.2
"""Part of the shutdown's time that requests in progress may take before they are cut off."""


def create_app(config: Config) -> web.Application:
    """Return the service, not started.

    Serve it with ``auto_decompress=False``, because handlers count bodies while unpacking. The shutdown, in order:

    1. A signal: not ready from now on, and every answer ends its connection (`app.commands.serve`).
    2. After the delay the port closes, idle connections end (`app.server.protocol`).
    3. Streams of viewers end (``on_shutdown``: here, and in `app.dashboard`).
    4. Requests in progress may end, for :data:`HANDLERS_SHARE` of the time.
    5. The dashboard's samples and the console end (``cleanup_ctx``, the last one first).
    6. The admin token goes, shards are drained and closed, then the store (`Context.close`).
    """
    app = web.Application(middlewares=[around], client_max_size=config.max_body_bytes)
    app[CONTEXT] = Context.create(config)
    app[ROOT_PATH] = config.root_path
    app[streams.CHANGES] = Changes()
    app[export.EXPORTS] = asyncio.Semaphore(export.EXPORTS_MAX)
    for module in HANDLERS:
        app.add_routes(module.routes)
    app.on_response_prepare.append(_send_headers)
    app.on_shutdown.append(_end_streams)
    app.cleanup_ctx.extend((_context, monitor_context))
    dashboard.setup(app)
    cors.setup(app, config.cors_origins)
    authorization.setup(app)
    app[CONTEXT].telemetry.requests.know(_known_routes(app))
    return app


def _known_routes(app: web.Application) -> Iterator[tuple[str, str, int]]:
    """Yield method, path and usual status of the routes of the API, whose figures begin at 0."""
    for route in app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if path.startswith("/api/") and route.method in (hdrs.METH_GET, hdrs.METH_POST):
            yield route.method, path, 202 if need_of(route.method, path) is Need.SEND else 200


async def _send_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers of every response on this one. The middleware would come too late for streams."""
    send_identity(request, response)
    forbid_storing(response)
    cors.allow(request, response)
    send_standing(request, response)
    _lead_below_root(request, response)
    if request.app[CONTEXT].stopping:
        _end_connection(response)


def _lead_below_root(request: web.Request, response: web.StreamResponse) -> None:
    """Let a redirection to a path of ours lead to where the proxy shows it."""
    location = response.headers.get(hdrs.LOCATION, "")
    if location.startswith("/"):
        response.headers[hdrs.LOCATION] = request.app[ROOT_PATH] + location


def _end_connection(response: web.StreamResponse) -> None:
    """Have the client, or a balancer, connect anew and elsewhere; aiohttp has made its own header by now."""
    response.force_close()
    response.headers[hdrs.CONNECTION] = "close"


async def _end_streams(app: web.Application) -> None:
    await app[CONTEXT].end_streams()


async def _context(app: web.Application) -> AsyncIterator[None]:
    context = app[CONTEXT]
    await context.start()
    yield
    await context.close()
