"""Conditional GETs (RFC 9110, section 13) and what may be stored of an answer.

Answers that say ``Cache-Control: no-cache`` may be stored and have to be checked before each use: these get an
``ETag``, and a request whose ``If-None-Match`` names it is answered by 304, without a body. The tags are weak: the same
one stands for the compressed and the plain form, and an answer may hold parts that do not count for it, see `essence`.
Whatever says nothing about being stored, and every error, is not to be stored.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from aiohttp import ETag, hdrs, web
from aiohttp.typedefs import Handler

from app.keys import ESSENCE

REVALIDATED = "no-cache"
NOT_STORED = "no-store"
_KEPT = (hdrs.CACHE_CONTROL, hdrs.ETAG, hdrs.VARY)
_TAG_BYTES = 12


def essence(view: Mapping[str, Any], *, without: Collection[str]) -> bytes:
    """Return what an answer says but for the parts that change with every answer; for ``request[ESSENCE]``."""
    return msgspec.json.encode({name: value for name, value in view.items() if name not in without})


@web.middleware
async def validate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put an ETag on an answer that may be stored; answer 304 where the client has it."""
    response = await handler(request)
    if not isinstance(response, web.Response) or not _is_stored(request, response):
        return response
    body = response.body
    if not isinstance(body, bytes):
        return response
    counted = request.get(ESSENCE) or body
    tag = ETag(hashlib.blake2b(counted, digest_size=_TAG_BYTES).hexdigest(), is_weak=True)
    response.etag = tag
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    known = request.if_none_match or ()
    if not any(other.value in (tag.value, "*") for other in known):
        return response
    kept = {name: response.headers[name] for name in _KEPT}
    return web.Response(status=304, headers=kept)


async def forbid_storing(_: web.Request, response: web.StreamResponse) -> None:
    """Say ``no-store`` where nothing is said, and on errors. For ``on_response_prepare``."""
    if response.status >= 400:
        response.headers[hdrs.CACHE_CONTROL] = NOT_STORED
    else:
        response.headers.setdefault(hdrs.CACHE_CONTROL, NOT_STORED)


def _is_stored(request: web.Request, response: web.Response) -> bool:
    return (
        request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
        and response.status == 200
        and response.headers.get(hdrs.CACHE_CONTROL) == REVALIDATED
    )
