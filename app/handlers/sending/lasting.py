"""What has to hold still while a long request sends: its client is there, and its key is in force."""

from aiohttp import hdrs, web

from app.context import may_go_on
from app.web.problems import Problem


def check_presence(request: web.Request) -> None:
    """Raise ConnectionError where the client has left: nothing of its request is durable yet, so the work may end."""
    if request.transport is None:
        raise ConnectionResetError("the client has left")


def check_key(request: web.Request) -> None:
    """Raise Problem 401 where the key that a request came with is not in force any more."""
    if not may_go_on(request):
        detail = "The key of this request was revoked, or its time is over, while the request went on."
        raise Problem(401, "Unauthorized", detail, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})
