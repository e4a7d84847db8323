"""What a client is told of HTTP that the parser cannot read."""

from http import HTTPStatus

from aiohttp import hdrs
from aiohttp.http_exceptions import LineTooLong

from app.web.head.checks import unknown_coding
from app.web.problems import Problem

_TOO_LONG = "The path with its query, or a header, is longer than the 8190 bytes that are read: shorten it."
_MALFORMED = "The request is not valid HTTP"
_MEND = "mend its first line, its headers or its chunks."
_ODD_CODING = "`Transfer-Encoding`"
"""What the parser's reason holds where a coding is not known, or chunked is not the last one."""


def malformed_problem(status: int, error: BaseException | None, reason: str) -> Problem:
    """Return the problem of a request that cannot be read; ``reason`` is the parser's, and is not quoted."""
    if _ODD_CODING in reason:
        return unknown_coding()
    return Problem(
        status,
        "Malformed HTTP",
        _TOO_LONG if isinstance(error, LineTooLong) else f"{_MALFORMED} ({HTTPStatus(status).phrase}): {_MEND}",
        headers={hdrs.CONNECTION: "close"},
        kind="malformed-http",
    )
