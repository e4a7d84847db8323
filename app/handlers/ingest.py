"""`POST /api/events`, `/api/matches/{matchId}/events` and `/api/events/bulk`: events in."""

from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import attrs
from aiohttp import web

from app.access.principal import PRINCIPAL
from app.bodies.lines import LineStream, LineTooLong
from app.bodies.reading import BodyReader, read_body
from app.bodies.room import BodyShare
from app.context import CONTEXT, Context
from app.handlers.parameters import faults_of, path_match_id
from app.handlers.sending.acknowledgement import Acknowledgement, acknowledge, requested_acknowledgement
from app.handlers.sending.faults import invalid_events, none_valid, too_many_events
from app.handlers.sending.known import SentEvents
from app.handlers.sending.lasting import check_key, check_presence
from app.handlers.sending.limiting import check_rate, limited, portions, spend, turn
from app.schemas.batch import (
    BOM,
    WARNINGS_MAX,
    WHITESPACE,
    CheckedEvents,
    Numbered,
    element_batches,
    line_batches,
    validate,
)
from app.schemas.elements import NotAnArrayError, TooManyEventsError
from app.schemas.events import Origin
from app.schemas.faults import Fault, InvalidEventError
from app.schemas.metadata import EMPTY
from app.schemas.warnings import warnings_of
from app.times import iso_ms
from app.web.body import NDJSON_TYPES, Format, body_format, unsupported_type
from app.web.cors import is_page_allowed
from app.web.head.checks import IDEMPOTENCY_KEY
from app.web.keys import MATCH_ID
from app.web.problems import Problem
from app.web.refusals import not_for_this, refuse, refused
from shards import Event, Receipt, Unavailable

ERRORS_MAX = 1_000
"""Most rejected events of one request whose faults are told; of the others only the numbers are."""

BULK_ERRORS_MAX = 100
APPENDED_TOGETHER = 5_000
"""Events of a request that are made durable together."""

KEY_MAX_CHARS = 255

routes = web.RouteTableDef()


@routes.post("/api/events")
@limited
async def post_events(request: web.Request) -> web.Response:
    """Take in one event, or many."""
    return await _ingest(request, match_in_path=False)


@routes.post("/api/matches/{matchId:[^/]+}/events")
@limited
async def post_match_events(request: web.Request) -> web.Response:
    """Take in one event, or many, of the match in the path."""
    return await _ingest(request, match_in_path=True)


@routes.post("/api/events/bulk")
@limited
async def post_bulk(request: web.Request) -> web.Response:
    """Take in any number of lines as they are read, in bounded memory."""
    context = request.app[CONTEXT]
    _check_room(context)
    origin, acknowledgement = _asked(request, match_in_path=False)
    if body_format(request, default="ndjson", is_page_allowed=is_page_allowed(request)) != "ndjson":
        raise unsupported_type(NDJSON_TYPES)
    done = _BulkProgress(SentEvents(acknowledgement.stored))
    reader = BodyReader(request, pace=None)
    with context.room.stream() as share:
        stream = LineStream(reader.read, share, line_max_bytes=context.config.max_body_bytes)
        try:
            await _take_slices(request, stream, share, origin, done)
        except Problem as problem:
            if isinstance(problem, LineTooLong):
                context.telemetry.events.rejected("too_large", 1)
            raise _stopped(problem, done, origin) from None
        except Unavailable as error:
            raise _stopped(refused(error), done, origin) from error
    if done.receipt is None:
        raise none_valid(done.batch, empty="The body has no lines; send at least one event.", members=done.view())
    return await acknowledge(request, done.receipt, acknowledgement, done.view(), done.sent)


async def _ingest(request: web.Request, *, match_in_path: bool) -> web.Response:
    context = request.app[CONTEXT]
    _check_room(context)
    check_rate(request)
    origin, acknowledgement = _asked(request, match_in_path=match_in_path)
    if origin.match_id is not None:
        request[MATCH_ID] = origin.match_id
    format_ = body_format(request, is_page_allowed=is_page_allowed(request))
    sent = SentEvents(acknowledgement.stored)
    with context.room.body() as share:
        body = await read_body(request, limit=context.config.max_body_bytes, share=share)
        body = body.removeprefix(BOM).strip(WHITESPACE)
        async with share.decoding():
            if format_ == "json" and body[:1] == b"{":
                receipt, view = await _take_one(request, context, body, origin, sent)
            else:
                receipt, view = await _take_many(request, context, body, format_, origin, sent)
    return await acknowledge(request, receipt, acknowledgement, view, sent)


async def _take_many(
    request: web.Request, context: Context, body: bytes, format_: Format, origin: Origin, sent: SentEvents
) -> tuple[Receipt, dict[str, Any]]:
    batch, taken = CheckedEvents(ERRORS_MAX), _Taken(sent)
    try:
        pieces = await line_batches(body) if format_ == "ndjson" else await _elements(context, body)
    except TooManyEventsError:
        context.telemetry.events.rejected("too_large", 1)
        raise too_many_events() from None
    spend(request, sum(map(len, pieces)))
    for some in pieces:
        presence = partial(check_presence, request)
        await validate(context.events_schema, some, origin=origin, into=batch, between_turns=presence)
        if len(batch.events) >= APPENDED_TOGETHER:
            await taken.append(context, batch)
    if batch.events:
        await taken.append(context, batch)
    if batch.rejected:
        context.telemetry.events.rejected("invalid", batch.rejected)
    if taken.receipt is None:
        raise none_valid(batch, empty="There is no event in the body; send at least one.")
    if len(taken.match_ids) == 1:
        request[MATCH_ID], *_ = taken.match_ids
    return taken.receipt, {"accepted": len(taken.event_ids), "eventIds": taken.event_ids, **batch.view()}


@attrs.define
class _Taken:
    """The events of a request that are durable. They are appended some at a time, so that few are held in memory."""

    sent: SentEvents
    receipt: Receipt | None = None
    event_ids: list[str] = attrs.field(factory=list)
    match_ids: set[str] = attrs.field(factory=set)

    async def append(self, context: Context, batch: CheckedEvents) -> None:
        """Make the events of a batch durable. Only the first ones may be refused for want of room."""
        events, batch.events = batch.events, []
        receipt = await _append(context, events, admitted=self.receipt is not None)
        self.receipt = self.receipt.joined(receipt) if self.receipt else receipt
        self.sent.note(events)
        self.event_ids += [event.event_id for event in events]
        self.match_ids.update(event.match_id for event in events)


async def _take_one(
    request: web.Request, context: Context, body: bytes, origin: Origin, sent: SentEvents
) -> tuple[Receipt, dict[str, Any]]:
    spend(request, 1)
    try:
        event = context.events_schema.parse(body, origin=origin)
    except InvalidEventError as error:
        context.telemetry.events.rejected("invalid", 1)
        faults = [fault.view() for fault in error.faults]
        if all(fault.forbids for fault in error.faults):
            raise not_for_this(faults) from None
        raise invalid_events("The event breaks the rules below.", faults) from None
    request[MATCH_ID] = event.match_id
    warnings = warnings_of(event.event_type, event.metadata) if event.metadata != EMPTY else []
    receipt = await _append(context, [event])
    sent.note([event])
    told = {"warnings": [warning.view() for warning in warnings[:WARNINGS_MAX]]} if warnings else {}
    received = iso_ms(event.received_ns // 1_000_000)
    return receipt, {"eventId": event.event_id, "status": "accepted", "timestamp": received, **told}


async def _elements(context: Context, body: bytes) -> list[list[Numbered]]:
    if not body:
        context.telemetry.events.rejected("empty", 1)
        raise Problem(400, "Empty body", "There is no event in the body; send at least one.", kind="empty")
    if body[:1] == b"[":
        try:
            return await element_batches(body)
        except NotAnArrayError as error:
            fault = Fault("$", str(error))
    else:
        fault = Fault("$", "is neither a JSON object (one event) nor a JSON array (many)")
    context.telemetry.events.rejected("not_json", 1)
    raise Problem(400, "Not JSON", "The body cannot be read as JSON.", [fault.view()], kind="not-json")


def _check_room(context: Context) -> None:
    """Raise a subclass of Unavailable where nothing can be taken now, before the body is read."""
    try:
        context.shards.check_room()
    except Unavailable as error:
        context.telemetry.events.rejected(error.refusal, 1)
        raise


async def _append(context: Context, events: list[Event], *, admitted: bool = False) -> Receipt:
    """Make events durable, and only then tell the viewers."""
    try:
        receipt = await context.shards.append(events, admitted=admitted)
    except Unavailable as error:
        context.telemetry.events.rejected(error.refusal, len(events))
        raise
    context.telemetry.events.taken(events)
    context.live.accepted(events)
    return receipt


@attrs.define
class _BulkProgress:
    """The progress of a bulk request. ``durable_lines`` counts lines that need not be sent again."""

    sent: SentEvents
    batch: CheckedEvents = attrs.field(factory=lambda: CheckedEvents(BULK_ERRORS_MAX))
    accepted: int = 0
    durable_lines: int = 0
    receipt: Receipt | None = None

    def view(self) -> dict[str, Any]:
        return {"accepted": self.accepted, "durableLines": self.durable_lines, **self.batch.view()}


async def _take_slices(
    request: web.Request, stream: LineStream, share: BodyShare, origin: Origin, done: _BulkProgress
) -> None:
    async with aclosing(stream.slices()) as slices:
        async for part in slices:
            for pieces in portions(request, part.pieces):
                await turn(request, len(pieces))
                check_key(request)
                await _take_pieces(request.app[CONTEXT], pieces, share, origin, done)
            done.durable_lines = part.end


async def _take_pieces(
    context: Context, pieces: Sequence[Numbered], share: BodyShare, origin: Origin, done: _BulkProgress
) -> None:
    batch, rejected = done.batch, done.batch.rejected
    async with share.decoding():
        await validate(context.events_schema, pieces, origin=origin, into=batch)
        context.telemetry.events.rejected("invalid", batch.rejected - rejected)
        if batch.events:
            receipt = await _append(context, batch.events)
            done.receipt = done.receipt.joined(receipt) if done.receipt else receipt
            done.sent.note(batch.events)
    done.accepted += len(batch.events)
    batch.events = []
    done.durable_lines = pieces[-1][0] + 1


def _stopped(problem: Problem, done: _BulkProgress, origin: Origin) -> Problem:
    """Return the problem with the progress of the request, and with how to go on from there."""
    members = done.view()
    errors = members.pop("errors")
    # Ids made from a key count lines from the start of a request, so the rest would get the ids of the first lines.
    go_on = " under another Idempotency-Key" if origin.idempotency_key else ""
    detail = f"{problem.detail} The lines after the first {done.durable_lines} can be sent alone{go_on}."
    return Problem(
        problem.status,
        problem.title,
        detail,
        problem.errors or errors,
        problem.headers,
        kind=problem.kind,
        members=members,
    )


def _asked(request: web.Request, *, match_in_path: bool) -> tuple[Origin, Acknowledgement]:
    """Return what path, headers and query ask for; raise Problem 400 that names everything at fault in them."""
    faults = faults_of(request)
    match_id = path_match_id(request, faults) if match_in_path else None
    key, *more = request.headers.getall(IDEMPOTENCY_KEY, ("",))
    if more:
        faults.append(Fault(IDEMPOTENCY_KEY, "must be given once"))
    elif IDEMPOTENCY_KEY in request.headers and not 0 < len(key) <= KEY_MAX_CHARS:
        faults.append(Fault(IDEMPOTENCY_KEY, f"must have 1 to {KEY_MAX_CHARS} characters; leave it out otherwise"))
    acknowledgement = requested_acknowledgement(request, faults)
    refuse(faults)
    return Origin(match_id=match_id, idempotency_key=key, sender=request[PRINCIPAL]), acknowledgement
