"""`GET /api/stream`: several matches in one stream, or the highlights of all live ones."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Final

from aiohttp import web

from app.access.principal import PRINCIPAL
from app.context import CONTEXT, Context
from app.handlers.parameters import faults_of
from app.handlers.reading.stream import seen_last, send_messages
from app.live import Changes, Message, Subscription, UnknownMatch, merged
from app.schemas.faults import Fault, FieldError
from app.schemas.fields import checked_match_id
from app.web.problems import Problem
from app.web.refusals import refuse

MATCHES_MAX: Final = 50
"""Most matches of one stream."""

CHANGES: web.AppKey[Changes] = web.AppKey("changes", Changes)

routes = web.RouteTableDef()


@routes.get("/api/stream", allow_head=False)
async def stream_of_matches(request: web.Request) -> web.StreamResponse:
    """Send the snapshots and highlights of some matches, or the highlights of all live ones."""
    faults = faults_of(request)
    match_ids, changes = _match_ids(request, faults), _wants_changes(request, faults)
    if changes and not match_ids:
        faults.append(Fault("changes", "is about snapshots, which ?highlights=live has none of"))
    refuse(faults)
    context = request.app[CONTEXT]
    if not match_ids:
        return await _stream_highlights(request, context)
    await context.live.aggregates_by_match(match_ids)  # in one statement, so that each is at hand
    async with AsyncExitStack() as stack:
        subscriptions = [await _subscribe(stack, context, match_id, seen_last(request)) for match_id in match_ids]
        messages = await stack.enter_async_context(aclosing(merged(subscriptions)))
        with context.telemetry.viewers.one("stream"):
            return await send_messages(request, _told(request, messages) if changes else messages)


async def _stream_highlights(request: web.Request, context: Context) -> web.StreamResponse:
    viewer = context.live.highlights.open(seen_last(request))
    try:
        with context.telemetry.viewers.one("stream"):
            return await send_messages(request, _reached(request, viewer))
    finally:
        context.live.highlights.viewers.discard(viewer)


async def _reached(request: web.Request, viewer: Subscription) -> AsyncIterator[Message]:
    """Yield the messages of those matches that the key is for."""
    principal = request[PRINCIPAL]
    async for message in viewer:
        if principal.reaches(message.match_id):
            yield message


async def _told(request: web.Request, messages: AsyncIterable[Message]) -> AsyncIterator[Message]:
    sent: dict[str, tuple[str, bytes]] = {}
    async for message in messages:
        yield await request.app[CHANGES].told(message, sent)


async def _subscribe(stack: AsyncExitStack, context: Context, match_id: str, last_event_id: str) -> Subscription:
    try:
        return await stack.enter_async_context(context.live.subscribe(match_id, last_event_id=last_event_id))
    except UnknownMatch:
        detail = f"No event of the match {match_id} was received yet; leave it out until one was."
        raise Problem(404, "Unknown match", detail, kind="unknown-match") from None


def _match_ids(request: web.Request, faults: list[Fault]) -> list[str]:
    """Return the matches, each once; none where the highlights of all are asked for."""
    given, highlights = request.query.getall("match", []), request.query.get("highlights")
    if highlights not in (None, "live"):
        faults.append(Fault("highlights", "must be live, or left out"))
    if not faults and bool(given) == (highlights is not None):
        faults.append(Fault("match", "say either which matches, ?match=a&match=b, or ?highlights=live"))
    match_ids = list(dict.fromkeys(given))
    if len(match_ids) > MATCHES_MAX:
        faults.append(Fault("match", f"names {len(match_ids)} matches; one stream is of at most {MATCHES_MAX}"))
        return []
    for match_id in match_ids:
        try:
            checked_match_id(match_id)
        except FieldError as error:
            faults.append(Fault("match", str(error)))
    return match_ids


def _wants_changes(request: web.Request, faults: list[Fault]) -> bool:
    changes = request.query.get("changes", "false")
    if changes not in ("true", "false"):
        faults.append(Fault("changes", "must be true or false"))
    return changes == "true"
