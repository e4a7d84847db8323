"""`GET /openapi.json`."""

import json
from functools import cache

from aiohttp import hdrs, web

from app.openapi.document import document
from app.web.conditional import REVALIDATED
from app.web.keys import ROOT_PATH

routes = web.RouteTableDef()


@cache
def _text(root: str) -> str:
    return json.dumps(document() | {"servers": [{"url": root or "/"}]}, ensure_ascii=False)


@routes.get("/openapi.json")
async def openapi(request: web.Request) -> web.Response:
    """Answer with the document, as JSON."""
    text = _text(request.app[ROOT_PATH])
    return web.Response(text=text, content_type="application/json", headers={hdrs.CACHE_CONTROL: REVALIDATED})
