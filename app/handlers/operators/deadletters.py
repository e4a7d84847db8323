"""`/api/deadletters`: what ClickHouse refused, for operators to read, repair and requeue, or discard."""

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from app.bodies.reading import read_body
from app.context import CONTEXT, Context
from app.handlers.operators.admin import keep_act
from app.handlers.parameters import letters_cursor, letters_page_of
from app.schemas.batch import BOM
from app.schemas.events import Origin, decode_fields
from app.schemas.faults import Fault, FieldError, InvalidEventError
from app.schemas.fields import is_absent, parse_event_id, text_of
from app.schemas.outgoing import as_sent
from app.times import iso_ms
from app.web.answers import json_answer
from app.web.body import JSON_TYPES, body_format, unsupported_type
from app.web.problems import Problem
from app.web.refusals import unavailable
from shards import Event, FiledLetter, LetterSettled, UnknownLetter, decode_row

_BLANK = b" \t\r\n"
_UNREADABLE_RETRY_AFTER_S = 5
_PATH = "/api/deadletters/{id:[^/]+}"

T = TypeVar("T")

routes = web.RouteTableDef()


@routes.get("/api/deadletters")
async def list_letters(request: web.Request) -> web.Response:
    """List dead letters, newest first."""
    page = letters_page_of(request)
    # One more than wanted tells whether there is a next page.
    found = await _reading(
        request.app[CONTEXT].shards.dead_letters(limit=page.limit + 1, before=page.after, settled=page.settled)
    )
    shown = found[: page.limit]
    cursor = letters_cursor(shown[-1].place, settled=page.settled) if len(found) > page.limit else None
    return json_answer({"deadLetters": [_view(letter) for letter in shown], "nextCursor": cursor})


@routes.get(_PATH)
async def read_letter(request: web.Request) -> web.Response:
    """Answer with one dead letter."""
    return json_answer(_view(await _letter(request)))


@routes.post(f"{_PATH}/retry")
async def retry_letter(request: web.Request) -> web.Response:
    """Append a dead letter's event again: as it was, or as the body has it."""
    context = request.app[CONTEXT]
    context.shards.check_room()
    filed = await _letter(request)
    if request.body_exists and body_format(request) != "json":
        raise unsupported_type(JSON_TYPES)
    with context.room.body() as share:
        body = await read_body(request, limit=context.config.max_body_bytes, share=share)
    body = body.removeprefix(BOM).strip(_BLANK)
    event = None
    if body:
        event = _repaired(context, body, decode_row(filed.letter.row.encode()))
    await keep_act(request, "retry", f"dead letter {filed.id}")
    return json_answer(_view(await _settling(context.shards.requeue(filed.id, event))), status=202)


@routes.delete(_PATH)
async def discard_letter(request: web.Request) -> web.Response:
    """Give a dead letter up."""
    filed = await _letter(request)
    await keep_act(request, "discard", f"dead letter {filed.id}")
    return json_answer(_view(await _settling(request.app[CONTEXT].shards.discard(filed.id))))


async def _letter(request: web.Request) -> FiledLetter:
    return await _reading(request.app[CONTEXT].shards.dead_letter(request.match_info["id"]))


async def _reading(work: Awaitable[T]) -> T:
    try:
        return await work
    except UnknownLetter:
        detail = "There is no dead letter with this id; /api/deadletters?all=true lists all of them."
        raise Problem(404, "Unknown dead letter", detail) from None
    except (OSError, msgspec.DecodeError) as error:
        raise unavailable(
            "The file of dead letters cannot be read now; the log of the service says why.",
            retry_after_s=_UNREADABLE_RETRY_AFTER_S,
        ) from error


async def _settling(work: Awaitable[FiledLetter]) -> FiledLetter:
    try:
        return await _reading(work)
    except LetterSettled as error:
        detail = f"This dead letter is not open any more ({error.reason}). Read it to see what was done, and when."
        raise Problem(409, "Already settled", detail, kind="already-settled") from None


def _repaired(context: Context, body: bytes, first: Event) -> Event:
    """Return the event in the body, checked by the rules for every event. It stays the event it was.

    ``matchId`` and ``eventId`` may be left out; a ``timestamp`` left out is the time of the first receipt.
    """
    faults: list[Fault] = []
    try:
        fields = decode_fields(body)
        faults += _key_faults(fields, first)
        received = iso_ms(first.received_ns // 1_000_000)
        for name, value in (("matchId", first.match_id), ("eventId", first.event_id), ("timestamp", received)):
            if is_absent(fields.get(name)):
                fields[name] = msgspec.Raw(msgspec.json.encode(value))
        event = context.events_schema.parse(msgspec.json.encode(fields), origin=Origin())
    except InvalidEventError as error:
        raise _invalid([*faults, *error.faults]) from None
    if faults:
        raise _invalid(faults)
    return event


def _key_faults(fields: Mapping[str, msgspec.Raw], first: Event) -> Iterator[Fault]:
    """Yield a fault for each part of the key that differs; one that cannot be read is named where it is parsed."""
    message = "differs from the dead letter's, and would make it another event; leave it out, or make both agree"
    if text_of(fields.get("matchId")) not in (None, first.match_id):
        yield Fault("$.matchId", message)
    try:
        event_id = parse_event_id(fields["eventId"]) if "eventId" in fields else ""
    except FieldError:
        return
    if event_id not in ("", first.event_id):
        yield Fault("$.eventId", message)


def _invalid(faults: Sequence[Fault]) -> Problem:
    errors = [fault.view() for fault in faults]
    return Problem(400, "Invalid events", "The repaired event breaks the rules below.", errors, kind="validation")


def _view(filed: FiledLetter) -> dict[str, Any]:
    letter, settlement = filed.letter, filed.settlement
    event = decode_row(letter.row.encode())
    return {
        "id": filed.id,
        "status": settlement.action if settlement else "open",
        "at": iso_ms(letter.at_us // 1000),
        "shard": letter.shard,
        "seq": letter.seq,
        "code": letter.code,
        "error": letter.error,
        "event": as_sent(event),
        "receivedAt": iso_ms(event.received_ns // 1_000_000),
        "settledAt": iso_ms(round(settlement.at.timestamp() * 1000)) if settlement else None,
        "requeuedAs": as_sent(decode_row(settlement.row.encode())) if settlement and settlement.row else None,
    }
