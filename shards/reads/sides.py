"""The sides of a match, from the metadata of ``match_start``. Pure functions."""

import json
from typing import Any

import attrs

DIGITS_MAX = 1_000
"""Digits above which an integer is read as a float; no number that is understood is that long."""


@attrs.frozen
class Side:
    """One side of a match. ``id`` is what events carry as ``teamId``; it is the name where none was sent."""

    id: str
    name: str


@attrs.frozen
class Sides:
    """The side at home, and the side away."""

    home: Side
    away: Side


def match_sides(start_metadata: str) -> Sides | None:
    """Return the sides that the metadata of ``match_start`` names, None unless it names two different ones."""
    metadata = metadata_of(start_metadata)
    home, away = _side(metadata.get("home")), _side(metadata.get("away"))
    if home is None or away is None or home.id == away.id:
        return None
    return Sides(home, away)


def metadata_of(text: str) -> dict[str, Any]:
    """Return the object in a JSON text; empty where it holds none."""
    try:
        value = json.loads(text, parse_int=_integer) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def text_in(value: object, *, strip: bool = True) -> str | None:
    """Return a string that is not blank, or an integer as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    if not (stripped := text.strip()):
        return None
    return stripped if strip else text


def _integer(digits: str) -> int | float:
    """Return a number; a long one as a float, because Python refuses a text with an integer of thousands of digits."""
    return int(digits) if len(digits) <= DIGITS_MAX else float(digits)


def _side(value: object) -> Side | None:
    """Return the side in ``{"id":"1","name":"Al-Hilal"}``, or in just a name. A missing id or name is the other one."""
    if not isinstance(value, dict):
        value = {"name": value}
    side_id, name = text_in(value.get("id"), strip=False), text_in(value.get("name"))
    if side_id is None and name is None:
        return None
    return Side(id=side_id or name or "", name=name or side_id or "")
