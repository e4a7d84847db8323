"""Cursors: where the next page of a list begins, as text that clients hand back and need not understand.

A cursor belongs to one list and its filters. It carries a checksum over its place and these, so that a cursor of
another list, or one that was changed on its way, is refused and does not lead to a wrong place. The checksum is no
signature, because whoever works out a cursor gets a place in a list that they may read anyway.
"""

import base64
import hashlib
from typing import TypeVar

import msgspec

from app.schemas.faults import FieldError

Scope = tuple[str | int | bool | None, ...]
"""Name of the list, then its filters."""

_CHECKSUM_BYTES = 9
_REFUSAL = (
    "must be the nextCursor of an earlier page of this list, unchanged, with the same filters;"
    " leave it out to begin with the first page"
)

T = TypeVar("T")


def cursor_of(position: tuple[int | str, ...], *, scope: Scope) -> str:
    """Return the text for a position in a list."""
    place = msgspec.json.encode(position)
    return base64.urlsafe_b64encode(_checksum(place, scope) + place).decode().rstrip("=")


def position_of(cursor: str, *, scope: Scope, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the position that a cursor stands for; raise FieldError if it is none of this list."""
    try:
        packed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        checksum, place = packed[:_CHECKSUM_BYTES], packed[_CHECKSUM_BYTES:]
        if checksum == _checksum(place, scope):
            return decoder.decode(place)
    except (ValueError, msgspec.DecodeError):
        pass
    raise FieldError(_REFUSAL)


def _checksum(place: bytes, scope: Scope) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(scope) + place, digest_size=_CHECKSUM_BYTES).digest()
