"""What operators do, kept before it is done."""

from aiohttp import web

from app.access.principal import PRINCIPAL
from app.context import CONTEXT
from app.web.keys import REQUEST_ID
from app.web.refusals import unavailable

RETRY_AFTER_S = 5


async def keep_act(request: web.Request, act: str, subject: str) -> str:
    """Keep who does what, durably; return the name of who does it.

    Raises Problem 503 where it cannot be kept: then it must not be done.
    """
    context, who = request.app[CONTEXT], request[PRINCIPAL].name
    address = context.proxies.client_of(request)
    try:
        await context.acts.keep(
            who=who, address=str(address or ""), request_id=request[REQUEST_ID], act=act, subject=subject
        )
    except OSError as error:
        raise unavailable(
            "What operators do is kept, and cannot be now, so nothing was done; the log of the service says why.",
            retry_after_s=RETRY_AFTER_S,
        ) from error
    return who
