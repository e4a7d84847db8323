"""The table of who may ask for what: each route by method and path, and what it needs.

A route that is not in it makes the start fail, so none can be added without a decision.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from app.access.principal import Scope


class Need(Enum):
    """What a route needs once there are keys.

    Attributes:
        NOTHING: anybody may ask.
        PUBLIC: anybody may ask, unless reading is not public.
        SEND: to send; with `Scope.REACT` fans' events only.
        RECEIPT: to read a receipt; with `Scope.INGEST` only of what this key sent.
        READ: to read what is personal, and how the service is.
        ADMIN: what is the operator's; without keys, too.
    """

    NOTHING = auto()
    PUBLIC = auto()
    SEND = auto()
    RECEIPT = auto()
    READ = auto()
    ADMIN = auto()


SCOPES: Final[Mapping[Need, tuple[Scope, ...]]] = {
    Need.PUBLIC: (Scope.READ,),
    Need.SEND: (Scope.REACT, Scope.INGEST),
    Need.RECEIPT: (Scope.INGEST, Scope.READ),
    Need.READ: (Scope.READ,),
    Need.ADMIN: (Scope.ADMIN,),
}
"""Scopes of which one is enough."""

_MATCH: Final = "/api/matches/{matchId}"
_LETTER: Final = "/api/deadletters/{id}"

NEEDS: Final[Mapping[tuple[str, str], Need]] = {
    ("GET", "/health"): Need.NOTHING,
    ("GET", "/health/live"): Need.NOTHING,
    ("GET", "/health/ready"): Need.NOTHING,
    ("GET", "/health/startup"): Need.NOTHING,
    ("GET", "/ready"): Need.NOTHING,
    ("GET", "/static/{path}"): Need.NOTHING,
    ("GET", "/login"): Need.NOTHING,
    ("POST", "/login"): Need.NOTHING,
    ("POST", "/logout"): Need.NOTHING,
    ("GET", "/"): Need.PUBLIC,
    ("GET", "/stream"): Need.PUBLIC,
    ("GET", "/matches/{matchId}"): Need.PUBLIC,
    ("GET", "/matches/{matchId}/stream"): Need.PUBLIC,
    ("GET", "/docs"): Need.PUBLIC,
    ("GET", "/openapi.json"): Need.PUBLIC,
    ("GET", "/api/matches"): Need.PUBLIC,
    ("GET", f"{_MATCH}/metrics"): Need.PUBLIC,
    ("GET", f"{_MATCH}/stream"): Need.PUBLIC,
    ("GET", f"{_MATCH}/shots"): Need.PUBLIC,
    ("GET", "/api/stream"): Need.PUBLIC,
    ("POST", "/api/events"): Need.SEND,
    ("POST", "/api/events/bulk"): Need.SEND,
    ("POST", f"{_MATCH}/events"): Need.SEND,
    ("GET", "/api/receipts/{receipt}"): Need.RECEIPT,
    ("GET", f"{_MATCH}/events"): Need.READ,
    ("GET", "/metrics"): Need.READ,
    ("GET", "/api/status"): Need.READ,
    ("GET", "/operate"): Need.ADMIN,
    ("POST", "/operate/shards/{shard}/{act}"): Need.ADMIN,
    ("GET", "/api/acts"): Need.ADMIN,
    ("POST", "/api/shards/{shard}/pause"): Need.ADMIN,
    ("POST", "/api/shards/{shard}/resume"): Need.ADMIN,
    ("POST", "/api/shards/{shard}/flush"): Need.ADMIN,
    ("POST", "/api/login-links"): Need.ADMIN,
    ("DELETE", _MATCH): Need.ADMIN,
    ("GET", "/api/erasures"): Need.ADMIN,
    ("GET", "/api/erasures/{id}"): Need.ADMIN,
    ("GET", "/api/audit"): Need.ADMIN,
    ("GET", "/api/deadletters"): Need.ADMIN,
    ("GET", _LETTER): Need.ADMIN,
    ("POST", f"{_LETTER}/retry"): Need.ADMIN,
    ("DELETE", _LETTER): Need.ADMIN,
}
"""What each route needs; HEAD needs what GET does, and OPTIONS nothing."""


def need_of(method: str, path: str) -> Need:
    """Return what a route needs. Raises LookupError where nobody has decided that."""
    if method == "OPTIONS":
        return Need.NOTHING
    try:
        return NEEDS["GET" if method == "HEAD" else method, path]
    except KeyError:
        raise LookupError(f"{method} {path} is not in app/access/needs.py: who may ask for it?") from None
