"""Sessions of browsers: signed texts in a cookie, so none has to be kept.

A session ends after 12 hours, with the key that it was begun with, and when its holder logs out. That of the admin
token ends with the run of the service that took it. Links that begin a session work once.
"""

import hashlib
import hmac
import re
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final, Self

import attrs
import msgspec
from aiohttp import web
from cachetools import LRUCache, TTLCache

from app.access.keyring import Keyring
from app.access.principal import OPERATOR, Principal, Scope
from app.access.seals import Seals

LASTS_S: Final = 12 * 3600
LINK_LASTS_S: Final = 300
LINKS_MAX: Final = 64
ENDED_MAX: Final = 4096
TRIES: Final = 5
TRIES_S: Final = 60.0
ADDRESSES_MAX: Final = 16_384

_FORM = re.compile(r"(?P<body>[A-Za-z0-9_-]{1,400})\.(?P<seal>[0-9a-f]{64})", re.ASCII)
_MASK_BYTES = 16


class Session(msgspec.Struct, frozen=True):
    """A session: whose it is, what proves that, when it ends (seconds of the Unix epoch), and its id."""

    name: str
    proof: str
    until: int
    id: str

    @classmethod
    def new(cls, name: str, proof: str) -> Self:
        """Begin one."""
        return cls(name, proof, int(time.time()) + LASTS_S, secrets.token_hex(8))


_session = msgspec.json.Decoder(Session)


@attrs.frozen
class Visitor:
    """Somebody with a session: who it is, and the session's text."""

    principal: Principal
    text: str = attrs.field(repr=False)


VISITOR: web.RequestKey[Visitor] = web.RequestKey("visitor", Visitor)
"""The visitor whose session let a request in."""


class Sessions:
    """Begins sessions and tells whose a session is.

    Args:
        seals: signs.
        keyring: knows the keys that begin sessions.
        token_proof: returns what the admin token of this run is told from others by; "" while there is none.
    """

    def __init__(self, seals: Seals, keyring: Keyring, token_proof: Callable[[], str]) -> None:
        self._seals = seals
        self._keyring = keyring
        self._token_proof = token_proof
        self._links: TTLCache[str, str] = TTLCache(LINKS_MAX, LINK_LASTS_S)
        self._ended: LRUCache[str, None] = LRUCache(ENDED_MAX)
        self._tries: TTLCache[str, int] = TTLCache(ADDRESSES_MAX, TRIES_S)

    def begin(self, principal: Principal) -> str | None:
        """Return the text of a new session; None for who may neither read nor operate."""
        proof = self._proof(principal.name)
        if not proof or not principal.may(Scope.READ, Scope.ADMIN):
            return None
        body = msgspec.json.encode(Session.new(principal.name, proof))
        text = urlsafe_b64encode(body).rstrip(b"=").decode()
        return f"{text}.{self._seals.made('session', text).hex()}"

    def visitor(self, text: str) -> Visitor | None:
        """Return who has a session; None where it is none of ours, or is over."""
        session = self._read(text)
        if session is None or session.until <= time.time() or session.id in self._ended:
            return None
        if not hmac.compare_digest(session.proof, self._proof(session.name)):
            return None
        holder = self._holder(session.name)
        return Visitor(holder, text) if holder else None

    def end(self, text: str) -> None:
        """Let a session count no more."""
        session = self._read(text)
        if session is not None:
            self._ended[session.id] = None

    def link(self, principal: Principal) -> str:
        """Return a code that begins a session once, within :data:`LINK_LASTS_S`."""
        code = secrets.token_urlsafe(24)
        self._links[code] = principal.name
        return code

    def follow(self, code: str) -> str | None:
        """Return the text of a new session for a code; None where it is unknown, used, or too old."""
        holder = self._holder(self._links.pop(code, ""))
        return self.begin(holder) if holder else None

    def masked(self, text: str) -> str:
        """Return what a form of a session has to send back; another one each time, so that nobody can guess at it."""
        mask = secrets.token_bytes(_MASK_BYTES)
        return (mask + _mixed(mask, self._form_seal(text))).hex()

    def is_masked(self, given: str, text: str) -> bool:
        """Say whether a form of a session has sent back what it should."""
        try:
            data = bytes.fromhex(given)
        except ValueError:
            return False
        mask, mixed = data[:_MASK_BYTES], data[_MASK_BYTES:]
        return len(data) == 2 * _MASK_BYTES and hmac.compare_digest(_mixed(mask, mixed), self._form_seal(text))

    def may_try(self, address: str) -> bool:
        """Say whether a key from an address is looked at; not after :data:`TRIES` wrong ones within a minute."""
        return self._tries.get(address, 0) < TRIES

    def note_wrong(self, address: str) -> None:
        """Count a wrong key from an address; the minute begins with the last one."""
        self._tries[address] = self._tries.get(address, 0) + 1

    def _read(self, text: str) -> Session | None:
        form = _FORM.fullmatch(text)
        if form is None or not hmac.compare_digest(self._seals.made("session", form["body"]).hex(), form["seal"]):
            return None
        return _session.decode(urlsafe_b64decode(form["body"] + "=" * (-len(form["body"]) % 4)))

    def _holder(self, name: str) -> Principal | None:
        if name == OPERATOR.name:
            return OPERATOR
        key = self._keyring.named(name)
        return key.principal if key else None

    def _proof(self, name: str) -> str:
        if name == OPERATOR.name:
            return self._token_proof()
        key = self._keyring.named(name)
        return hashlib.sha256(key.digest).hexdigest()[:32] if key and self._keyring.in_force(key) else ""

    def _form_seal(self, text: str) -> bytes:
        return self._seals.made("form", text)[:_MASK_BYTES]


def _mixed(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))
