"""Conditional GETs (RFC 9110, section 13), and which answers may be stored.

Answers that say ``Cache-Control: no-cache`` may be stored and have to be checked before each use. They get an ``ETag``,
and a request whose ``If-None-Match`` names it is answered by 304, without a body. The tags are weak, because one stands
for the compressed and the plain form, and an answer may hold parts that do not count for it, see `essence`. An answer
that says nothing about being stored, and every error, is not to be stored.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from aiohttp import hdrs, web

from app.web.keys import TAG

REVALIDATED = "no-cache"
NOT_STORED = "no-store"
_KEPT = (hdrs.CACHE_CONTROL, hdrs.ETAG, hdrs.VARY)
_TAG_BYTES = 12


def tag_of(counted: bytes) -> str:
    """Return the tag of an answer, without its quotes; ``counted`` is the part of the answer that counts."""
    return hashlib.blake2b(counted, digest_size=_TAG_BYTES).hexdigest()


def essence(view: Mapping[str, Any], *, without: Collection[str]) -> bytes:
    """Return the JSON of an answer without the parts that change with every answer."""
    return msgspec.json.encode({name: value for name, value in view.items() if name not in without})


def validated(request: web.Request, response: web.Response) -> web.Response:
    """Put an ETag on an answer that may be stored; return a 304 in its place where the client has it."""
    body = response.body
    if not isinstance(body, bytes) or not _is_stored(request, response):
        return response
    tag = request.get(TAG) or tag_of(body)
    response.headers[hdrs.ETAG] = f'W/"{tag}"'
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    if not any(known.value in (tag, "*") for known in request.if_none_match or ()):
        return response
    kept = {name: response.headers[name] for name in _KEPT}
    return web.Response(status=304, headers=kept)


def forbid_storing(response: web.StreamResponse) -> None:
    """Set ``no-store`` on errors, and on answers that say nothing about being stored."""
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
