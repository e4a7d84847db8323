"""Authorization: decided before the handler of every request runs."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from aiohttp import hdrs, web

from app.access.needs import SCOPES, Need, need_of
from app.access.principal import ANYBODY, PRINCIPAL, Principal, Scope
from app.access.sessions import VISITOR, Visitor
from app.context import CONTEXT, Context
from app.web.admin_token import FILE_NAME
from app.web.cors import is_page_allowed
from app.web.problems import Problem
from app.web.visits import LOGIN, OPERATE, visitor_of

KEY_PARAMETER: Final = "key"
PAGE: Final = Principal("origin", frozenset({Scope.REACT}))
"""The principal of a page of an allowed origin."""

NEEDED: "web.AppKey[dict[web.AbstractRoute, Need]]" = web.AppKey("needed", dict)
"""What each route needs."""

OF_SEVERAL: Final = "/api/stream"
"""The path whose matches are named in its query; of the highlights of all it sends those that a key is for."""

_SCHEME = "bearer"
_API = "/api/"


def setup(app: web.Application) -> None:
    """Look up what each route needs. Call it when the application has all of them.

    Raises LookupError where a route is in no table.
    """
    app[NEEDED] = {
        route: need_of(route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    }


def authorize(request: web.Request) -> None:
    """Set the principal of a request.

    A key that is not needed is not looked at.

    Raises:
        Problem: 401 where a proof is needed that did not come, 403 where it is not enough.
        HTTPSeeOther: the same for the page of a browser: it leads to the login.
    """
    context = request.app[CONTEXT]
    route = request.match_info.route
    need = Need.NOTHING if route.resource is None else request.app[NEEDED].get(route, Need.ADMIN)
    if need is Need.NOTHING or (need is Need.PUBLIC and context.config.public_read):
        request[PRINCIPAL] = ANYBODY
        return
    request[PRINCIPAL] = principal = _asking(request, context, need)
    if not principal.may(*SCOPES[need]):
        _lead_to_login(request)
        names = " or ".join(SCOPES[need])
        raise _forbidden(f"This needs a key with scope {names}; the one that came, {principal.name}, has another.")
    if principal.prefixes and need not in (Need.SEND, Need.RECEIPT):
        _check_match(request, principal)


def _check_match(request: web.Request, principal: Principal) -> None:
    in_path, resource = request.match_info.get("matchId"), request.match_info.route.resource
    of_several = resource is not None and resource.canonical == OF_SEVERAL
    named = request.query.getall("match", []) if in_path is None else [in_path]
    if in_path is None and not (of_several and (named or "highlights" in request.query)):
        raise _forbidden("This is about all matches, and the key that came is for some of them only.")
    if not all(map(principal.reaches, named)):
        raise _forbidden("This match is not among those that the key is for.")


def _asking(request: web.Request, context: Context, need: Need) -> Principal:
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    is_open = not context.keyring.required and need is not Need.ADMIN
    if given and not is_open:
        return _bearer(given, context, need)
    if need is Need.SEND and (principal := _page_or_beacon(request, context, is_open=is_open)):
        return principal
    if is_open:
        return ANYBODY
    if visitor := _visitor(request, context):
        request[VISITOR] = visitor
        return visitor.principal
    _lead_to_login(request)
    raise _unauthorized("This is for operators." if need is Need.ADMIN else "This needs a key.", need)


def _bearer(given: Sequence[str], context: Context, need: Need) -> Principal:
    scheme, _, text = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != _SCHEME:
        raise _unauthorized("There must be one Authorization header, with the scheme Bearer.", need)
    return _holder(context, text.strip(" "), need)


def _page_or_beacon(request: web.Request, context: Context, *, is_open: bool) -> Principal | None:
    """Return who sends without a header: a key in the query, or a page of an allowed origin, open service or not."""
    if not is_open and KEY_PARAMETER in request.query:
        principal = _holder(context, request.query[KEY_PARAMETER], Need.SEND)
        if principal.scopes != {Scope.REACT}:
            raise _forbidden("Only a key whose one scope is react may stand in a URL; send this one in a header.")
        return principal
    return PAGE if is_page_allowed(request) else None


def _visitor(request: web.Request, context: Context) -> Visitor | None:
    """Return who has a session. Changes need a form that checks that it is its own, so nothing else takes them."""
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) and not request.path.startswith(f"{OPERATE}/"):
        return None
    return visitor_of(request, context.sessions)


def _lead_to_login(request: web.Request) -> None:
    """Raise HTTPSeeOther where a browser asks for a page."""
    path = request.path
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) or path.startswith(_API):
        return
    if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
        asked_for = request.rel_url
        if KEY_PARAMETER in asked_for.query:  # nothing that is a key is told on
            asked_for = asked_for.without_query_params(KEY_PARAMETER)
        raise web.HTTPSeeOther(f"{LOGIN}?next={quote(asked_for.raw_path_qs, safe='/')}", text="")


def _holder(context: Context, text: str, need: Need) -> Principal:
    """Return who a key or token belongs to."""
    holder = context.holder(text)
    if holder is None:
        raise _unauthorized("This key is not known, or its time is over.", need)
    return holder


def _forbidden(detail: str) -> Problem:
    return Problem(403, "Forbidden", detail)


def _unauthorized(reason: str, need: Need) -> Problem:
    detail = f"{reason} Send 'Authorization: Bearer KEY'"
    if need is Need.ADMIN:
        detail += (
            f" with a key of scope admin, or with the first line of the file {FILE_NAME} in the service's data"
            " directory. The fanfinity commands on that machine read it by themselves."
            " If there is no such file, the log of the service says why."
        )
    else:
        detail += f" with a key of scope {' or '.join(SCOPES[need])}; whoever runs the service makes one."
    return Problem(401, "Unauthorized", detail, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})
