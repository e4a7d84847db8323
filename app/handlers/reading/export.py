"""The export of a match: `GET /api/matches/{matchId}/events` as NDJSON, oldest first, as it can be sent again.

The match is read piece by piece, each a stretch of time with few enough events, so that memory stays bounded however
large the match is.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import attrs
import msgspec
import structlog
from aiohttp import hdrs, web

from app.context import CONTEXT, Context, may_go_on
from app.live import UnknownMatch
from app.schemas.faults import Fault
from app.schemas.metadata import UNMAPPED
from app.times import iso_ms
from app.web.keys import MATCH_ID, STREAMED
from app.web.refusals import refuse, unknown_match
from shards import MINUTE_MS, Event, EventQuery, MatchAggregates, StoreError, StoreUnavailable, TooManyReads

MEDIA_TYPE: Final = "application/x-ndjson"
PIECE_EVENTS: Final = 1_000
"""Events that a piece should have at most; one of a single millisecond may have more."""

PAGE_EVENTS: Final = 500
SEND_TIMEOUT_S: Final = 30.0
SEND_BYTES: Final = 1 << 16
"""Seconds after which a client that takes nothing of so many bytes is cut off."""

EXPORTS_MAX: Final = 4
"""Exports at a time; more are told to come again."""

EXPORTS: web.AppKey[asyncio.Semaphore] = web.AppKey("exports", asyncio.Semaphore)

_log = structlog.stdlib.get_logger(__name__)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def wants_export(request: web.Request) -> bool:
    """Say whether the client asks for NDJSON, and not for JSON."""
    return MEDIA_TYPE in request.headers.get("Accept", "") and "application/json" not in request.headers["Accept"]


async def export_match(request: web.Request, match_id: str, faults: list[Fault]) -> web.StreamResponse:
    """Send all events of a match, each as a line that can be sent to the service again.

    A retracted event is among them, as is its retraction. Raises StoreError before the first line; where ClickHouse
    fails later the connection ends without the end of the chunks, so that nobody takes a part for the whole.
    """
    if request.query:
        faults.append(Fault("query", "an export is of the whole match; leave all parameters out"))
    refuse(faults)
    context = request.app[CONTEXT]
    try:
        aggregates = await context.live.aggregates(match_id)
    except UnknownMatch:
        raise unknown_match() from None
    request[MATCH_ID], request[STREAMED] = match_id, True
    response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-cache", "Vary": "Accept"})
    if aggregates.pending_events:
        raise StoreUnavailable("the service catches up after an outage; an export would not be whole yet")
    pieces = _pieces(context, match_id, aggregates)
    if request.method == hdrs.METH_HEAD:
        return response
    turns = request.app[EXPORTS]
    if turns.locked():
        raise TooManyReads("too many exports are under way")
    async with turns:
        first = await anext(pieces, b"")
        await response.prepare(request)
        try:
            await _send(response, first)
            async for piece in pieces:
                if not may_go_on(request):
                    raise _BrokenOff
                await _send(response, piece)
            await response.write_eof()
        except (StoreError, TimeoutError, _BrokenOff) as error:
            _log.info("export broken off", match=match_id, error=type(error).__name__)
            if request.transport is not None:
                request.transport.abort()  # without the last chunk nobody takes it for the whole
    return response


class _BrokenOff(Exception):
    """The export cannot go on: the match is being erased, or the key ended, or events wait on the disk."""


async def _send(response: web.StreamResponse, piece: bytes) -> None:
    for start in range(0, len(piece), SEND_BYTES):
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await response.write(piece[start : start + SEND_BYTES])


async def _pieces(context: Context, match_id: str, aggregates: MatchAggregates) -> AsyncIterator[bytes]:
    """Yield the lines of the match, a piece at a time."""
    for from_ms, to_ms in _stretches(aggregates.by_minute):
        async for events in _read(context, EventQuery(match_id=match_id, limit=PAGE_EVENTS), from_ms, to_ms):
            yield await asyncio.to_thread(_lines, events)


def _stretches(by_minute: Sequence[tuple[int, int]]) -> Iterator[tuple[int | None, int | None]]:
    """Yield stretches of time, open at both ends of all, each with few events or of one minute.

    Retracted events are not in the counts, and more may come meanwhile: what a stretch holds is only about right.
    """
    began: int | None = None
    events = 0
    for minute_ms, count in by_minute:
        if events and events + count > PIECE_EVENTS:
            yield began, minute_ms
            began, events = minute_ms, 0
        events += count
    yield began, None


async def _read(
    context: Context, query: EventQuery, from_ms: int | None, to_ms: int | None
) -> AsyncIterator[list[Event]]:
    """Yield the events of a stretch of time, oldest first; of one with too many half by half."""
    events: list[Event] = []
    ranged = attrs.evolve(query, from_ms=from_ms, to_ms=to_ms)
    while True:
        page = await context.live.events(ranged)
        if page is None or page.pending_events:
            raise _BrokenOff
        events += [found.event for found in page.events]
        if page.end is None:
            break
        if len(events) > 2 * PIECE_EVENTS and (middle := _middle(events, from_ms, to_ms)) is not None:
            events.clear()
            for half in ((from_ms, middle), (middle, to_ms)):
                async for some in _read(context, query, *half):
                    yield some
            return
        ranged = attrs.evolve(ranged, after=page.end)
    yield events[::-1]


def _middle(newest: Sequence[Event], from_ms: int | None, to_ms: int | None) -> int | None:
    """Return a moment that divides a stretch, None of one of a single millisecond."""
    last = newest[0].timestamp + 1 if to_ms is None else to_ms
    first = min(newest[-1].timestamp - MINUTE_MS, last - 2) if from_ms is None else from_ms
    middle = (first + last) // 2
    return middle if first < middle < last else None


def _lines(events: Sequence[Event]) -> bytes:
    return b"".join(msgspec.json.encode(sent_as(event)) + b"\n" for event in events)


def sent_as(event: Event) -> dict[str, Any]:
    """Return an event as its client sent it: fields that the service did not know stand where they stood."""
    metadata, unmapped = event.metadata or "{}", dict[str, msgspec.Raw]()
    if UNMAPPED in metadata:
        members = _members.decode(metadata)
        if UNMAPPED in members:
            unmapped = _members.decode(members.pop(UNMAPPED))
            metadata = msgspec.json.encode(members).decode()
    known = {
        "eventId": event.event_id,
        "matchId": event.match_id,
        "eventType": event.event_type,
        "timestamp": iso_ms(event.timestamp),
        "teamId": event.team_id or None,
        "playerId": event.player_id or None,
        "metadata": msgspec.Raw(metadata.encode()) if metadata != "{}" else None,
    }
    return {name: value for name, value in known.items() if value is not None} | unmapped
