"""Errors as RFC 9457 problem details. A handler raises `Problem`; the middleware sends what it says."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import hdrs, web

CONTENT_TYPE = "application/problem+json"

_KINDS = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    429: "rate-limited",
    500: "internal",
    501: "not-implemented",
    503: "unavailable",
}


class Problem(Exception):
    """A request that cannot be done, told to the client.

    Attributes:
        status: the HTTP status, 400 to 599.
        title: the kind of problem in a few words, the same for all of its kind.
        detail: what happened here and what to do about it; it tells nothing of the inside, because the client sees it.
        errors: an object with ``field`` and ``message`` for each field at fault; for many events, one object for each
            event at fault.
        headers: further headers of the response.
        kind: last part of the ``type`` URI; by default it follows from the status.
        members: further members of the problem.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        *,
        kind: str = "",
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.kind = kind or _KINDS.get(status, "error")
        self.members = dict(members or {})

    def body(self, instance: str) -> dict[str, Any]:
        """Return the JSON object that is sent; ``instance`` is the path of the request."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.errors:
            body["errors"] = self.errors
        return body | self.members


def problem_response(request: web.BaseRequest, problem: Problem) -> web.Response:
    """Return the response that tells a problem."""
    response = web.Response(
        # Two slashes in front would name another host (RFC 3986, section 4.2).
        body=msgspec.json.encode(problem.body("/" + request.rel_url.raw_path.lstrip("/"))),
        status=problem.status,
        headers=problem.headers,
        content_type=CONTENT_TYPE,
    )
    if problem.headers.get(hdrs.CONNECTION) == "close":
        response.force_close()
    return response
