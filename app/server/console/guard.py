"""Checks that keep all pages of a browser but its own out of the aiomonitor console.

Pages of any site can have a browser on this machine send requests to loopback. The telnet port therefore reads nothing
from a client that does not speak telnet, and the web page changes nothing and answers only requests under its own name.

Import it late, because it loads ``prompt_toolkit``, whose telnet server aiomonitor uses.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prompt_toolkit.contrib.telnet.protocol import IAC
from prompt_toolkit.contrib.telnet.server import TelnetConnection

from app.access.sessions import LASTS_S
from app.server.console.logins import WRONG_LOGIN, Logins, TooManyTries
from app.server.console.refusals import Refusals
from app.setting_kinds import Address
from app.web.visits import FORM_MAX_BYTES, FORM_TYPE, LOGIN

# Paths of the page's lists, which it asks for by POST because their filters are a form.
READ_BY_POST = frozenset({"/api/task-count", "/api/live-tasks", "/api/terminated-tasks"})


COOKIE = "fanfinity-console"

_FORM = """<!doctype html>
<html lang="en"><title>Log in</title>
<p role="alert">FAULT</p>
<form method="post" action="/login">
<label>The first line of admin-token, or a key of scope admin
<input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Log in</button>
</form></html>
"""

no_telnet = Refusals("the client of the console does not speak telnet")
foreign_request = Refusals("the request to the web page came by another name or from another page")


class CheckedConnection(TelnetConnection):
    """A telnet connection that is closed unless the first byte from its client is IAC (RFC 854).

    The server opens with negotiation, and a telnet client answers that before anything else. A browser cannot: its
    first byte is a letter of an HTTP method, or belongs to a TLS or STUN message. Whatever follows a wrong first byte
    is thrown away, telnet commands included.
    """

    _speaks_telnet = False

    def feed(self, data: bytes) -> None:
        """Parse what the client sent, or close."""
        if not self._speaks_telnet and not data.startswith(IAC):
            no_telnet.add()
            self.close()
            return
        self._speaks_telnet = True
        super().feed(data)

    def close(self) -> None:
        """Close, and end a wait for the terminal's type, which would last for ever."""
        super().close()
        if not self._ready.is_set():
            self.interact = _leave
            self._ready.set()


async def _leave(_connection: TelnetConnection) -> None:
    pass


def guarded(
    init: Callable[[Any], Awaitable[web.Application]], address: Address, logins: Logins
) -> Callable[[Any], Awaitable[Any]]:
    """Return aiomonitor's ``init``, which makes the application of its web page, with checks before its handlers.

    Args:
        init: takes the monitor.
        address: where the page listens.
        logins: tells who has logged in; nobody else sees anything but the login.
    """

    async def init_guarded(monitor: Any) -> web.Application:
        application = await init(monitor)
        application.middlewares.append(_guard(address, logins))
        return application

    return init_guarded


def _guard(address: Address, logins: Logins) -> Middleware:
    own = frozenset(f"{name}:{address.port}" for name in (address.host, "127.0.0.1", "localhost", "[::1]"))

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _comes_from_own_page(request, own):
            foreign_request.add()
            raise web.HTTPForbidden(text=f"Open this page as http://{address}/\n")
        if request.path == LOGIN:
            return await _login(request, logins)
        if not logins.has_session(request.cookies.get(COOKIE, "")):
            raise web.HTTPSeeOther(LOGIN)
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) and not _only_reads(request):
            raise web.HTTPMethodNotAllowed(request.method, (hdrs.METH_GET, hdrs.METH_HEAD), text="Only for reading\n")
        return await handler(request)

    return guard


def _comes_from_own_page(request: web.Request, own: frozenset[str]) -> bool:
    # A foreign Host is a name that somebody made to lead here (DNS rebinding).
    hosts = [host.lower() for host in request.headers.getall(hdrs.HOST, ())]
    origins = request.headers.getall(hdrs.ORIGIN, ())
    return len(hosts) == 1 and hosts[0] in own and all(origin == f"http://{hosts[0]}" for origin in origins)


def _only_reads(request: web.Request) -> bool:
    return request.method == hdrs.METH_POST and request.path in READ_BY_POST


async def _login(request: web.Request, logins: Logins) -> web.Response:
    """Show the form, or begin a session by the token that it has sent."""
    if request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        return _form("")
    if request.method != hdrs.METH_POST:
        raise web.HTTPMethodNotAllowed(request.method, (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST))
    token = await _token_in(request)
    try:
        session = logins.begin_session(token)
    except TooManyTries:
        return _form("Too many logins were wrong; try again in a minute.", status=429)
    if session is None:
        return _form(f"{WRONG_LOGIN.capitalize()}.", status=403)
    response = web.Response(status=303, headers={hdrs.LOCATION: "/"})
    response.set_cookie(COOKIE, session, httponly=True, samesite="Strict", max_age=LASTS_S)
    return response


async def _token_in(request: web.Request) -> str:
    """Return what the form has sent; "" where it names no token. Whatever comes is no fault of ours."""
    if request.content_type != FORM_TYPE:
        raise web.HTTPUnsupportedMediaType(text=f"A form is sent as {FORM_TYPE}.\n")
    body = await request.read()
    if len(body) > FORM_MAX_BYTES:
        raise web.HTTPRequestEntityTooLarge(FORM_MAX_BYTES, len(body))
    return dict(parse_qsl(body.decode("utf-8", "replace"))).get("token", "").strip()


def _form(fault: str, *, status: int = 200) -> web.Response:
    text = _FORM.replace("FAULT", fault)
    headers = {"Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'"}
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)
