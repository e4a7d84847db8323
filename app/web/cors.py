"""What pages of other sites may do (Fetch standard, CORS protocol): read matches; from listed origins send events, too.

Reading is public and needs no cookie, so any origin is allowed and no answer to a read differs by origin. Sending is
for the pages of the origins that the operator lists: their preflights are answered, and replies name their origin. A
browser refuses everything else to the pages of other sites, because no answer here allows it: a preflight names the
methods of the path, but not the ``Content-Type`` without which nothing is taken in (`app.web.body`).

Credentials are allowed to no page, because no cookie is for what it may do.
"""

from functools import cache
from typing import Final

from aiohttp import hdrs, web

READING_HEADERS: Final = ("If-None-Match", "Last-Event-ID", "X-Request-ID")
SENDING_HEADERS: Final = ("Authorization", "Content-Type", "Idempotency-Key")
"""Headers of requests that a page may set; without the second ones it cannot send."""

EXPOSED_HEADERS: Final = "ETag, Retry-After, X-Request-ID"
EXPOSED_TO_SENDERS: Final = "RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
PREFLIGHT_AGE_S: Final = 86_400

READABLE: Final = "/api/matches"
DOCUMENT: Final = "/openapi.json"
SENDING: Final = frozenset({"/api/events", "/api/events/bulk", "/api/matches/{matchId}/events"})

ORIGINS: "web.AppKey[frozenset[str]]" = web.AppKey("origins", frozenset)
"""Origins whose pages may send, as browsers write them."""


def setup(app: web.Application, origins: frozenset[str]) -> None:
    """Let the routes for reading answer to OPTIONS, and those for sending where any page may send.

    Call it when the application has all of its routes.
    """
    app[ORIGINS] = origins
    for resource in list(app.router.resources()):
        if not isinstance(resource, web.Resource):
            continue
        methods = {route.method for route in resource}
        is_alone = resource.canonical in SENDING and not _is_readable(resource.canonical)
        if (_is_readable(resource.canonical) and hdrs.METH_GET in methods) or (is_alone and origins):
            resource.add_route(hdrs.METH_OPTIONS, _options)


def is_page_allowed(request: web.Request) -> bool:
    """Say whether a request comes from a page that may send: of one of :data:`ORIGINS`. ``null`` is never one."""
    given = request.headers.getall(hdrs.ORIGIN, ())
    return len(given) == 1 and given[0] in request.app[ORIGINS]


def allow(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the browser which pages may read this answer, whatever its status."""
    resource = request.match_info.route.resource
    if resource is None:
        return
    path, headers = resource.canonical, response.headers
    if _is_sending(request, path) and is_page_allowed(request):
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_TO_SENDERS
        headers[hdrs.VARY] = ", ".join(filter(None, (headers.get(hdrs.VARY), hdrs.ORIGIN)))
    elif _is_readable(path) and request.method in (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS):
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS


async def _options(request: web.Request) -> web.Response:
    """Answer a preflight, or any other OPTIONS, with the methods of the path."""
    methods = _methods(request)
    headers = {hdrs.ALLOW: ", ".join(methods)}
    resource = request.match_info.route.resource
    if hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers and resource is not None:
        may_send = _is_sending(request, resource.canonical) and is_page_allowed(request)
        if may_send or _is_readable(resource.canonical):
            names = (*READING_HEADERS, *SENDING_HEADERS) if may_send else READING_HEADERS
            allowed = (method for method in methods if method != hdrs.METH_OPTIONS)
            headers |= {
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(allowed),
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(names),
                hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_AGE_S),
            }
    return web.Response(status=204, headers=headers)


def _methods(request: web.Request) -> list[str]:
    """Return the methods of the request's path: those of GET and POST may be two resources."""
    this = request.match_info.route.resource
    same_path = (
        other for other in request.app.router.resources() if this is not None and other.canonical == this.canonical
    )
    return sorted({route.method for other in same_path for route in other})


def _is_sending(request: web.Request, path: str) -> bool:
    return path in SENDING and request.method in (hdrs.METH_POST, hdrs.METH_OPTIONS)


@cache
def _is_readable(path: str) -> bool:
    return path in (READABLE, DOCUMENT) or path.startswith(f"{READABLE}/")
