"""Authorization: decided before the handler of every request runs."""

from aiohttp import hdrs, web

from app.access.needs import SCOPES, Need, need_of
from app.access.principal import ANYBODY, OPERATOR, PRINCIPAL, Principal, Scope
from app.context import CONTEXT, Context
from app.web.admin_token import FILE_NAME
from app.web.problems import Problem

KEY_PARAMETER = "key"

NEEDED: "web.AppKey[dict[web.AbstractRoute, Need]]" = web.AppKey("needed", dict)
"""What each route needs."""

_SCHEME = "bearer"


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
    """Set who asks; raise Problem 401 where a proof is needed that did not come, 403 where it is not enough.

    A key that is not needed is not looked at.
    """
    context = request.app[CONTEXT]
    route = request.match_info.route
    need = Need.NOTHING if route.resource is None else request.app[NEEDED].get(route, Need.ADMIN)
    if need is Need.NOTHING or (need is Need.PUBLIC and context.config.public_read):
        request[PRINCIPAL] = ANYBODY
        return
    request[PRINCIPAL] = principal = _asking(request, context, need)
    if not principal.may(*SCOPES[need]):
        names = " or ".join(SCOPES[need])
        raise _forbidden(f"This needs a key with scope {names}; the one that came, {principal.name}, has another.")
    if principal.prefixes and need not in (Need.SEND, Need.RECEIPT):
        _check_match(request, principal)


def _check_match(request: web.Request, principal: Principal) -> None:
    match_id = request.match_info.get("matchId")
    if match_id is None:
        raise _forbidden("This is about all matches, and the key that came is for some of them only.")
    if not principal.reaches(match_id):
        raise _forbidden("This match is not among those that the key is for.")


def _asking(request: web.Request, context: Context, need: Need) -> Principal:
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if not context.keyring.required and need is not Need.ADMIN:
        return ANYBODY
    if given:
        scheme, _, text = given[0].partition(" ")
        if len(given) > 1 or scheme.lower() != _SCHEME:
            raise _unauthorized("There must be one Authorization header, with the scheme Bearer.", need)
        return _holder(context, text.strip(" "), need)
    if need is Need.SEND and KEY_PARAMETER in request.query:
        principal = _holder(context, request.query[KEY_PARAMETER], need)
        if principal.scopes != {Scope.REACT}:
            raise _forbidden("Only a key whose one scope is react may stand in a URL; send this one in a header.")
        return principal
    raise _unauthorized("This is for operators." if need is Need.ADMIN else "This needs a key.", need)


def _holder(context: Context, text: str, need: Need) -> Principal:
    """Return who a key or token belongs to."""
    if context.admin.is_token(text):
        return OPERATOR
    key = context.keyring.find(text)
    if key is None:
        raise _unauthorized("This key is not known.", need)
    if not context.keyring.in_force(key):
        raise _unauthorized("The time of this key is over.", need)
    return key.principal


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
