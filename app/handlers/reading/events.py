"""`GET /api/matches/{matchId}/events`: the events of a match, page by page."""

from typing import Any

import attrs
import msgspec
from aiohttp import web
from multidict import MultiMapping

from app.context import CONTEXT
from app.handlers.parameters import faults_of, limit_of, path_match_id, time_range_of
from app.handlers.reading.export import export_match, wants_export
from app.schemas.event_types import EventTypes
from app.schemas.faults import Fault, FieldError, shown
from app.schemas.fields import CANONICAL_UUID, checked_identifier
from app.times import iso_ms
from app.web.answers import json_answer
from app.web.conditional import REVALIDATED
from app.web.cursors import Scope, cursor_of, position_of
from app.web.keys import MATCH_ID
from app.web.refusals import refuse, unknown_match
from shards import EventPage, EventQuery, FoundEvent, Position

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
"""Most events on a page; more than the 100 matches of one, because events are small beside their summaries."""

_UNKNOWN_SHOWN = 5

_place = msgspec.json.Decoder(tuple[int, int, str])

routes = web.RouteTableDef()


@routes.get("/api/matches/{matchId:[^/]+}/events")
async def match_events(request: web.Request) -> web.StreamResponse:
    """Answer with a page of a match's events, newest first; or export them all, oldest first, as NDJSON."""
    context, faults = request.app[CONTEXT], faults_of(request)
    match_id = path_match_id(request, faults)
    if wants_export(request):
        return await export_match(request, match_id, faults)
    query = events_query_of(match_id, request.query, context.events_schema.types, faults)
    refuse(faults)
    page = await context.live.events(query)
    if page is None:
        raise unknown_match()
    request[MATCH_ID] = match_id
    return json_answer(_page_view(query, page), caching=REVALIDATED)


def events_query_of(match_id: str, query: MultiMapping[str], types: EventTypes, faults: list[Fault]) -> EventQuery:
    """Return the query that is asked for, and add what is at fault to ``faults``."""
    range_ = time_range_of(query, faults)
    wanted = EventQuery(
        match_id=match_id,
        types=_types(query.getall("type", []), types, faults),
        team_id=_team(query.get("team"), faults),
        from_ms=range_.from_ms,
        to_ms=range_.to_ms,
        limit=limit_of(query.get("limit"), faults, default=LIMIT_DEFAULT, largest=LIMIT_MAX),
    )
    return attrs.evolve(wanted, after=_after(query.get("cursor"), wanted, faults))


def _types(texts: list[str], types: EventTypes, faults: list[Fault]) -> frozenset[str]:
    names = {name.strip() for text in texts for name in text.split(",")}
    unknown = sorted(names - types.known)
    if unknown:
        listed = ", ".join(map(shown, unknown[:_UNKNOWN_SHOWN])) + (", ..." if len(unknown) > _UNKNOWN_SHOWN else "")
        known = ", ".join(sorted(types.known))
        faults.append(Fault("type", f"names unknown event types: {listed}; known are, separated by commas: {known}"))
    return frozenset(names & types.known)


def _team(text: str | None, faults: list[Fault]) -> str:
    if text is None:
        return ""
    try:
        return checked_identifier(text)
    except FieldError as error:
        faults.append(Fault("team", str(error)))
        return ""


def _after(cursor: str | None, query: EventQuery, faults: list[Fault]) -> Position | None:
    if cursor is None:
        return None
    try:
        at_ms, order_ns, event_id = position_of(cursor, scope=_scope(query), decoder=_place)
        if not (0 <= at_ms < 1 << 62 and 0 <= order_ns < 1 << 64 and CANONICAL_UUID.fullmatch(event_id)):
            raise FieldError("leads nowhere; leave it out to begin with the first page")
        return Position(at_ms, order_ns, event_id)
    except FieldError as error:
        faults.append(Fault("cursor", str(error)))
        return None


def _scope(query: EventQuery) -> Scope:
    types = ",".join(sorted(query.types))
    return "events", query.match_id, types, query.team_id, query.from_ms, query.to_ms


def _page_view(query: EventQuery, page: EventPage) -> dict[str, Any]:
    end = page.end
    cursor = cursor_of((end.timestamp_ms, end.order_ns, end.event_id), scope=_scope(query)) if end else None
    return {
        "matchId": query.match_id,
        "events": [_event_view(found) for found in page.events],
        "pendingEvents": page.pending_events,
        "nextCursor": cursor,
    }


def _event_view(found: FoundEvent) -> dict[str, Any]:
    """Return an event as its client knows it, with ``metadata`` as the text that was sent."""
    event = found.event
    return {
        "eventId": event.event_id,
        "matchId": event.match_id,
        "eventType": event.event_type,
        "timestamp": iso_ms(event.timestamp),
        "teamId": event.team_id or None,
        "playerId": event.player_id or None,
        "metadata": msgspec.Raw((event.metadata or "{}").encode()),
        "receivedAt": iso_ms(event.received_ns // 1_000_000),
        "retracted": found.retracted,
    }
