"""The type of a body."""

from typing import Literal

from aiohttp import hdrs, web

from app.web.head.content_type import media_type
from app.web.problems import Problem

Format = Literal["json", "ndjson"]

JSON_TYPES = frozenset({"application/json"})
PLAIN_TEXT = "text/plain"
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class TinyChunks(web.RequestPayloadError):
    """A body comes in chunks that are so small that to parse them is most of the work."""


_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})


def body_format(request: web.BaseRequest, *, default: Format = "json", is_page_allowed: bool = False) -> Format:
    """Return the format that the body's content type names; ``default`` where there is none.

    Raises Problem (415) for any other type, and for a charset that is not UTF-8. A page has to name the type, because
    without one, or with ``text/plain``, a browser sends a body for the page of any site, and does not ask by a
    preflight. Where ``is_page_allowed`` says that this page may send, it need not, and plain text is JSON: a browser
    sends so what it is to deliver after its page is gone (``navigator.sendBeacon``).
    """
    if hdrs.CONTENT_TYPE not in request.headers:
        if hdrs.ORIGIN in request.headers and not is_page_allowed:
            raise _unsupported("A page that sends events must name the Content-Type, such as application/json.")
        return default
    try:
        type_, parameters = media_type(request.headers[hdrs.CONTENT_TYPE])
    except ValueError as error:
        raise _unsupported(f"The Content-Type is {error}; send one such as application/json.") from None
    charset = parameters.get("charset", "utf-8")
    if charset.lower() not in _CHARSETS:
        raise _unsupported(f"The charset {charset[:40]!a} is not accepted; send UTF-8.")
    if type_ in JSON_TYPES or (is_page_allowed and type_ == PLAIN_TEXT):
        return "json"
    if type_ in NDJSON_TYPES:
        return "ndjson"
    raise unsupported_type(JSON_TYPES | NDJSON_TYPES)


def unsupported_type(accepted: frozenset[str]) -> Problem:
    """Return the problem of a content type that is none of those accepted."""
    return _unsupported(f"This content type is not accepted; send one of {', '.join(sorted(accepted))}.")


def _unsupported(detail: str) -> Problem:
    return Problem(415, "Unsupported media type", detail)
