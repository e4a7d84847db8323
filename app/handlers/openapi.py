"""`GET /openapi.json`: the document that `app/openapi.yaml` holds."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from aiohttp import hdrs, web

SOURCE = Path(__file__).parent.parent / "openapi.yaml"

routes = web.RouteTableDef()


@cache
def document() -> dict[str, Any]:
    """Return the document. It is read once; nobody changes it."""
    loaded: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return loaded


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference within the document points to, or the node itself."""
    while "$ref" in node:
        target: Any = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


@cache
def _text() -> str:
    return json.dumps(document(), ensure_ascii=False)


@routes.get("/openapi.json")
async def openapi(_: web.Request) -> web.Response:
    """Answer with the document, as JSON."""
    return web.Response(text=_text(), content_type="application/json", headers={hdrs.CACHE_CONTROL: "no-cache"})
