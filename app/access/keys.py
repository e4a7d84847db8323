"""Keys: what they look like, how they are configured, and whether one that came with a request is known.

A key is ``ff_<name>_<secret>``, the secret 160 random bits in base64url. What is configured is no secret::

    <name>:<scope>+<scope>:<salt>.<hash>[:matches=<prefix>.<prefix>][:until=<yyyymmdd>T<hhmmss>Z]

with salt and SHA-256 of salt and key in base64url. In a prefix of match ids, characters other than letters, digits and
``-`` stand as ``_`` and two hex digits for each byte of UTF-8. So nothing in it means anything to a shell, to a file of
variables, or to a composition.

The secret has so many random bits that one hash is enough: nobody can try them all.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Self, TypeVar
from unicodedata import category

import attrs

from app.access.principal import Principal, Scope

SECRET_BYTES: Final = 20
SALT_BYTES: Final = 16
NAME: Final = "1 to 40 lower-case letters, digits and -, beginning with a letter"
UNTIL: Final = "%Y%m%dT%H%M%SZ"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_KEY = re.compile(r"ff_(?P<name>[a-z][a-z0-9-]{0,39})_[A-Za-z0-9_-]{27}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9-]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9-]|_[0-9a-f]{2})+", re.ASCII)
_PREFIX_CHARS_MAX = 128
_NOT_IN_IDS = frozenset({"Cc", "Cs"})
"""Categories of the characters that no match id has: control characters, and halves of a surrogate pair."""

_RESERVED = frozenset({"admin-token", "anybody", "console", "origin"})


class KeyLineError(ValueError):
    """A line of keys cannot be read; the message says what to mend, and shows nothing of the line but its name."""


@attrs.frozen(kw_only=True)
class ApiKey:
    """One key as it is configured.

    Attributes:
        name: told in logs and kept with what was done.
        scopes: what it is for, at least one.
        digest: SHA-256 of salt and key.
        prefixes: beginnings of the match ids that it is for; empty: all.
        until: when it ends, None: never.
    """

    name: str
    scopes: frozenset[Scope]
    salt: bytes = attrs.field(repr=False)
    digest: bytes = attrs.field(repr=False)
    prefixes: tuple[str, ...] = ()
    until: datetime | None = None
    principal: Principal = attrs.field(init=False, eq=False, repr=False)
    """The principal that it proves."""

    @principal.default
    def _principal(self) -> Principal:
        scopes = self.scopes | ({Scope.READ} if Scope.ADMIN in self.scopes else frozenset())
        return Principal(self.name, frozenset(scopes), self.prefixes, is_key=True, digest=self.digest)

    def has_ended(self, now: datetime) -> bool:
        """Say whether its time is over."""
        return self.until is not None and now >= self.until

    def line(self) -> str:
        """Return the text to configure."""
        scopes = "+".join(scope for scope in Scope if scope in self.scopes)
        parts = [self.name, scopes, f"{_encoded(self.salt)}.{_encoded(self.digest)}"]
        if self.prefixes:
            parts.append(f"matches={'.'.join(map(_escaped, self.prefixes))}")
        if self.until is not None:
            parts.append(f"until={self.until:{UNTIL}}")
        return ":".join(parts)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the key that a line configures. Raises KeyLineError."""
        if line.startswith("ff_"):
            raise KeyLineError("this is a key itself; configure the line that was printed with it")
        name, *parts = line.split(":")
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise KeyLineError(f"the first part is the name: {NAME}; {', '.join(sorted(_RESERVED))} are taken")
        try:
            scopes, proof, *limits = parts
            salt, digest = map(_decoded, proof.split("."))
        except ValueError:
            salt = digest = b""
        if len(salt) != SALT_BYTES or len(digest) != hashlib.sha256().digest_size:
            raise KeyLineError(f"{name}: it must be name:scope+scope:salt.hash, as fanfinity keys new prints it")
        key = cls(name=name, scopes=parse_scopes(scopes, of=name), salt=salt, digest=digest)
        kinds = [limit.partition("=")[0] for limit in limits]
        if len(set(kinds)) < len(kinds):
            raise KeyLineError(f"{name}: matches and until may each stand there once")
        for limit in limits:
            key = _limited(key, limit)
        return key

    @classmethod
    def new(
        cls, name: str, scopes: Iterable[Scope], *, prefixes: Iterable[str] = (), until: datetime | None = None
    ) -> tuple[str, Self]:
        """Return the text of a new key, which is kept nowhere, and the key to configure. Raises KeyLineError."""
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise KeyLineError(f"a name has {NAME}; {', '.join(sorted(_RESERVED))} are taken")
        if not all(0 < len(prefix) <= _PREFIX_CHARS_MAX for prefix in prefixes):
            raise KeyLineError(f"a prefix of match ids has 1 to {_PREFIX_CHARS_MAX} characters")
        if any(category(character) in _NOT_IN_IDS for prefix in prefixes for character in prefix):
            raise KeyLineError("a prefix of match ids has no control characters, and none that are no text in UTF-8")
        text = f"ff_{name}_{_encoded(secrets.token_bytes(SECRET_BYTES))}"
        salt = secrets.token_bytes(SALT_BYTES)
        until = until and _in_utc(until)
        digest = _digest(salt, text)
        return text, cls(
            name=name, scopes=frozenset(scopes), salt=salt, digest=digest, prefixes=tuple(prefixes), until=until
        )


_Key = TypeVar("_Key", bound=ApiKey)
_DUMMY = ApiKey(name="nobody", scopes=frozenset(), salt=bytes(SALT_BYTES), digest=bytes(32))


class Keys:
    """The keys in force, by name."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._by_name = {key.name: key for key in keys}

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, text: str) -> ApiKey | None:
        """Return the key that a text is. For any text one hash is made, and as many bytes are compared."""
        form = _KEY.fullmatch(text)
        key = self._by_name.get(form["name"] if form else "", _DUMMY)
        is_it = hmac.compare_digest(_digest(key.salt, text), key.digest)
        return key if is_it and key is not _DUMMY else None

    def named(self, name: str) -> ApiKey | None:
        """Return the key of a name."""
        return self._by_name.get(name)


def parse_keys(lines: Iterable[str]) -> tuple[ApiKey, ...]:
    """Return the keys of some lines; blank ones and those that begin with # are passed over.

    Raises KeyLineError, which names the line by its number, from 1.
    """
    found: dict[str, ApiKey] = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        try:
            key = ApiKey.parse(line)
        except KeyLineError as error:
            raise KeyLineError(f"line {number}: {error}") from None
        if key.name in found:
            says = f"{key.name}: there are two keys of this name; give the newer one another name"
            raise KeyLineError(f"line {number}: {says}")
        found[key.name] = key
    return tuple(found.values())


def parse_scopes(text: str, *, of: str) -> frozenset[Scope]:
    """Return the scopes in a text as ``ingest+read``. Raises KeyLineError, which names ``of``."""
    try:
        return frozenset(Scope(scope) for scope in text.split("+"))
    except ValueError:
        raise KeyLineError(f"{of}: the scopes must be of {', '.join(Scope)}, joined by +") from None


def _limited(key: _Key, part: str) -> _Key:
    kind, _, value = part.partition("=")
    if kind == "matches" and all(map(_PREFIX.fullmatch, value.split("."))):
        return attrs.evolve(key, prefixes=tuple(_unescaped(key.name, prefix) for prefix in value.split(".")))
    if kind != "until":
        raise KeyLineError(f"{key.name}: behind the hash may stand matches=PREFIX.PREFIX and until=20270131T235959Z")
    try:
        return attrs.evolve(key, until=datetime.strptime(value, UNTIL).replace(tzinfo=UTC))
    except ValueError:
        raise KeyLineError(f"{key.name}: until must be a time in UTC as 20270131T235959Z") from None


def _in_utc(until: datetime) -> datetime:
    try:
        return until.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise KeyLineError("the end of a key must lie in the years 1 to 9999 in UTC") from None


def _escaped(prefix: str) -> str:
    plain = (chr(byte) if _PLAIN.fullmatch(chr(byte)) else f"_{byte:02x}" for byte in prefix.encode())
    return "".join(plain)


def _unescaped(name: str, text: str) -> str:
    try:
        return re.sub(rb"_([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode()).decode()
    except UnicodeDecodeError:
        raise KeyLineError(f"{name}: a prefix of matches is not UTF-8") from None


def _digest(salt: bytes, text: str) -> bytes:
    return hashlib.sha256(salt + text.encode("utf-8", "surrogateescape")).digest()


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII):
        raise ValueError(text)
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
