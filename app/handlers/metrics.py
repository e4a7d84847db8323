"""`GET /metrics`."""

import asyncio

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from app.context import CONTEXT

VERSIONS = frozenset({"0.0.1", "0.0.4", "1.0.0"})
"""Versions of the two formats that scrapers ask for."""

ACCEPT_MAX_CHARS = 1_024

routes = web.RouteTableDef()


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """Answer in the Prometheus text format, or in OpenMetrics where the client prefers it.

    A thread writes the text, because that takes four times as long as to take the values, and would hold up all others.
    """
    encode, content_type = choose_encoder(_understood(request.headers.get(hdrs.ACCEPT, "")))
    body = await asyncio.to_thread(encode, request.app[CONTEXT].telemetry.taken())
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


def _understood(accept: str) -> str:
    """Leave out what asks for another version, because the library would compare any text, and send it back.

    A text longer than any scraper's is left out as a whole, because to read one of 8 KB takes 70 ms.
    """
    if len(accept) > ACCEPT_MAX_CHARS:
        return ""
    return ",".join(item for item in accept.split(",") if _versions(item) <= VERSIONS)


def _versions(item: str) -> set[str]:
    parameters = (parameter.strip().partition("=") for parameter in item.split(";"))
    return {value for name, equals, value in parameters if equals and name == "version"}
