"""`metadata`: JSON text that is checked, never rewritten, with unknown top-level fields kept inside it.

Keys the service understands (`home`, `minute`, …) are not checked here, but for those that name another event. A value
that is not understood is kept, and told (:mod:`app.schemas.understood`).
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import NewType

import msgspec

from app.schemas.faults import Fault, FieldError, shown
from app.schemas.fields import CANONICAL_UUID, NIL_UUID, UUID_EXAMPLE, is_absent, not_nil, text_of

Metadata = NewType("Metadata", str)
"""JSON text of an object."""

MAX_BYTES = 16 * 1024
MAX_LEVELS = 16
UNMAPPED = "_unmapped"
REPLACES = "replaces"
"""Key of the event that another one takes the place of."""

_UNREADABLE = "of an event that names another one must hold no number beyond 64 bits or a double"
_INT_MAX_CHARS = 20
SMALLEST_FIELD_BYTES = len('"":0')
EMPTY = Metadata("{}")

_BRACKETS_OUTSIDE_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|([{\[])|([}\]])', re.DOTALL)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_metadata(raw: msgspec.Raw, _: object = None) -> Metadata:
    """Check that metadata is an object without the reserved key; ``{}`` where absent."""
    value = bytes(raw)
    if value == b"null":
        return EMPTY
    if value[:1] != b"{":
        raise FieldError("must be a JSON object")
    if _may_hold_reserved_key(value) and UNMAPPED in _object.decode(value):
        raise FieldError(f"must not have the key {UNMAPPED}: it is reserved for unknown fields")
    return Metadata(value.decode())


def with_unmapped(fields: Mapping[str, msgspec.Raw], unknown: Collection[str]) -> Metadata:
    """Return the event's metadata with the fields named by ``unknown`` spliced in as they were sent.

    Raises FieldError if the result is larger or deeper than allowed.
    """
    if len(unknown) > MAX_BYTES // SMALLEST_FIELD_BYTES:
        raise FieldError(f"would have more than {MAX_BYTES} bytes with {len(unknown)} unknown fields kept in it")
    metadata = fields.get("metadata")
    text = b"{}" if metadata is None or is_absent(metadata) else bytes(metadata)
    kept = b",".join(msgspec.json.encode(name) + b":" + bytes(fields[name]) for name in unknown)
    if kept:
        inner = text[1:-1].strip()
        separator = b"," if inner else b""
        text = b'{%b%b"%b":{%b}}' % (inner, separator, UNMAPPED.encode(), kept)
    _check_size(text, with_unknown=bool(kept))
    return Metadata(text.decode())


def check_retraction(fields: Mapping[str, msgspec.Raw]) -> None:
    """Check that a retraction's metadata names the event withdrawn."""
    metadata = fields.get("metadata")
    named = None
    if metadata is not None and bytes(metadata)[:1] == b"{":
        named = _object.decode(metadata).get("eventId")
    if named is None or is_absent(named):
        raise FieldError("is required for a retraction: the eventId of the event that is withdrawn")
    # It is kept as sent and compared in ClickHouse, so its spelling may differ from ours in case only.
    if not CANONICAL_UUID.fullmatch(text_of(named) or ""):
        raise FieldError(f"must be the eventId of the event that is withdrawn, such as {UUID_EXAMPLE}")
    not_nil(text_of(named) or "")


def check_readable(metadata: Metadata, key: str) -> None:
    """Check that ClickHouse will read out of the metadata which event stands under ``key``.

    ClickHouse takes the first of two equal keys, and reads nothing at all where a number fits neither 64 bits nor a
    double (JSONExtractString, seen on 26.7).
    """
    pairs = json.loads(metadata, object_pairs_hook=list, parse_int=_of_64_bits, parse_float=_of_a_double)
    _check_given_once(pairs, key)


def may_replace(metadata: Metadata) -> bool:
    """Say whether the metadata may have the key `REPLACES`. Cheap; an escape may spell the key in another way."""
    return '"replaces"' in metadata or "\\u" in metadata


def replacement_faults(metadata: Metadata, *, own_id: str) -> list[Fault]:
    """Return what is wrong with the name of the event that one takes the place of; null means that it takes none.

    The name is kept as sent and read by ClickHouse, as that in a retraction is. ``own_id`` is the id of the event.
    """
    raw = _object.decode(metadata).get(REPLACES)
    if raw is None:
        return []
    faults = []
    try:
        if is_absent(raw):
            _check_given_once(json.loads(metadata, object_pairs_hook=list, parse_int=str, parse_float=str), REPLACES)
        else:
            check_readable(metadata, REPLACES)
    except FieldError as fault:
        faults.append(Fault("$.metadata", str(fault)))
    message = "" if is_absent(raw) else _replaced_fault((text_of(raw) or "").lower(), own_id)
    if message:
        faults.append(Fault(f"$.metadata.{REPLACES}", message))
    return faults


def _replaced_fault(named: str, own_id: str) -> str:
    if not CANONICAL_UUID.fullmatch(named):
        return f"must be the eventId of the event that this one takes the place of, such as {UUID_EXAMPLE}"
    if named == NIL_UUID:
        return "is the nil UUID, which no event has; name the event that this one takes the place of"
    if named == own_id:
        return "names the event itself; name the one that it takes the place of, and give this one an id of its own"
    return ""


def _check_given_once(pairs: list[tuple[str, object]], key: str) -> None:
    if [name for name, _ in pairs].count(key) > 1:
        raise FieldError(f"has the key {key} twice; send it once")


def _of_64_bits(digits: str) -> None:
    if len(digits) > _INT_MAX_CHARS or not -(1 << 63) <= int(digits) < 1 << 64:
        raise FieldError(f"{_UNREADABLE}; send {shown(digits)} as a string")


def _of_a_double(text: str) -> None:
    if math.isinf(float(text)):
        raise FieldError(f"{_UNREADABLE}; send {shown(text)} as a string")


def levels(text: bytes) -> int:
    """Return how deep objects and arrays are nested in valid JSON; 1 for a flat object."""
    if text.count(b"{") + text.count(b"[") <= 1:
        return 1
    depth = deepest = 0
    for match in _BRACKETS_OUTSIDE_STRINGS.finditer(text):
        if match.group(1):
            depth += 1
            deepest = max(deepest, depth)
        elif match.group(2):
            depth -= 1
    return deepest


def _check_size(text: bytes, *, with_unknown: bool) -> None:
    subject = "together with the unknown fields kept in it " if with_unknown else ""
    if len(text) > MAX_BYTES:
        raise FieldError(f"{subject}has {len(text)} bytes; at most {MAX_BYTES} are allowed")
    if text.count(b"{") + text.count(b"[") > MAX_LEVELS and levels(text) > MAX_LEVELS:
        raise FieldError(f"{subject}is nested more than {MAX_LEVELS} levels deep")


def _may_hold_reserved_key(value: bytes) -> bool:
    return UNMAPPED.encode() in value or b"\\u" in value
