"""Visits of browsers: the cookie of a session, and forms that are the service's own."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

from aiohttp import hdrs, web

from app.access.sessions import LASTS_S, Sessions, Visitor
from app.web.keys import ROOT_PATH
from app.web.problems import Problem

LOGIN: Final = "/login"
COOKIE: Final = "fanfinity-session"
SECURE_COOKIE: Final = f"__Host-{COOKIE}"
"""Name of the cookie where it is for TLS only: browsers take one of this form from nobody else."""
SECURE_COOKIE_BELOW: Final = f"__Secure-{COOKIE}"
"""The same under a path of a proxy, because one of the form above is for all paths of its host."""

OPERATE: Final = "/operate"
"""The operator's page. Below it is what its forms do, which check that they are its own."""

FORM_TYPE: Final = "application/x-www-form-urlencoded"
FORM_MAX_BYTES: Final = 16 << 10
FIELDS_MAX: Final = 32

MASKED: Final = "masked"
"""Field of a form with its masked token."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_on_loopback(request: web.Request) -> bool:
    """Say whether a browser asks for the machine itself, where a cookie needs no TLS."""
    parts = _parts(f"//{request.headers.get(hdrs.HOST, '')}")
    return parts is not None and parts.hostname in _LOOPBACK


def visitor_of(request: web.Request, sessions: Sessions) -> Visitor | None:
    """Return who has the session in the cookie of a request."""
    text = request.cookies.get(_cookie_name(request))
    return sessions.visitor(text) if text else None


def admit(request: web.Request, response: web.StreamResponse, text: str) -> None:
    """Give a browser the cookie of a session."""
    response.set_cookie(
        _cookie_name(request),
        text,
        max_age=LASTS_S,
        path=request.app[ROOT_PATH] or "/",
        secure=not is_on_loopback(request),
        httponly=True,
        samesite="Strict",
    )


def dismiss(request: web.Request, response: web.StreamResponse) -> None:
    """Take the cookie of a session away."""
    path = request.app[ROOT_PATH] or "/"
    response.del_cookie(_cookie_name(request), path=path, secure=not is_on_loopback(request))


def check_own_form(request: web.Request) -> None:
    """Raise Problem 403 unless a form was sent by a page of this service itself."""
    origins = request.headers.getall(hdrs.ORIGIN, ())
    host = request.headers.get(hdrs.HOST)
    origin = _parts(origins[0]) if len(origins) == 1 else None
    if not host or origin is None or origin.netloc != host:
        detail = (
            "This form was not sent by a page of this service. Open the page anew, and send it from there;"
            " behind a proxy, that has to pass the header Host on as it came."
        )
        raise Problem(403, "Foreign form", detail)


def _parts(url: str) -> SplitResult | None:
    """Return the parts of a URL that a client has sent; None where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _cookie_name(request: web.Request) -> str:
    if is_on_loopback(request):
        return COOKIE
    return SECURE_COOKIE_BELOW if request.app[ROOT_PATH] else SECURE_COOKIE
