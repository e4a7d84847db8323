"""The answer to a client for whose connection there is no room: it is sent before any request is read."""

import msgspec
import uuid_utils
from aiohttp import hdrs

from app.server.middlewares import SERVER
from app.web.head.checks import REQUEST_ID_HEADER
from app.web.problems import CONTENT_TYPE, Problem

FULL_RETRY_AFTER_S = 5


def refusal() -> bytes:
    """Return the whole response."""
    detail = "The service has no room for another connection. Connect again after Retry-After."
    problem = Problem(503, "Service unavailable", detail)
    body = msgspec.json.encode(problem.body("/"))
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        f"{hdrs.CONTENT_TYPE}: {CONTENT_TYPE}",
        f"{hdrs.CONTENT_LENGTH}: {len(body)}",
        f"{hdrs.RETRY_AFTER}: {FULL_RETRY_AFTER_S}",
        f"{hdrs.SERVER}: {SERVER}",
        f"{REQUEST_ID_HEADER}: {uuid_utils.uuid7()}",
        f"{hdrs.CONNECTION}: close",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body
