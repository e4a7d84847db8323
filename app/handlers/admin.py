"""Access for operators only: a request must carry the token of :mod:`app.web.admin_token`."""

from aiohttp import hdrs, web

from app.context import CONTEXT
from app.web.admin_token import FILE_NAME
from app.web.problems import Problem


def require_admin(request: web.Request) -> None:
    """Let a request pass that carries the admin token; raise Problem 401 for every other, wherever it comes from.

    A page of another site cannot send it: browsers add no such header by themselves, and CORS allows none.
    """
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if not request.app[CONTEXT].admin.admits(given):
        raise Problem(
            401,
            "Unauthorized",
            f"{'This token is not the one of this run of the service.' if given else 'This is for operators.'}"
            f" Send 'Authorization: Bearer TOKEN'; TOKEN is the first line of the file {FILE_NAME} in the service's"
            " data directory. The fanfinity commands on that machine read it by themselves."
            " If there is no such file, the log of the service says why.",
            headers={hdrs.WWW_AUTHENTICATE: "Bearer"},
        )
