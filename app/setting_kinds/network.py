"""Kinds of settings that name parts of the network: origins of pages, and proxies."""

import ipaddress
import re
from urllib.parse import urlsplit

from app.access.addresses import Network
from app.setting_kinds import Kind

_ORIGIN = re.compile(r"https?://(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_LIKE_A_SECRET = re.compile(r"@|\?|\bff_|(?<!http)(?<!https)://", re.IGNORECASE)
_ROOT_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+){1,8}")
EVERYBODY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


class Origins(Kind[frozenset[str]]):
    """Origins of pages, as a browser writes them in ``Origin`` (RFC 6454): ``null`` is none, because anybody has it."""

    allowed = (
        "empty, or origins, comma separated, each as https://host or https://host:8443: http or https, no path and no "
        "slash behind it, no *, never null, a name in other letters as xn--"
    )

    def parse(self, text: str) -> frozenset[str]:
        """Return the origins in lower case, without the port that the scheme has anyhow."""
        return frozenset(_origin(part.lower()) for part in _parts(text))

    def hides(self, text: str) -> bool:
        """Say whether it looks like a key, or a URL that is no page's: those of pages are shown, to be mended."""
        return _LIKE_A_SECRET.search(text) is not None

    def show(self, value: frozenset[str]) -> str:
        """Return the origins in order."""
        return ",".join(sorted(value))


class FrameOrigins(Origins):
    """Origins of pages that may embed others; ``*``: any."""

    allowed = f"*, {Origins.allowed.replace('no *, ', '')}"

    def parse(self, text: str) -> frozenset[str]:
        """Return the origins, or the asterisk alone."""
        return frozenset({EVERYBODY}) if text == EVERYBODY else super().parse(text)


class RootPath(Kind[str]):
    """A path in front of all paths of the service."""

    allowed = (
        "empty, or a path as /fans or /apps/fans: letters, digits, and - . _ ~ between slashes, no slash at the end"
    )

    def parse(self, text: str) -> str:
        """Return the path; a slash alone is none."""
        path = "" if text == "/" else text
        if path and not _ROOT_PATH.fullmatch(path):
            raise ValueError(text)
        return path


class Networks(Kind[tuple[Network, ...]]):
    """Addresses and networks. A network of all addresses is refused, because then anybody could claim any address."""

    allowed = (
        "empty, or addresses and networks, comma separated, as 127.0.0.1,10.1.0.0/16,fd00::/8: no names, no bits "
        "behind the prefix, not all addresses (/0)"
    )

    def parse(self, text: str) -> tuple[Network, ...]:
        """Return the networks; an address is one of its own."""
        networks = tuple(ipaddress.ip_network(part) for part in _parts(text))
        if not all(network.prefixlen for network in networks):
            raise ValueError(text)
        return networks

    def show(self, value: tuple[Network, ...]) -> str:
        """Return the addresses and networks in the order that was given."""
        single = (str(network.network_address) if network.num_addresses == 1 else str(network) for network in value)
        return ",".join(single)


def _origin(text: str) -> str:
    url = urlsplit(text)
    if not _ORIGIN.fullmatch(text) or url.port == 0:
        raise ValueError(text)
    if url.hostname is not None and ":" in url.hostname:
        ipaddress.IPv6Address(url.hostname)
    return text.removesuffix(f":{_DEFAULT_PORTS[url.scheme]}") if url.port == _DEFAULT_PORTS[url.scheme] else text
