"""How the server itself turns clients away: for want of room, for what is not HTTP, and those who take nothing."""

import asyncio
import socket
import struct
from http import HTTPStatus

import msgspec
import uuid_utils
from aiohttp import hdrs, web

from app.server.middlewares import SERVER
from app.web.head.checks import REQUEST_ID_HEADER, unknown_coding
from app.web.problems import CONTENT_TYPE, Problem, problem_response

FULL_RETRY_AFTER_S = 5

_LINGER_NOT = struct.pack("ii", 1, 0)


_TOO_LONG = "The path with its query, or a header, is longer than the 8190 bytes that are read: shorten it."
_MALFORMED = "The request is not valid HTTP"
_MEND = "mend its first line, its headers or its chunks."
_ODD_CODING = "`Transfer-Encoding`"
"""What the parser's reason holds where a coding is not known, or chunked is not the last one."""


def malformed(request: web.BaseRequest, status: int, *, is_too_long: bool, reason: str) -> web.Response:
    """Return the answer to what is not HTTP; ``reason`` is the parser's, and may quote the client."""
    problem = Problem(
        status,
        "Malformed HTTP",
        _TOO_LONG if is_too_long else f"{_MALFORMED} ({HTTPStatus(status).phrase}): {_MEND}",
        headers={hdrs.CONNECTION: "close"},
        kind="malformed-http",
    )
    if _ODD_CODING in reason:
        problem = unknown_coding()
    response = problem_response(request, problem)
    response.headers[hdrs.SERVER] = SERVER
    response.headers[REQUEST_ID_HEADER] = str(uuid_utils.uuid7())
    return response


def cut_off(transport: asyncio.Transport) -> None:
    """End a connection at once, and drop what still waits in the kernel, because nobody takes it."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()


def refusal() -> bytes:
    """Return the whole response to a client for whose connection there is no room; no request is read before it."""
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
