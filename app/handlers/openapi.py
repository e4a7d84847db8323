"""`GET /openapi.json`: the document that `app/openapi.yaml` holds."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

SOURCE = Path(__file__).parent.parent / "openapi.yaml"

routes = web.RouteTableDef()


@cache
def document() -> dict[str, Any]:
    """Return the document. It is read once; nobody changes it."""
    loaded: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return loaded


@cache
def _text() -> str:
    return json.dumps(document(), ensure_ascii=False)


@routes.get("/openapi.json")
async def openapi(_: web.Request) -> web.Response:
    """Answer with the document, as JSON."""
    return web.Response(text=_text(), content_type="application/json")
