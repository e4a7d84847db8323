"""Who plays: what the metadata of ``match_start`` says of the sides, competition and provider. Pure functions."""

import json
from typing import Any

import attrs

DIGITS_MAX = 1_000
"""Longer integers are read as floats; no number that is understood is that long."""


@attrs.frozen
class Side:
    """One side of a match. ``id`` is what events carry as ``teamId``; it is the name where none was sent."""

    id: str
    name: str


@attrs.frozen
class Sides:
    """Who plays at home, and who away."""

    home: Side
    away: Side


def match_sides(start_metadata: str) -> Sides | None:
    """Return the sides that the metadata of ``match_start`` names, None unless it names two different ones."""
    metadata = metadata_of(start_metadata)
    home, away = _side(metadata.get("home")), _side(metadata.get("away"))
    if home is None or away is None or home.id == away.id:
        return None
    return Sides(home, away)


def match_details(start_metadata: str) -> dict[str, str | None]:
    """Return ``competition`` and ``kickoff`` as ``match_start`` named them, None where it did not."""
    metadata = metadata_of(start_metadata)
    return {key: _text(metadata.get(key)) for key in ("competition", "kickoff")}


def match_provider(start_metadata: str) -> str:
    """Return who recorded the match, as ``match_start`` names it under ``provider``, to be named with its data."""
    return _text(metadata_of(start_metadata).get("provider")) or ""


def team_names(sides: Sides | None) -> dict[str, str]:
    """Return the names of the sides by team id; empty while the sides are not known."""
    return {side.id: side.name for side in (sides.home, sides.away)} if sides else {}


def metadata_of(text: str) -> dict[str, Any]:
    """Return the object that a JSON text is, empty where it is none."""
    try:
        value = json.loads(text, parse_int=_integer) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _integer(digits: str) -> int | float:
    """Python refuses to read an integer of thousands of digits, and the whole text with it."""
    return int(digits) if len(digits) <= DIGITS_MAX else float(digits)


def _side(value: object) -> Side | None:
    """``{"id":"1","name":"Al-Hilal"}``, or just a name; what is missing of the two is taken from the other."""
    if not isinstance(value, dict):
        value = {"name": value}
    side_id, name = _text(value.get("id"), strip=False), _text(value.get("name"))
    if side_id is None and name is None:
        return None
    return Side(id=side_id or name or "", name=name or side_id or "")


def _text(value: object, *, strip: bool = True) -> str | None:
    """A string that says something, or an integer as one; anything else is nothing that we understand."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    if not (stripped := text.strip()):
        return None
    return stripped if strip else text
