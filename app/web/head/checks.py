"""Headers of requests that are refused whatever the path: such as are no text, and transfer codings not known."""

from collections.abc import Callable

from aiohttp import hdrs, web

from app.schemas.faults import Fault
from app.web.problems import Problem
from app.web.refusals import refuse

IDEMPOTENCY_KEY = "Idempotency-Key"
REQUEST_ID_HEADER = "X-Request-ID"
LAST_EVENT_ID = "Last-Event-ID"

READ = (
    *(IDEMPOTENCY_KEY, REQUEST_ID_HEADER, LAST_EVENT_ID, hdrs.HOST, hdrs.ORIGIN),
    *(hdrs.ACCEPT, hdrs.ACCEPT_CHARSET, hdrs.ACCEPT_ENCODING, hdrs.ACCEPT_LANGUAGE),
    *(hdrs.CONTENT_TYPE, hdrs.CONTENT_ENCODING),
    *(hdrs.IF_MATCH, hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE, hdrs.IF_UNMODIFIED_SINCE, hdrs.IF_RANGE, hdrs.RANGE),
    *(hdrs.ACCESS_CONTROL_REQUEST_METHOD, hdrs.ACCESS_CONTROL_REQUEST_HEADERS),
)
"""Headers that the service reads, or that a library reads for it. Others may hold what they like.

``Authorization`` is none of them, because it is compared as bytes, and one that is no token is a 401. Those that
proxies write are none either, because what is no address ends the list that they hold (`app.access.addresses`).
"""

_NOT_TEXT = "holds bytes that are no text in UTF-8; send ASCII"
_NO_DATE = "holds no date that exists; send one such as Mon, 15 Jan 2024 14:00:00 GMT, or leave it out"
_CHUNKED = "chunked"


def check_headers(request: web.Request) -> None:
    """Raise Problem 400 that names each header of :data:`READ` that is no text, 501 for a transfer coding not known.

    Bytes that are no UTF-8 come as surrogates, with which whatever encodes them again would fail.
    """
    coding = request.headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and coding.lower() != _CHUNKED:
        raise unknown_coding()
    if not all(value.isascii() for _, value in request.raw_headers):
        odd = (name for name in READ if not all(map(_is_text, request.headers.getall(name, ()))))
        refuse([Fault(str(name), _NOT_TEXT) for name in odd])


def check_dates(request: web.Request) -> None:
    """Raise Problem 400 that names each condition whose date aiohttp would fail to read while it sends a file."""
    read: dict[str, Callable[[], object]] = {
        hdrs.IF_MODIFIED_SINCE: lambda: request.if_modified_since,
        hdrs.IF_UNMODIFIED_SINCE: lambda: request.if_unmodified_since,
        hdrs.IF_RANGE: lambda: request.if_range,
    }
    refuse([Fault(str(name), _NO_DATE) for name, date in read.items() if name in request.headers and not _passes(date)])


def unknown_coding() -> Problem:
    """Return the problem of a transfer coding that is not known: what follows cannot be told from another request."""
    return Problem(
        501,
        "Transfer coding not known",
        "The request has a transfer coding that is not known: send the body in chunks, or with its Content-Length.",
        headers={hdrs.CONNECTION: "close"},
    )


def _passes(read: Callable[[], object]) -> bool:
    try:
        read()
    except (ValueError, OverflowError):
        return False
    return True


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
