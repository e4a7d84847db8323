"""Keys of a request and of the application. A leaf: importing it pulls in nothing of the service."""

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from app.schemas.faults import Fault


REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
"""The id of this request; on every response as ``X-Request-ID`` and in each log line about it."""

MATCH_ID: web.RequestKey[str] = web.RequestKey("match_id", str)
"""The match a request is about, set by its handler; the response time is counted for that match."""

FAULTS: "web.RequestKey[list[Fault]]" = web.RequestKey("faults", list)
"""Faults of the query as such; those of its values are added where they are read."""

STREAMED: web.RequestKey[bool] = web.RequestKey("streamed", bool)
"""Set where the answer is a stream, which has no end while its viewer stays."""

TAG: web.RequestKey[str] = web.RequestKey("tag", str)
"""The ETag of an answer without its quotes, set by a handler whose answer has parts that do not count for it."""

ROOT_PATH: web.AppKey[str] = web.AppKey("root_path", str)
"""Path under which browsers and programs see the service, without a slash at its end; empty: the root of its host."""
