"""The HTTP server below the application: what it answers to requests that never reach a handler."""

import logging
from http import HTTPStatus
from typing import Any

import uuid_utils
from aiohttp import hdrs, web

from app.middlewares import REQUEST_ID_HEADER, SERVER
from app.problems import Problem, problem_response

_log = logging.getLogger(__name__)


class ServiceRunner(web.AppRunner):
    """Runs the application so that malformed HTTP is answered by a problem too, and bodies stay compressed."""

    __slots__ = ()

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(app, auto_decompress=False, **options)

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return _Server(plain.request_handler, request_factory=plain.request_factory, **self._kwargs)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """One connection. aiohttp itself answers malformed HTTP in plain text, quotes it, and logs a traceback."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        _log.info("malformed HTTP from %s: %s", request.remote, type(exc).__name__)
        reason = HTTPStatus(status).phrase
        problem = Problem(
            status,
            "Malformed HTTP",
            f"The request is not HTTP as it should be ({reason}): mend its first line, its headers or its chunks.",
            headers={REQUEST_ID_HEADER: str(uuid_utils.uuid7()), hdrs.SERVER: SERVER},
            kind="malformed-http",
        )
        response = problem_response(request, problem)
        response.force_close()
        return response
