"""Parameters of the reads: from text in a path or a query to values, every fault named."""

import base64
import binascii
from collections.abc import Mapping

import attrs
import msgspec
from aiohttp import web

from app.problems import Problem
from app.schemas.faults import Fault, FieldError
from app.schemas.fields import checked_match_id

LIMIT_DEFAULT = 20
LIMIT_MAX = 100

Position = tuple[int, str]
"""(last receipt in ms, match id) of the last match of a page; (µs, id) of the last dead letter of one."""

_position = msgspec.json.Decoder(tuple[int, str])


@attrs.frozen
class Page:
    """Which matches to list: ``active`` None means all; ``after`` None means from the newest."""

    active: bool | None
    limit: int
    after: Position | None


@attrs.frozen
class LettersPage:
    """Which dead letters to list: ``settled`` ones too; ``after`` None means from the newest."""

    settled: bool
    limit: int
    after: Position | None


def path_match_id(request: web.Request) -> str:
    """Return the match id of the path. Problem 400 if it cannot be one."""
    try:
        return checked_match_id(request.match_info["matchId"])
    except FieldError as error:
        raise _bad_request([Fault("matchId", str(error))]) from None


def page_of(query: Mapping[str, str]) -> Page:
    """Return the page that a query asks for. Problem 400 that names every parameter at fault."""
    faults: list[Fault] = []
    page = Page(
        active=_active(query.get("active"), faults),
        limit=_limit(query.get("limit"), faults),
        after=_after(query.get("cursor"), faults),
    )
    if faults:
        raise _bad_request(faults)
    return page


def letters_page_of(query: Mapping[str, str]) -> LettersPage:
    """Return the page of dead letters that a query asks for. Raises as `page_of`."""
    faults: list[Fault] = []
    settled = query.get("all", "false")
    if settled not in ("true", "false"):
        faults.append(Fault("all", "must be true or false, or left out for open ones only"))
    page = LettersPage(settled == "true", _limit(query.get("limit"), faults), _after(query.get("cursor"), faults))
    if faults:
        raise _bad_request(faults)
    return page


def cursor_of(position: Position) -> str:
    """Return the opaque text for a position: clients hand it back as it is."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _active(text: str | None, faults: list[Fault]) -> bool | None:
    if text not in (None, "true", "false"):
        faults.append(Fault("active", "must be true or false, or left out for all matches"))
    return None if text is None else text == "true"


def _limit(text: str | None, faults: list[Fault]) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LIMIT_MAX:
        return int(text)
    faults.append(Fault("limit", f"must be a whole number from 1 to {LIMIT_MAX}"))
    return LIMIT_DEFAULT


def _after(text: str | None, faults: list[Fault]) -> Position | None:
    if text is None:
        return None
    try:
        decoded = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        last_ms, match_id = _position.decode(decoded)
        if not 0 <= last_ms < 1 << 62:
            raise ValueError("out of range")
        return last_ms, checked_match_id(match_id)
    except (ValueError, binascii.Error, msgspec.DecodeError, FieldError):
        faults.append(Fault("cursor", "must be the nextCursor of an earlier page, unchanged"))
        return None


def _bad_request(faults: list[Fault]) -> Problem:
    return Problem(
        400,
        "Invalid parameters",
        "A parameter of the request cannot be used.",
        [fault.view() for fault in faults],
        kind="validation",
    )
