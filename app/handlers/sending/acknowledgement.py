"""The acknowledgement that a client waits for: by the log (always), or by the destination table (``?ack=stored``)."""

import asyncio
from typing import Any

import attrs
import msgspec
from aiohttp import web

from app.access.principal import PRINCIPAL
from app.context import CONTEXT
from app.handlers.parameters import seconds_of
from app.handlers.sending.known import SentEvents
from app.schemas.faults import Fault
from shards import Receipt

TIMEOUT_S = 5.0
TIMEOUT_MAX_S = 60.0


@attrs.frozen
class Acknowledgement:
    """``stored``: wait at most ``timeout_s`` seconds until ClickHouse is shown to hold the events."""

    stored: bool = False
    timeout_s: float = TIMEOUT_S


_DURABLE = Acknowledgement()


def requested_acknowledgement(request: web.Request, faults: list[Fault]) -> Acknowledgement:
    """Return the acknowledgement that the query asks for, and add what is at fault to ``faults``."""
    if not request.query_string:
        return _DURABLE
    ack, timeout = request.query.get("ack"), request.query.get("timeout")
    timeout_s = TIMEOUT_S if timeout is None else seconds_of(timeout, largest=TIMEOUT_MAX_S)
    if ack not in (None, "durable", "stored"):
        faults.append(Fault("ack", "must be durable or stored, or left out for durable"))
    if timeout_s is None:
        faults.append(Fault("timeout", f"must be a number of seconds above 0, at most {TIMEOUT_MAX_S:g}"))
        return _DURABLE
    return Acknowledgement(ack == "stored", timeout_s)


async def acknowledge(
    request: web.Request, receipt: Receipt, acknowledgement: Acknowledgement, view: dict[str, Any], sent: SentEvents
) -> web.Response:
    """Return 202, because the events are durable; 200 where the client asked for stored ones and they were in time.

    ``receipt`` is added to the view. With a 200 its ``status``, where it has one, becomes ``stored``, and
    ``alreadyKnown`` is added if there is time left to ask for it.
    """
    context, status = request.app[CONTEXT], 202
    if acknowledgement.stored:
        deadline_s = asyncio.get_running_loop().time() + acknowledgement.timeout_s
        await context.shards.wait_stored(receipt, timeout_s=acknowledgement.timeout_s)
        outcome = context.shards.outcome(receipt)
        if outcome is not None and outcome.status == "stored":
            status, is_one = 200, "status" in view
            view |= {"status": "stored"} if is_one else {}
            view |= await sent.view(context, deadline_s=deadline_s, is_one=is_one)
    text = context.seals.sealed(str(receipt), request[PRINCIPAL])
    body = msgspec.json.encode(view | {"receipt": text})
    return web.Response(body=body, status=status, content_type="application/json")
