"""The address that a request comes from: the peer's, or what trusted proxies say of the client that they serve.

A proxy appends the address of whoever it was asked by to `X-Forwarded-For`, or to `Forwarded` (RFC 7239), so the list
is read from its right end, and what stands left of the first address that is no trusted proxy may be made up.

aiohttp-remotes is not used: it takes one length of chain for all requests and refuses others, and knows one header
line only. The grammar of `Forwarded` is read by aiohttp.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from typing import Final

import attrs
from aiohttp import hdrs, web

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

HOPS_MAX: Final = 32
"""The most proxies in a row that are followed."""

LENGTH_MAX: Final = 4096
"""The most characters of forwarding headers that are read, because clients choose what stands at their left end."""

V6_PREFIX_BITS: Final = 64
"""What one subscriber has at least (RFC 6177), so a limit by single addresses of IPv6 would be none."""

NO_ADDRESS: Final = "unknown"
"""Name of a peer that has no address, as that of a Unix socket."""

_PORT = r"(?::[0-9]{1,5})?"
_SIX = r"[0-9a-f:.]+)(?:%[\w.-]+)?"
_ADDRESS = re.compile(rf"(?P<four>[0-9.]+){_PORT}|(?P<bare>{_SIX}|\[(?P<six>{_SIX}\]{_PORT}", re.ASCII | re.IGNORECASE)


@attrs.frozen
class TrustedProxies:
    """The proxies whose word about a client's address is taken.

    Attributes:
        networks: where they are; an address is a network of its own.
    """

    networks: tuple[Network, ...] = ()

    def client_of(self, request: web.BaseRequest) -> Address | None:
        """Return the address of the client; None where the peer has none.

        It is the peer's, unless the peer is a trusted proxy: then the right-most address of its list that is no trusted
        proxy, or the left-most where all are. What is no address ends the list: the proxy that wrote it is then the
        client. Where both headers are there, they have to name the same client, because many proxies write one and
        pass the other on as the client sent it; else the peer is the client.
        """
        peer = address_of(request.remote or "")
        if peer is None or not self.trusts(peer) or not is_forwarded(request):
            return peer
        said = {self._behind(peer, names) for names in _lists(request)}
        return said.pop() if len(said) == 1 else peer

    def trusts(self, address: Address) -> bool:
        """Say whether an address is that of a trusted proxy."""
        return any(address in network for network in self.networks)

    def is_passed_on_by_stranger(self, request: web.BaseRequest) -> bool:
        """Say whether a request says that it was forwarded, and comes from no trusted proxy."""
        if not is_forwarded(request):
            return False
        peer = address_of(request.remote or "")
        return peer is None or not self.trusts(peer)

    def _behind(self, peer: Address, names: Iterator[str]) -> Address:
        last = peer
        for name in islice(names, HOPS_MAX):
            found = address_of(name)
            if found is None:
                return last
            last = found
            if not self.trusts(found):
                return last
        return last


def is_forwarded(request: web.BaseRequest) -> bool:
    """Say whether a request has a header of a proxy that tells for whom it asks."""
    return hdrs.X_FORWARDED_FOR in request.headers or hdrs.FORWARDED in request.headers


def address_of(text: str) -> Address | None:
    """Return the address in a text such as ``192.0.2.1:4711`` or ``[2001:db8::1]``; None where there is none.

    One of IPv4 within IPv6 (``::ffff:192.0.2.1``) is one of IPv4, and an interface (``%eth0``) is left out.
    """
    written = _ADDRESS.fullmatch(text)
    if written is None:
        return None
    try:
        if four := written["four"]:
            return IPv4Address(four)
        six = IPv6Address(written["six"] or written["bare"])
    except ValueError:
        return None
    return six.ipv4_mapped or six


def limited_as(address: Address | None) -> str:
    """Return the name under which requests of an address are limited together: in IPv6 all of its /64 have one."""
    if address is None:
        return NO_ADDRESS
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, V6_PREFIX_BITS), strict=False))


def _lists(request: web.BaseRequest) -> Iterator[Iterator[str]]:
    """Yield for each of the headers that are there what it names, from the right; nothing that is empty counts."""
    if lines := request.headers.getall(hdrs.X_FORWARDED_FOR, ()):
        text = ",".join(lines)
        named = text.split(",") if len(text) <= LENGTH_MAX else ["(too long)"]
        yield (name for name in map(str.strip, reversed(named)) if name)
    if lines := request.headers.getall(hdrs.FORWARDED, ()):
        is_short = sum(map(len, lines)) <= LENGTH_MAX
        elements = request.forwarded if is_short else ()
        yield (element.get("for", "(none)") for element in reversed(elements or ({},)))
