"""Liveness, readiness and startup, for balancers and orchestrators."""

from aiohttp import web

from app.context import CONTEXT
from app.observability.readiness import HEALTHY
from app.times import iso_now
from app.web.answers import json_answer

routes = web.RouteTableDef()


@routes.get("/health")
@routes.get("/health/live")
async def live(_: web.Request) -> web.Response:
    """Answer with 200 while the process lives, whatever else is wrong."""
    return json_answer({"status": HEALTHY, "timestamp": iso_now()})


@routes.get("/ready")
@routes.get("/health/ready")
async def ready(request: web.Request) -> web.Response:
    """Answer with 200 while events can be made durable, with ClickHouse or without."""
    found = request.app[CONTEXT].readiness()
    body = {"status": found.status, "timestamp": iso_now(), "checks": found.checks}
    return json_answer(body, status=503 if found.status == "not ready" else 200)


@routes.get("/health/startup")
async def startup(request: web.Request) -> web.Response:
    """Answer with 503 until the write-ahead log is recovered."""
    recovered = request.app[CONTEXT].shards.snapshot().recovered
    body = {"status": "started" if recovered else "recovering", "timestamp": iso_now()}
    return json_answer(body, status=200 if recovered else 503)
