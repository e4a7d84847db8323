"""The login: a page that takes a key, a link that works once, and the way out."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import aiohttp_jinja2
from aiohttp import hdrs, web

from app.access.addresses import limited_as
from app.access.principal import PRINCIPAL, is_operator
from app.access.sessions import LINK_LASTS_S, TRIES, TRIES_S
from app.bodies.reading import read_body
from app.context import CONTEXT
from app.web.answers import json_answer
from app.web.head.content_type import media_type
from app.web.headers import FORM_HEADERS
from app.web.problems import Problem
from app.web.visits import (
    FIELDS_MAX,
    FORM_MAX_BYTES,
    FORM_TYPE,
    LOGIN,
    OPERATE,
    admit,
    check_own_form,
    dismiss,
    is_on_loopback,
    visitor_of,
)

FIRST_PAGE = "/"
_LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]*", re.ASCII)

routes = web.RouteTableDef()


@routes.get(LOGIN)
async def show_login(request: web.Request) -> web.Response:
    """Show the form, or begin the session that a link is for; HEAD uses no link up, because it changes nothing."""
    context = request.app[CONTEXT]
    code = request.query.get("once")
    if code is None or request.method == hdrs.METH_HEAD:
        return form_page(request, "login.html", {"next": _asked_for(request), "fault": _why_again(request)})
    text = context.sessions.follow(code)
    if text is None:
        fault = "This link was used before, or is too old. Make another one: fanfinity operate"
        return _again(request, fault, status=403)
    return _admitted(request, text, OPERATE)


@routes.post(LOGIN)
async def log_in(request: web.Request) -> web.Response:
    """Begin a session by a key, or by the admin token."""
    check_own_form(request)
    context = request.app[CONTEXT]
    address = limited_as(context.proxies.client_of(request))
    form = await read_form(request)
    path = form.get("next", "")
    if not context.sessions.may_try(address):
        fault = f"There were {TRIES} wrong keys within a minute. Wait a minute, then try again."
        response = _again(request, fault, status=429, path=path)
        response.headers[hdrs.RETRY_AFTER] = f"{TRIES_S:.0f}"
        return response
    principal = context.holder(form.get("key", "").strip())
    text = context.sessions.begin(principal) if principal is not None else None
    if principal is None or text is None:
        context.sessions.note_wrong(address)
        words = "This key is not known, or its time is over." if principal is None else "This key can only send."
        fault = f"{words} A key with scope read or admin is needed, or the admin token."
        return _again(request, fault, status=403, path=path)
    return _admitted(request, text, _local(path) or (OPERATE if is_operator(principal) else FIRST_PAGE))


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """End the session of a browser."""
    check_own_form(request)
    sessions = request.app[CONTEXT].sessions
    visitor = visitor_of(request, sessions)
    if visitor is not None:
        sessions.end(visitor.text)
    response = web.Response(status=303, headers={hdrs.LOCATION: LOGIN, hdrs.CACHE_CONTROL: "no-store"})
    dismiss(request, response)
    return response


@routes.post("/api/login-links")
async def make_link(request: web.Request) -> web.Response:
    """Make a path that begins a session once, for whoever has shown a key of an operator."""
    code = request.app[CONTEXT].sessions.link(request[PRINCIPAL])
    return json_answer({"path": f"{LOGIN}?once={code}", "expiresInSeconds": LINK_LASTS_S}, status=201)


async def read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of a form. Raises Problem."""
    try:
        kind, _ = media_type(request.headers.get(hdrs.CONTENT_TYPE, ""))
    except ValueError:
        kind = ""
    if kind != FORM_TYPE:
        raise Problem(415, "Unsupported media type", f"A form is sent as {FORM_TYPE}.")
    with request.app[CONTEXT].room.body() as share:
        body = await read_body(request, limit=FORM_MAX_BYTES, share=share)
    try:
        return dict(parse_qsl(bytes(body).decode("utf-8", "replace"), max_num_fields=FIELDS_MAX))
    except ValueError:
        detail = f"This form has more fields than the {FIELDS_MAX} that one may have."
        raise Problem(413, "Too many fields", detail) from None


def form_page(request: web.Request, template: str, values: Mapping[str, Any], *, status: int = 200) -> web.Response:
    """Return a page with a form, which is kept nowhere and not compressed."""
    secure = is_on_loopback(request) or _is_secure(request)
    response = aiohttp_jinja2.render_template(
        template, request, {"fault": "", **values, "is_safe": secure}, status=status
    )
    response.headers.update(FORM_HEADERS)
    return response


def _is_secure(request: web.Request) -> bool:
    """Say whether a browser has come by TLS, as far as can be known: a wrong answer only adds or leaves a hint."""
    return request.secure or request.headers.get(hdrs.X_FORWARDED_PROTO, "") == "https"


def _asked_for(request: web.Request) -> str:
    """Return the path of the page that led here; "" for none of this service."""
    return _local(request.query.get("next", ""))


def _why_again(request: web.Request) -> str:
    """Return why somebody who is logged in has to log in; "" for who is not, or came by himself."""
    visitor = visitor_of(request, request.app[CONTEXT].sessions) if _asked_for(request) else None
    if visitor is None:
        return ""
    name = visitor.principal.name
    return f"You are logged in as {name}, and that key is not for the page that you asked for. Log in with another one."


def _again(request: web.Request, fault: str, *, status: int, path: str = "") -> web.Response:
    """Return the form with what was wrong; the page that was asked for comes after the next try."""
    return form_page(request, "login.html", {"next": _local(path), "fault": fault}, status=status)


def _admitted(request: web.Request, text: str, path: str) -> web.Response:
    response = web.Response(status=303, headers={hdrs.LOCATION: path, hdrs.CACHE_CONTROL: "no-store"})
    admit(request, response, text)
    return response


def _local(path: str) -> str:
    """Return the path to go on to; "" where it would lead elsewhere."""
    return path if _LOCAL_PATH.fullmatch(path) else ""
