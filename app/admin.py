"""Who may do what only operators may: for now, whoever asks from this very machine."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from app.problems import Problem

FORWARDING = frozenset(
    {
        *("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "client-ip"),
        *("true-client-ip", "cf-connecting-ip", "fastly-client-ip", "x-original-forwarded-for"),
    }
)
"""Headers, with all that begin with ``X-Forwarded-``, by which a proxy tells that somebody else is asking."""


def require_admin(request: web.Request) -> None:
    """Let a request pass that comes from loopback, through no proxy, and from no page of another site.

    Raises Problem 403 that says which of these it is.
    """
    if not is_loopback(request.remote or ""):
        raise _forbidden("It came from another machine than the one the service runs on.")
    for name in request.headers:
        if name.lower() in FORWARDING or name.lower().startswith("x-forwarded-"):
            raise _forbidden(f"It carries the header {name.title()!a}: somebody else may be asking through a proxy.")
    # A browser on this machine sends what any page asks it to send, also to a name that now leads to loopback.
    if not _names_loopback(request.host):
        raise _forbidden("Its Host is no name of loopback: ask 127.0.0.1 or localhost.")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin.partition("://")[2] != request.host:
        raise _forbidden("It was sent by a page of another site.")


def is_loopback(host: str) -> bool:
    """Say whether an address is one of loopback, IPv4 as IPv6 included; False for what is no address."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _names_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def _forbidden(reason: str) -> Problem:
    return Problem(
        403,
        "Forbidden",
        "This is for operators: without API keys only requests from the machine of the service itself may do it,"
        f" without headers of a proxy. {reason}",
    )
