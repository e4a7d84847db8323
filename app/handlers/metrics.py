"""`GET /metrics`."""

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from app.context import CONTEXT

routes = web.RouteTableDef()


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """Answer in the Prometheus text format, or in OpenMetrics where the client prefers it."""
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    body = encode(request.app[CONTEXT].telemetry.registry)
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
