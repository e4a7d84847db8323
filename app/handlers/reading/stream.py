"""`GET /api/matches/{matchId}/stream`: one match, followed by server-sent events."""

import asyncio
import random
from collections.abc import AsyncIterable

from aiohttp import web

from app.context import CONTEXT, may_go_on
from app.handlers.parameters import faults_of, path_match_id
from app.live import Message, UnknownMatch
from app.web.event_stream import event_stream
from app.web.head.checks import LAST_EVENT_ID
from app.web.refusals import refuse, unknown_match

HEARTBEAT_S = 15.0
SEND_TIMEOUT_S = 10.0
"""Seconds after which a viewer that takes nothing is cut off."""

RETRY_MS = (1000, 3000)
"""Least and most ms before a client connects again; not all wait the same, or a restart brings all at once."""

routes = web.RouteTableDef()


@routes.get("/api/matches/{matchId:[^/]+}/stream", allow_head=False)
async def match_stream(request: web.Request) -> web.StreamResponse:
    """Send snapshots and highlights until the viewer leaves or falls behind, its key ends, or the service stops."""
    faults = faults_of(request)
    match_id = path_match_id(request, faults)
    refuse(faults)
    seen = seen_last(request)
    try:
        context = request.app[CONTEXT]
        async with context.live.subscribe(match_id, last_event_id=seen) as messages:
            with context.telemetry.viewers.one("stream"):
                return await send_messages(request, messages)
    except UnknownMatch:
        raise unknown_match() from None


def seen_last(request: web.Request) -> str:
    """Return the id of the message that the viewer saw last, "" if it saw none."""
    return request.headers.get(LAST_EVENT_ID) or request.query.get("lastEventId", "")


async def send_messages(request: web.Request, messages: AsyncIterable[Message]) -> web.StreamResponse:
    """Send messages until there are no more, the viewer leaves or takes nothing for too long, or its key ends."""
    response = event_stream(request, ping_interval=HEARTBEAT_S, send_timeout=SEND_TIMEOUT_S)
    await response.prepare(request)
    try:
        async with response:
            await response.write(b"retry: %d\n\n" % random.randint(*RETRY_MS))
            async for message in messages:
                encoded = await message.encoded()
                if not may_go_on(request):
                    break
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await response.write(encoded)
    except ConnectionResetError:
        pass  # gone; there is nobody left to tell
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response
