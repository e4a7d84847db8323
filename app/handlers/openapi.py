"""`GET /openapi.json`."""

import json
from functools import cache

from aiohttp import hdrs, web

from app.openapi.document import document
from app.web.conditional import REVALIDATED

routes = web.RouteTableDef()


@cache
def _text() -> str:
    return json.dumps(document(), ensure_ascii=False)


@routes.get("/openapi.json")
async def openapi(_: web.Request) -> web.Response:
    """Answer with the document, as JSON."""
    return web.Response(text=_text(), content_type="application/json", headers={hdrs.CACHE_CONTROL: REVALIDATED})
