"""A response of server-sent events whose end every client sees."""

from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp_sse import EventSourceResponse

from app.web.keys import STREAMED


def event_stream(request: web.Request, **options: Any) -> EventSourceResponse:
    """Return a stream that is not prepared yet; ``options`` are those of ``EventSourceResponse``.

    Raises ConnectionResetError if the viewer left already.
    """
    if request.transport is None:
        raise ConnectionResetError("the viewer left before the stream began")
    request[STREAMED] = True
    response = EventSourceResponse(sep="\n", **options)
    if request.version < HttpVersion11:
        # Without chunks only the end of the connection tells the end of the stream.
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()
    return response
