"""The middleware of every request: its id, problems in place of exceptions, the form of its answer, measurement."""

import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
import uuid_utils
from aiohttp import hdrs, web

from app.context import CONTEXT
from app.observability.logs import note_request
from app.openapi.queries import check_query
from app.server.authorization import authorize
from app.web.compression import compress
from app.web.conditional import validated
from app.web.head.checks import REQUEST_ID_HEADER, check_headers
from app.web.keys import MATCH_ID, REQUEST_ID
from app.web.problems import Problem, problem_response
from app.web.refusals import refused, too_many_reads, unavailable
from shards import StoreError, TooManyReads, Unavailable

SERVER = "fanfinity"
"""The ``Server`` header, in place of the names and versions of what the service is built with."""

UNMATCHED = "unmatched"
"""The path in metrics where no route matches, because clients must not choose labels."""

STORE_RETRY_AFTER_S = 2
EVENT_STREAM = "text/event-stream"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.stdlib.get_logger(__name__)
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@web.middleware
async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Do what is done for every request, before and after its handler.

    It is one middleware, because its steps as one each, coroutine within coroutine, took a tenth of a cached answer's
    time.
    """
    began = time.perf_counter()
    requests = request.app[CONTEXT].telemetry.requests
    requests.in_flight += 1
    try:
        _identify(request)
        try:
            check_headers(request)
            authorize(request)
            check_query(request)
            response = await handler(request)
        except Exception as error:
            if not _may_be_answered(request, error):
                raise
            response = _answer_to(request, error)
        if isinstance(response, web.Response):
            response = validated(request, response)
            await compress(request, response)
    finally:
        requests.in_flight -= 1
    _measure(request, response, began)
    return response


def send_identity(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's id and the name of the server on a response."""
    response.headers[hdrs.SERVER] = SERVER
    if (request_id := request.get(REQUEST_ID)) is not None:
        response.headers[REQUEST_ID_HEADER] = request_id


def _identify(request: web.Request) -> None:
    """Give the request its id, the client's own if that is sane, for the response and for the log."""
    given = request.headers.get(REQUEST_ID_HEADER)
    request_id = given if given and _SANE_ID.fullmatch(given) else str(uuid_utils.uuid7())
    request[REQUEST_ID] = request_id
    note_request(request_id)


def _measure(request: web.Request, response: web.StreamResponse, began: float) -> None:
    """Count the request and the time it took, for its match too where the handler has named one.

    A stream is counted without a time, because it lasts as long as its viewer stays.
    """
    streamed = not isinstance(response, web.Response) and response.content_type == EVENT_STREAM
    seconds = None if streamed else time.perf_counter() - began
    context = request.app[CONTEXT]
    context.telemetry.requests.answered(_method(request), path_template(request), response.status, seconds)
    if seconds is not None:
        context.response_times.record(request.get(MATCH_ID), seconds)


def _may_be_answered(request: web.Request, error: Exception) -> bool:
    """Say whether an exception is to be answered by a problem.

    It is not if it is an answer itself, if the client has left, or if a response has begun.
    """
    answer = isinstance(error, web.HTTPException) and error.status < HTTPStatus.BAD_REQUEST
    left = isinstance(error, ConnectionError) and request.transport is None
    return not (answer or left or request.writer.output_size > 0)


def _answer_to(request: web.Request, error: Exception) -> web.Response:
    """Turn an exception into a problem; one that was not foreseen is logged, and nothing of it is shown."""
    problem, error_type = _explanation(request, error)
    request.app[CONTEXT].telemetry.requests.failed(_method(request), path_template(request), error_type)
    return problem_response(request, problem)


def path_template(request: web.Request) -> str:
    """Return the path of the route, with placeholders for the parts that a client can choose."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


def _explanation(request: web.Request, error: Exception) -> tuple[Problem, str]:
    """Return the problem to send, and the name of the kind of error for the metrics."""
    if isinstance(error, Problem):
        return error, error.kind
    if isinstance(error, Unavailable):
        return refused(error), "unavailable"
    if isinstance(error, TooManyReads):
        return too_many_reads(), "too_many_reads"
    if isinstance(error, StoreError):
        _tell_store_failed(request, error)
        return _store_away(), "store"
    if isinstance(error, web.HTTPException):
        return _from_http(error), f"http_{error.status}"
    _log.error("request failed", method=request.method, route=path_template(request), exc_info=error)
    return _unforeseen(), type(error).__name__


def _tell_store_failed(request: web.Request, error: StoreError) -> None:
    """Log that a read failed, a few times a minute at most, because every read fails while ClickHouse is away."""
    method, route, code, message = request.method, path_template(request), error.code, error.message
    request.app[CONTEXT].store_failures.note(
        "store failed",
        lambda again: _log.warning(
            "store failed", method=method, route=route, code=code, error=message, repeated=again
        ),
    )


def _store_away() -> Problem:
    return unavailable(
        "The database cannot answer now, and no earlier answer is at hand. Ask again after Retry-After.",
        retry_after_s=STORE_RETRY_AFTER_S,
    )


def _from_http(error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"This path answers to {allowed}."
        return Problem(405, "Method not allowed", detail, headers={hdrs.ALLOW: allowed})
    if error.status == 404:
        return Problem(404, "Not found", "There is nothing at this path; /openapi.json lists what there is.")
    headers = {str(name): error.headers[name] for name in (hdrs.RETRY_AFTER, hdrs.ALLOW) if name in error.headers}
    return Problem(error.status, error.reason, f"The request was refused: {error.reason}.", headers=headers)


def _unforeseen() -> Problem:
    return Problem(
        500,
        "Internal error",
        "The service failed in a way that was not foreseen; its log has the reason under this X-Request-ID."
        " Sending the request again is safe with the same ids or Idempotency-Key.",
    )


def _method(request: web.Request) -> str:
    return request.method if request.method in hdrs.METH_ALL else "OTHER"
