"""The aiohttp application: middlewares, routes, and what is started and closed with it."""

from collections.abc import AsyncIterator

from aiohttp import web

from app import dashboard
from app.config import Config
from app.context import CONTEXT, Context
from app.handlers import (
    audit,
    deadletters,
    docs,
    health,
    ingest,
    match_events,
    matches,
    openapi,
    prometheus,
    receipts,
    status,
    stream,
)
from app.server.middlewares import around, send_identity
from app.server.monitor import monitor_context
from app.web import cors
from app.web.conditional import forbid_storing

HANDLERS = (
    *(matches, ingest, match_events, receipts, deadletters, stream),
    *(health, prometheus, status, audit, openapi, docs),
)
"""Modules of handlers, those asked most first, because a path is looked for in this order."""

HANDLERS_SHARE = 0.2
"""Part of the shutdown's time that requests in progress may take before they are cut off."""


def create_app(config: Config) -> web.Application:
    """Return the service, not started.

    Shutdown, in this order: not ready, streams ended (``on_shutdown``), monitor closed, shards drained, store
    closed (``cleanup_ctx``). Serve it with ``auto_decompress=False``, because handlers count bodies while unpacking.
    """
    app = web.Application(middlewares=[around], client_max_size=config.max_body_bytes)
    app[CONTEXT] = Context.create(config)
    for module in HANDLERS:
        app.add_routes(module.routes)
    dashboard.setup(app)
    cors.setup(app)
    app.on_response_prepare.append(_send_headers)
    app.on_shutdown.append(_end_streams)
    app.cleanup_ctx.extend((_context, monitor_context))
    return app


async def _send_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers of every response on this one. The middleware would come too late for streams."""
    send_identity(request, response)
    forbid_storing(response)
    cors.allow_reading(request, response)


async def _end_streams(app: web.Application) -> None:
    await app[CONTEXT].end_streams()


async def _context(app: web.Application) -> AsyncIterator[None]:
    context = app[CONTEXT]
    await context.start()
    yield
    await context.close()
