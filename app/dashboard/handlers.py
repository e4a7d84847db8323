"""Routes of the dashboard: pages, their streams, static files."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp_jinja2
from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from app.context import CONTEXT, may_go_on
from app.dashboard.board import BOARD, SAMPLE_INTERVAL_S, Board, sample_throughput
from app.dashboard.rendering import (
    MatchRegions,
    Regions,
    changed,
    encode_update,
    environment_options,
    match_page_of,
    templates_dir,
)
from app.live import Message, UnknownMatch
from app.observability.prometheus import Viewing
from app.schemas.faults import FieldError
from app.schemas.fields import checked_match_id
from app.web.event_stream import event_stream
from app.web.head.checks import check_dates
from app.web.headers import PAGE_HEADERS, page_headers
from app.web.keys import MATCH_ID, ROOT_PATH
from app.web.problems import Problem
from shards import StoreError

STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

HEARTBEAT_S = 5.0
"""Most seconds that an overview stream says nothing; the page takes a longer silence for an outage."""

SEND_TIMEOUT_S = 10.0
"""Seconds after which a viewer that takes nothing is cut off."""

RETRY_AFTER_S = "2"

STATIC_FILES: web.AppKey[dict[str, Path]] = web.AppKey("static_files")

routes = web.RouteTableDef()


def setup(app: web.Application) -> None:
    """Add the dashboard to the application, which holds its :class:`~app.context.Context` already."""
    environment = aiohttp_jinja2.setup(app, **environment_options())
    environment.globals["root"] = app[ROOT_PATH]
    app[PAGE_HEADERS] = page_headers(app[CONTEXT].config.frame_origins)
    app[BOARD] = Board(context=app[CONTEXT], environment=environment, match_regions=MatchRegions(environment))
    app[CONTEXT].shards.erasures.tell(app[BOARD].forget)
    app[STATIC_FILES] = _static_files()
    app.add_routes(routes)
    app.on_shutdown.append(_end_streams)
    app.cleanup_ctx.append(sample_throughput)


@routes.get("/")
async def overview(request: web.Request) -> web.Response:
    """Show the matches and the service; 503, with the service's state, while the matches cannot be read."""
    page = await request.app[BOARD].page()
    return _page(request, "overview.html", {"page": page}, status=503 if page.matches is None else 200)


@routes.get("/matches/{matchId:[^/]+}")
async def match(request: web.Request) -> web.Response:
    """Show one match."""
    match_id, context = request.match_info["matchId"], request.app[CONTEXT]
    try:
        aggregates = await context.live.aggregates(checked_match_id(match_id))
    except (FieldError, UnknownMatch):
        return _page(request, "unknown.html", {"match_id": match_id}, status=404)
    except StoreError:
        return _page(request, "away.html", {"match_id": match_id}, status=503)
    request[MATCH_ID] = match_id
    metrics = await context.rendered.get(aggregates)
    return _page(request, "match.html", {"page": await match_page_of(aggregates, metrics.body)})


@routes.get("/stream", allow_head=False)
async def overview_stream(request: web.Request) -> web.StreamResponse:
    """Send the overview's regions as they change, until the viewer leaves or the service stops."""
    async with contextlib.aclosing(_overview_updates(request.app[BOARD])) as updates:
        return await _send(request, updates, "overview_page")


@routes.get("/matches/{matchId:[^/]+}/stream", allow_head=False)
async def match_stream(request: web.Request) -> web.StreamResponse:
    """Send the regions of a match's page as they change, until the viewer leaves or the service stops."""
    try:
        match_id = checked_match_id(request.match_info["matchId"])
        async with (
            request.app[CONTEXT].live.subscribe(match_id) as messages,
            contextlib.aclosing(_match_updates(request.app[BOARD], messages)) as updates,
        ):
            return await _send(request, updates, "match_page")
    except (FieldError, UnknownMatch):
        raise Problem(404, "Unknown match", "No event of this match was received yet.") from None


@routes.get("/static/{path:.+}")
async def static(request: web.Request) -> web.StreamResponse:
    """Serve one of the files found at the start, so that no other path of the disk can be named."""
    path = request.app[STATIC_FILES].get(request.match_info["path"])
    if path is None:
        raise web.HTTPNotFound
    check_dates(request)
    headers = {
        hdrs.CONTENT_TYPE: STATIC_TYPES[path.suffix] + "; charset=utf-8",
        hdrs.CACHE_CONTROL: "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(path, headers=headers)


async def _end_streams(app: web.Application) -> None:
    app[BOARD].closing.set()


def _static_files() -> dict[str, Path]:
    root = templates_dir() / "static"
    return {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.suffix in STATIC_TYPES}


def _page(request: web.Request, template: str, context: Mapping[str, Any], *, status: int = 200) -> web.Response:
    values = {"rendered_at_ms": time.time_ns() // 1_000_000, **context}
    response = aiohttp_jinja2.render_template(template, request, values, status=status)
    response.headers.update(request.app[PAGE_HEADERS])
    if status == 503:
        response.headers[hdrs.RETRY_AFTER] = RETRY_AFTER_S
    return response


async def _overview_updates(board: Board) -> AsyncGenerator[str, None]:
    """Yield what changed, at most once a second, and something at least every few seconds."""
    seen, sent_at = dict[str, str](), 0.0
    while not board.closing.is_set():
        page, regions = await board.regions()
        update = changed(regions, since=seen)
        if update or time.monotonic() - sent_at >= HEARTBEAT_S:
            yield encode_update(update, as_of_ms=page.as_of_ms)
            seen, sent_at = dict(regions), time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(board.closing.wait(), SAMPLE_INTERVAL_S)


async def _match_updates(board: Board, messages: AsyncIterable[Message]) -> AsyncGenerator[str, None]:
    """Yield what changed with each snapshot; highlights are part of the next one, within the second."""
    seen: Regions = {}
    async for message in messages:
        if message.event == "metrics":
            regions = await board.match_regions.render(message)
            yield encode_update(changed(regions, since=seen), as_of_ms=message.value.as_of_ms)
            seen = regions


async def _send(request: web.Request, updates: AsyncGenerator[str, None], kind: Viewing) -> EventSourceResponse:
    """Send every update; ends quietly when the viewer is gone, takes nothing for too long, or its key ends."""
    response = event_stream(request, send_timeout=SEND_TIMEOUT_S)
    viewing = request.app[CONTEXT].telemetry.viewers.one(kind)
    with viewing, contextlib.suppress(ConnectionResetError, TimeoutError):
        await response.prepare(request)
        async with response:
            async for update in updates:
                if not may_go_on(request):
                    break
                await response.send(update, event="update")
    return response
