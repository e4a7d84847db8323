"""`GET /docs`: the OpenAPI document as a page that the server makes, so that it is complete without scripts."""

from functools import cache

import aiohttp_jinja2
import jinja2
from aiohttp import web

from app.openapi.document import document
from app.openapi.reference import reference
from app.web.headers import PAGE_HEADERS

routes = web.RouteTableDef()


@routes.get("/docs")
async def docs(request: web.Request) -> web.Response:
    """Show the document."""
    html = _page(aiohttp_jinja2.get_env(request.app))
    return web.Response(text=html, content_type="text/html", headers=request.app[PAGE_HEADERS])


@cache
def _page(environment: jinja2.Environment) -> str:
    return environment.get_template("docs.html").render(reference=reference(document()))
