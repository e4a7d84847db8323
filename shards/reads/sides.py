"""The sides of a match, from the metadata of ``match_start``. Pure functions."""

import json
import unicodedata
from typing import Any

import attrs

DIGITS_MAX = 1_000
"""Digits above which an integer is read as a float; no number that is understood is that long."""


_INVISIBLE = frozenset(
    ["\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\u034f", "\u17b4", "\u17b5"]
    + [chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))]
)
"""Characters that show nothing, although Unicode calls them letters, symbols or marks."""

_INVISIBLE_KINDS = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


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
    """Return a string that shows something, or an integer as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    if is_blank(text):
        return None
    return text.strip() if strip else text


def is_blank(text: str) -> bool:
    """Say whether a text shows nothing: it holds only spaces, zero-width and control characters, or nothing at all."""
    if text[:1].isascii() and text[:1].isalnum():
        return False
    return not any(map(_is_visible, text))


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in _INVISIBLE_KINDS and character not in _INVISIBLE


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
