"""What the sender of a valid event is told: what in its metadata is kept, and not understood."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from app.schemas.faults import Fault
from app.schemas.metadata import REPLACES, UNMAPPED
from app.schemas.understood import (
    OF_ANY,
    OF_START,
    SIDE_MEMBERS,
    SIDES,
    added_fault,
    is_there,
    side_id_fault,
    text_fault,
)
from shards import RETRACTION

_START = "match_start"
_SIDE_NAMES = {
    name: side
    for side in SIDES
    for name in (
        *(side + more for more in ("", "team", "teamid", "teamname", "id", "name", "side", "club")),
        *(more + side for more in ("team", "club", "side")),
    )
}
"""What the sides are called elsewhere, in lower case and without hyphens and underscores."""


class _OfAny(msgspec.Struct, gc=False):
    """What may be understood on any event; None where absent. Values of other keys are not decoded."""

    minute: Any = None
    added: Any = None
    period: Any = None
    player: Any = None
    scorer: Any = None
    assist: Any = None
    x: Any = None
    y: Any = None
    penalty: Any = None
    outcome: Any = None
    card: Any = None
    reason: Any = None
    replaces: Any = None
    unmapped: dict[str, msgspec.Raw] | None = msgspec.field(default=None, name=UNMAPPED)


class _OfStart(_OfAny, gc=False):
    """The same of ``match_start``."""

    home: Any = None
    away: Any = None
    competition: Any = None
    kickoff: Any = None


_any: msgspec.json.Decoder[_OfAny] = msgspec.json.Decoder(_OfAny)
_start: msgspec.json.Decoder[_OfAny] = msgspec.json.Decoder(_OfStart)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder()
_CHECKS = tuple(OF_ANY.items())


def warnings_of(event_type: str, metadata: str) -> list[Fault]:
    """Return what is not understood in the metadata of a valid event, as it is kept: unknown fields in `_unmapped`."""
    found = _found(_start if event_type == _START else _any, metadata)
    warnings = []
    for name, check in _CHECKS:
        value = getattr(found, name)
        if value is not None and value != "" and (message := check(value)):
            warnings.append(Fault(f"$.metadata.{name}", message))
    if found.added is not None or found.replaces is not None:
        warnings += _out_of_place(event_type, found)
    if isinstance(found, _OfStart):
        warnings += _of_start(found, metadata)
    if found.unmapped is not None:
        warnings += _misplaced(found, found.unmapped)
    return warnings


def _found(decoder: msgspec.json.Decoder[_OfAny], metadata: str) -> _OfAny:
    """Return what is understood; a value that is, or holds, a number which cannot be read is infinity."""
    try:
        return decoder.decode(metadata)
    except msgspec.DecodeError:
        members = _members.decode(metadata)
    names = decoder.type.__struct_fields__
    values = {name: _decoded(members[name]) for name in names if name in members}
    unmapped = _members.decode(members[UNMAPPED]) if UNMAPPED in members else None
    return decoder.type(**values | {"unmapped": unmapped})


def _decoded(raw: msgspec.Raw) -> Any:
    try:
        return _value.decode(raw)
    except msgspec.DecodeError:
        return math.inf


def _out_of_place(event_type: str, found: _OfAny) -> Iterator[Fault]:
    """Yield what can be read, and means nothing where it stands."""
    added = is_there(found.added) and added_fault(found.added) is None
    if added and not is_there(found.minute):
        yield Fault("$.metadata.added", "means nothing without minute")
    elif added and isinstance(found.minute, str) and "+" in found.minute:
        yield Fault("$.metadata.added", "means nothing beside a minute that has its own, as 45+2")
    if is_there(found.replaces) and event_type == RETRACTION:
        yield Fault(f"$.metadata.{REPLACES}", "means nothing here: a retraction only withdraws its eventId")


def _of_start(found: _OfStart, metadata: str) -> Iterator[Fault]:
    for name, check in OF_START.items():
        value = getattr(found, name)
        if is_there(value) and (message := check(value)):
            yield Fault(f"$.metadata.{name}", message)
    yield from _of_sides(found, metadata)


def _of_sides(found: _OfStart, metadata: str) -> Iterator[Fault]:
    for side in SIDES:
        yield from _of_members(side, getattr(found, side))
    given = [side for side in SIDES if is_there(getattr(found, side))]
    if len(given) < len(SIDES):
        yield from _missing_sides(given, _members.decode(metadata), found.unmapped or {})
    elif (home := _id_of(found.home)) is not None and home == _id_of(found.away):
        yield Fault("$.metadata.away", "is the same side as home, so neither is understood")


def _of_members(side: str, value: Any) -> Iterator[Fault]:
    for name, check in SIDE_MEMBERS.items() if isinstance(value, dict) else ():
        if is_there(value.get(name)) and (message := check(value[name])):
            yield Fault(f"$.metadata.{side}.{name}", message)


def _id_of(side: Any) -> str | None:
    """Return the id of a side as it is read, which is its name where it has none; None where it cannot be read."""
    number, name = (side.get("id"), side.get("name")) if isinstance(side, dict) else (None, side)
    if is_there(number):
        return str(number) if side_id_fault(number) is None else None
    return str(name).strip() if is_there(name) and text_fault(name) is None else None


def _missing_sides(given: list[str], metadata: Mapping[str, Any], unmapped: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield where the sides stand that are not in their place, and which one is nowhere while the other is there."""
    meant = set(given)
    elsewhere = [(f"$.metadata.{name}", name) for name in metadata if name not in SIDES]
    elsewhere += [(f"$.{name}", name) for name in unmapped]
    for field, name in elsewhere:
        side = _SIDE_NAMES.get(name.lower().replace("_", "").replace("-", ""))
        if side and side not in given:
            meant.add(side)
            yield Fault(field, f"is not read; did you mean metadata.{side}?")
    for side in SIDES:
        if meant and side not in meant:
            yield Fault(f"$.metadata.{side}", "is missing: without both sides there is no score")


def _misplaced(found: _OfAny, unmapped: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what stands beside the metadata although it is understood only inside; sides are told already."""
    for name in unmapped:
        if name not in SIDES and name in found.__struct_fields__ and not is_there(getattr(found, name)):
            yield Fault(f"$.{name}", f"is not read here; did you mean metadata.{name}?")
