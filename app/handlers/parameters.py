"""Parameters of the reads: from text in a path or a query to values, every fault named."""

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

import attrs
import msgspec
from aiohttp import web

from app.engagement.curves import AXES, BUCKETS_MS, CurveWanted
from app.schemas.faults import Fault, FieldError
from app.schemas.fields import checked_match_id, milliseconds_of
from app.web.cursors import Scope, cursor_of, position_of
from app.web.keys import FAULTS
from app.web.refusals import refuse

LIMIT_DEFAULT = 20
LIMIT_MAX = 100

ListPosition = tuple[int, str]
"""(last receipt in ms, match id) of the last match of a page; (µs, id) of the last dead letter of one."""

_FIRST_MS = milliseconds_of("0001-01-01T00:00:00.000Z")
_LAST_MS = milliseconds_of("9999-12-31T23:59:59.999Z")

_position = msgspec.json.Decoder(tuple[int, str])


@attrs.frozen
class MatchesPage:
    """A page of matches. ``active``: None means all. ``after``: None means from the newest."""

    active: bool | None
    limit: int
    after: ListPosition | None


@attrs.frozen
class LettersPage:
    """A page of dead letters. ``settled``: list these too. ``after``: None means from the newest."""

    settled: bool
    limit: int
    after: ListPosition | None


@attrs.frozen
class TimeRange:
    """A range of the events' ``timestamp``: ``from_ms`` is included, ``to_ms`` is not; None where there is no bound."""

    from_ms: int | None = None
    to_ms: int | None = None


def faults_of(request: web.Request) -> list[Fault]:
    """Return the faults of a request's parameters found so far. The caller adds to them, and then calls `refuse`."""
    faults: list[Fault] = request.get(FAULTS, [])
    return faults


def path_match_id(request: web.Request, faults: list[Fault]) -> str:
    """Return the match id of the path; what is at fault is added to ``faults``."""
    try:
        if "%" in (raw := request.rel_url.raw_path):
            unquote_to_bytes(raw).decode()
        return checked_match_id(request.match_info["matchId"])
    except UnicodeDecodeError:
        faults.append(Fault("matchId", "must be UTF-8, percent-encoded"))
    except FieldError as error:
        faults.append(Fault("matchId", str(error)))
    return ""


def page_of(request: web.Request) -> MatchesPage:
    """Return the page that a query asks for; raise Problem 400 that names every parameter at fault."""
    faults, query = faults_of(request), request.query
    active = _active(query.get("active"), faults)
    limit = limit_of(query.get("limit"), faults)
    page = MatchesPage(active, limit, _after(query.get("cursor"), ("matches", active), faults))
    refuse(faults)
    return page


def letters_page_of(request: web.Request) -> LettersPage:
    """Return the page of dead letters that a query asks for. Raises as `page_of`."""
    faults, query = faults_of(request), request.query
    if query.get("all", "false") not in ("true", "false"):
        faults.append(Fault("all", "must be true or false, or left out for open ones only"))
    settled = query.get("all") == "true"
    limit = limit_of(query.get("limit"), faults)
    page = LettersPage(settled, limit, _after(query.get("cursor"), ("deadletters", settled), faults))
    refuse(faults)
    return page


def time_range_of(query: Mapping[str, str], faults: list[Fault]) -> TimeRange:
    """Return the range that ``from`` and ``to`` name, both optional; what is at fault is added to ``faults``."""
    range_ = TimeRange(_moment("from", query.get("from"), faults), _moment("to", query.get("to"), faults))
    if range_.from_ms is not None and range_.to_ms is not None and range_.from_ms >= range_.to_ms:
        faults.append(Fault("to", "must be later than from: the range begins at from and ends before to"))
    return range_


def curve_of(query: Mapping[str, str], faults: list[Fault]) -> CurveWanted | None:
    """Return the curve that ``bucket``, ``from``, ``to`` and ``axis`` ask for, None where none of them is given.

    What is at fault is added to ``faults``.
    """
    if not query:
        return None
    bucket = query.get("bucket", "1m")
    if bucket not in BUCKETS_MS:
        faults.append(Fault("bucket", f"must be one of {', '.join(BUCKETS_MS)}"))
    axis = query.get("axis", "utc")
    if axis not in AXES:
        faults.append(Fault("axis", f"must be one of {', '.join(AXES)}"))
    range_ = time_range_of(query, faults)
    if faults or query.keys().isdisjoint(("bucket", "from", "to", "axis")):
        return None
    return CurveWanted(bucket, range_.from_ms, range_.to_ms, axis)


def matches_cursor(position: ListPosition, *, active: bool | None) -> str:
    """Return the cursor of the page of matches behind a position."""
    return cursor_of(position, scope=("matches", active))


def letters_cursor(position: ListPosition, *, settled: bool) -> str:
    """Return the cursor of the page of dead letters behind a position."""
    return cursor_of(position, scope=("deadletters", settled))


def _active(text: str | None, faults: list[Fault]) -> bool | None:
    if text not in (None, "true", "false"):
        faults.append(Fault("active", "must be true or false, or left out for all matches"))
    return None if text is None else text == "true"


def limit_of(text: str | None, faults: list[Fault], *, default: int = LIMIT_DEFAULT, largest: int = LIMIT_MAX) -> int:
    """Return how many entries a page may hold, and add what is at fault to ``faults``."""
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= largest:
        return int(text)
    faults.append(Fault("limit", f"must be a whole number from 1 to {largest}"))
    return default


def seconds_of(text: str, *, largest: float) -> float | None:
    """Return a number of seconds above 0, at most ``largest``; None for any other text."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= largest else None


def _after(text: str | None, scope: Scope, faults: list[Fault]) -> ListPosition | None:
    if text is None:
        return None
    try:
        at, name = position_of(text, scope=scope, decoder=_position)
        if not 0 <= at < 1 << 62:
            raise FieldError("leads nowhere; leave it out to begin with the first page")
        return at, checked_match_id(name)
    except FieldError as error:
        faults.append(Fault("cursor", str(error)))
        return None


def _moment(name: str, text: str | None, faults: list[Fault]) -> int | None:
    if text is None:
        return None
    try:
        moment_ms = milliseconds_of(text)
        if not _FIRST_MS <= moment_ms <= _LAST_MS:
            raise FieldError("lies outside the years 1 to 9999 in UTC")
        return moment_ms
    except FieldError as error:
        hint = "; the + of an offset is written %2B in a URL" if " " in text else ""
        faults.append(Fault(name, f"{error}{hint}"))
        return None
