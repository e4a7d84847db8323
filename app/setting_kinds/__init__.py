"""Kinds of settings: each class parses one kind, and has a phrase that says what is allowed."""

import ipaddress
import math
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Generic, TypeVar
from urllib.parse import urlsplit

import attrs

from shards import ServerAddress

T = TypeVar("T")

_SIZE = re.compile(r"([0-9]{1,15}) ?(|B|KiB|MiB|GiB|TiB)")
_SIZE_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DATABASE = re.compile(r"/?|/[A-Za-z_][A-Za-z0-9_]{0,63}")
# It reaches to the last @, because a password that was not percent-encoded must not be shown in part.
_PASSWORD = re.compile(r"(?<=://)([^:@]*):.*@", re.DOTALL)
_HIDDEN = "***"
_ENCODE = (
    "percent-encode what is special in the user and the password: # as %23, / as %2F, : as %3A, ? as %3F, @ as %40"
)
_PLAIN_NAME = "the database needs a name of letters, digits and _, that begins with no digit, as fan_events"
_LIKE_A_SECRET = re.compile(r"@|://|\bff_")


class Explained(ValueError):
    """A value is not allowed for a reason that its kind does not tell; the message shows nothing of the value."""


@attrs.frozen
class Address:
    """A host and a port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def hide_password(url: str) -> str:
    """Return a ClickHouse URL with its password, if it has one, shown as ``***``; all of it where it is no such URL."""
    if not url.startswith(("clickhouse://", "clickhouses://")):
        return _HIDDEN if url else ""
    return _PASSWORD.sub(rf"\1:{_HIDDEN}@", url)


def fits_engine(data_dir: Path) -> bool:
    """Say whether the embedded engine, which takes a path for a URL, can have its files there."""
    try:
        path = str(data_dir.absolute())
    except OSError:  # the working directory is gone, which the start will tell
        return True
    return "?" not in path and path.encode(errors="replace") == path.encode(errors="surrogateescape")


class Kind(ABC, Generic[T]):
    """A kind of value."""

    may_hold_secret: ClassVar[bool] = False
    """Whether a value may hold what nobody is to read: then no message shows it, not even one about a wrong one."""

    def hides(self, text: str) -> bool:
        """Say whether a message about a wrong value must not show it.

        So it is if one of this kind may hold a secret, and if it looks like one that was meant for such a setting: a
        URL with a user, or a key.
        """
        return self.may_hold_secret or _LIKE_A_SECRET.search(text) is not None

    @property
    def unit(self) -> str:
        """The unit of a number; empty where there is none."""
        return ""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The phrase that says what is allowed, to follow the words *it must be*."""

    @abstractmethod
    def parse(self, text: str) -> T:
        """Return the value; raise ValueError where ``text`` is not allowed."""

    def show(self, value: T) -> str:
        """Return ``value`` as people may see it."""
        return str(value)


class Host(Kind[str]):
    """A host name or an address."""

    allowed = "a host name or an address"

    def parse(self, text: str) -> str:
        """Return the text: the system resolves it."""
        if not re.fullmatch(r"[\w.:%-]+", text):
            raise ValueError(text)
        return text


class Directory(Kind[Path]):
    """A directory, made where it is missing."""

    allowed = "a path"

    def parse(self, text: str) -> Path:
        """Return the path, with ``~`` resolved."""
        if not text or "\0" in text:
            raise ValueError(text)
        try:
            return Path(text).expanduser()
        except RuntimeError:  # no such user
            raise ValueError(text) from None

    def show(self, value: Path) -> str:
        """Return the path, a relative one with a leading ``./``."""
        return str(value) if value.is_absolute() else f"./{value}"


@attrs.frozen
class Integer(Kind[int]):
    """A whole number between two bounds, both allowed."""

    least: int
    most: int
    unit: str = ""

    @property
    def allowed(self) -> str:
        """Say the bounds."""
        return f"a whole number from {self.least} to {self.most}"

    def parse(self, text: str) -> int:
        """Return the number."""
        if not re.fullmatch(r"[0-9]{1,18}", text) or not self.least <= int(text) <= self.most:
            raise ValueError(text)
        return int(text)


@attrs.frozen
class Bytes(Kind[int]):
    """A size: a number of bytes, or one with KiB, MiB, GiB or TiB."""

    least: int
    unit: str = "bytes"

    @property
    def allowed(self) -> str:
        """Say the least size and how to write one."""
        return f"a size of at least {self.show(self.least)}, in bytes or as 512KiB, 64MiB, 8GiB"

    def parse(self, text: str) -> int:
        """Return the number of bytes."""
        written = _SIZE.fullmatch(text)
        if written is None:
            raise ValueError(text)
        size = int(written[1]) * _SIZE_UNITS[written[2]]
        if not self.least <= size < 1 << 63:
            raise ValueError(text)
        return size

    def show(self, value: int) -> str:
        """Return the size in the largest unit that divides it."""
        name, unit = max(
            ((name, unit) for name, unit in _SIZE_UNITS.items() if name != "B" and value % unit == 0),
            key=lambda pair: pair[1] if value else -pair[1],
        )
        return f"{value // unit}{name}"


@attrs.frozen
class Seconds(Kind[float]):
    """A time in seconds, fractions allowed."""

    least: float
    most: float
    unit: str = "s"

    @property
    def allowed(self) -> str:
        """Say the bounds."""
        return f"a number of seconds from {self.least:g} to {self.most:g}"

    def parse(self, text: str) -> float:
        """Return the seconds."""
        value = float(text)
        if not math.isfinite(value) or not self.least <= value <= self.most:
            raise ValueError(text)
        return value

    def show(self, value: float) -> str:
        """Return the shortest form."""
        return f"{value:g}"


@attrs.frozen
class Choice(Kind[str]):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """List the words."""
        return "one of " + ", ".join(word or "(empty)" for word in self.words)

    def parse(self, text: str) -> str:
        """Return the word as it is in the list, whatever the case it was written in."""
        found = [word for word in self.words if word.lower() == text.lower()]
        if not found:
            raise ValueError(text)
        return found[0]


class ClickHouseUrl(Kind[str]):
    """The address of ClickHouse; empty: the embedded engine."""

    may_hold_secret = True
    allowed = (
        "empty, or clickhouse://user:password@host:9000/database (clickhouses:// for TLS, with ?ca_certs=FILE, "
        "which must exist, for an authority of your own, or ?verify=false to take any certificate)"
    )

    def parse(self, text: str) -> str:
        """Return the URL, or the empty text."""
        if not text:
            return ""
        try:
            url, address = urlsplit(text), ServerAddress.parse(text)
            if url.port == 0 or url.fragment:
                raise ValueError(text)
        except ValueError:
            raise Explained(_ENCODE) if "@" in text else ValueError(text) from None
        if not _DATABASE.fullmatch(url.path):
            raise Explained(_ENCODE if "@" in url.path + url.query else _PLAIN_NAME)
        if address.ca_certs is not None and not Path(address.ca_certs).is_file():
            raise ValueError(text)
        return text

    def show(self, value: str) -> str:
        """Return the URL without its password."""
        return hide_password(value)


class EventTypeNames(Kind[frozenset[str]]):
    """Names of event types, comma separated."""

    allowed = "names of event types, comma separated: lower case letters, digits and _, at most 64 each"

    def parse(self, text: str) -> frozenset[str]:
        """Return the names."""
        names = [name.strip() for name in text.split(",")] if text else []
        if not all(_EVENT_TYPE.fullmatch(name) for name in names):
            raise ValueError(text)
        return frozenset(names)

    def show(self, value: frozenset[str]) -> str:
        """Return the names in order."""
        return ",".join(sorted(value))


class LoopbackAddress(Kind[Address | None]):
    """``host:port`` of the machine itself, because what listens there asks nobody for a key. Empty: off.

    IPv4 only, because the console's telnet server knows no other.
    """

    allowed = "empty (off), or a loopback address and a port from 1 to 65534, as 127.0.0.1:20101"

    def parse(self, text: str) -> Address | None:
        """Return the address, or None where it is off."""
        if not text:
            return None
        host, _, port = text.rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host
        number = Integer(1, 65_534).parse(port)
        if not ipaddress.IPv4Address(host).is_loopback:
            raise ValueError(text)
        return Address(host, number)

    def show(self, value: Address | None) -> str:
        """Return the address; empty where it is off."""
        return str(value or "")
