"""Pages of other sites may read the matches, and nothing else (Fetch standard, CORS protocol).

Reading is public and needs no cookie, so any origin is allowed and no answer differs by origin. A browser refuses
everything else to the pages of other sites, because no answer here allows it: a preflight names the methods of the
path, but not the ``Content-Type`` without which nothing is taken in (`app.web.body`).
"""

from functools import cache

from aiohttp import hdrs, web

REQUEST_HEADERS = "If-None-Match, Last-Event-ID, X-Request-ID"
EXPOSED_HEADERS = "ETag, Retry-After, X-Request-ID"
PREFLIGHT_AGE_S = 86_400

READABLE = "/api/matches"
DOCUMENT = "/openapi.json"


def setup(app: web.Application) -> None:
    """Let the routes for reading answer to OPTIONS. Call it when the application has all of them."""
    for resource in list(app.router.resources()):
        if not isinstance(resource, web.Resource) or not _is_readable(resource.canonical):
            continue
        if any(route.method == hdrs.METH_GET for route in resource):
            resource.add_route(hdrs.METH_OPTIONS, _options)


async def _options(request: web.Request) -> web.Response:
    """Answer a preflight, or any other OPTIONS, with the methods of the path."""
    methods = _methods(request)
    headers = {hdrs.ALLOW: ", ".join(methods)}
    if hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
        headers |= {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(method for method in methods if method != hdrs.METH_OPTIONS),
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: REQUEST_HEADERS,
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


def allow_reading(request: web.Request, response: web.StreamResponse) -> None:
    """Allow any page to read an answer to a read."""
    resource = request.match_info.route.resource
    if resource is None or not _is_readable(resource.canonical):
        return
    if request.method in (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS


@cache
def _is_readable(path: str) -> bool:
    return path in (READABLE, DOCUMENT) or path.startswith(f"{READABLE}/")
