"""Principals: what a request has proved, and what that allows."""

from enum import StrEnum

import attrs
from aiohttp import web


class Scope(StrEnum):
    """What a key is for.

    Attributes:
        REACT: to send fans' events, and no others.
        INGEST: to send events, and to read the receipts of what this key sent.
        READ: to read events with what fans wrote, receipts, metrics and the status.
        EDGE: what edges ask of cores.
        ADMIN: dead letters, audit, shards, and whatever else is the operator's; includes `READ`.
    """

    REACT = "react"
    INGEST = "ingest"
    READ = "read"
    EDGE = "edge"
    ADMIN = "admin"


@attrs.frozen
class Principal:
    """Somebody who asks.

    Attributes:
        name: of the key; "admin-token", "anybody" and "origin" are no names of keys.
        scopes: what it may do.
        prefixes: beginnings of the match ids that it is limited to; empty: of all.
        is_key: whether it is the holder of a key.
        digest: of its key, which tells that from another of the same name; else b"".
        sends_all: whether it may send any event, of any match.
    """

    name: str
    scopes: frozenset[Scope]
    prefixes: tuple[str, ...] = ()
    is_key: bool = False
    digest: bytes = attrs.field(default=b"", repr=False)
    sends_all: bool = attrs.field(init=False, eq=False)

    @sends_all.default
    def _sends_all(self) -> bool:
        return Scope.INGEST in self.scopes and not self.prefixes

    def may(self, *scopes: Scope) -> bool:
        """Say whether it has one of some scopes."""
        return not self.scopes.isdisjoint(scopes)

    def reaches(self, match_id: str) -> bool:
        """Say whether a match is among those that it is limited to."""
        return not self.prefixes or match_id.startswith(self.prefixes)


def is_operator(principal: Principal) -> bool:
    """Say whether it may do what is the operator's, which is about all matches."""
    return principal.may(Scope.ADMIN) and not principal.prefixes


ANYBODY = Principal("anybody", frozenset((Scope.REACT, Scope.INGEST, Scope.READ)))
"""The principal of all requests where no key is configured."""

OPERATOR = Principal("admin-token", frozenset(Scope))
"""The principal that has shown the token of the data directory."""

PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)
"""The principal of a request; set before its handler runs."""
