"""Answers in JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import hdrs, web

from app.web.conditional import NOT_STORED


def json_answer(view: Mapping[str, Any] | bytes, *, status: int = 200, caching: str = NOT_STORED) -> web.Response:
    """Return an answer to send.

    Args:
        view: what to encode; bytes are JSON already.
        status: of the answer.
        caching: its ``Cache-Control``; with :data:`~app.web.conditional.REVALIDATED` it gets an ETag.
    """
    body = view if isinstance(view, bytes) else msgspec.json.encode(view)
    headers = {hdrs.CACHE_CONTROL: caching}
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)
