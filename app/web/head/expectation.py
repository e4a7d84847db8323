"""``Expect: 100-continue`` (RFC 9110, section 10.1.1): a client that sends its body once the service wants it.

aiohttp would answer 100 before a handler has looked at the request, so the body would be sent for nothing where its
headers are refused. Here it is answered when the body is read.
"""

from aiohttp import HttpVersion11, web

EXPECTED = "100-continue"

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

AWAITED: web.RequestKey[bool] = web.RequestKey("continue_awaited", bool)
"""Set while the client may wait for a 100 before it sends the body."""


def note_expectation(request: web.BaseRequest, expectation: str) -> None:
    """Remember what the client said in ``Expect``; any other is ignored, as the RFC allows."""
    if expectation.strip().lower() == EXPECTED and request.version >= HttpVersion11 and request.body_exists:
        request[AWAITED] = True


def is_body_withheld(request: web.BaseRequest) -> bool:
    """Say whether the client still waits for a 100, which it may do for ever."""
    return AWAITED in request and not request.content.is_eof()


async def ask_for_body(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body. Call it before the first read; a second call does nothing."""
    if request.pop(AWAITED, False) and not request.content.total_bytes:
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0  # it is no part of the answer
        await request.writer.drain()
