"""The keys of `metadata` that the service understands, and what is wrong with a value there that it does not.

Such an event is taken and kept all the same (:mod:`app.schemas.warnings` tells its sender). Each ``…_fault`` function
takes one decoded value that is there, which null and ``""`` are not, and returns what is wrong with it, None if it is
understood. A number that no double holds is passed on as infinity.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from app.schemas.faults import FieldError, shown
from app.schemas.fields import NUMBER_SHOWN_CHARS, checked_identifier, milliseconds_of, odd_number_fault
from app.schemas.values import (
    ADDED_MAX,
    CARDS,
    COORDINATE_MAX,
    MINUTE_MAX,
    PERIOD_MAX,
    coordinate,
    minute_in,
    whole_number,
)
from shards import is_blank

SIDES = ("home", "away")
SIDE_EXAMPLE = '{"id":"1","name":"Al-Hilal"} or just a name'

_HEX_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}){1,2}")
Check = Callable[[Any], str | None]


def minute_fault(value: object) -> str | None:
    """Check a minute: 47, 45.0, ``"47"``, or ``"45+2"``."""
    if minute_in(value) is not None:
        return None
    return f'must be a minute from 0 to {MINUTE_MAX}, as 47, "47" or "45+2", not {_quoted(value)}'


def added_fault(value: object) -> str | None:
    """Check the minutes of stoppage time."""
    return _whole_fault(value, 0, ADDED_MAX)


def period_fault(value: object) -> str | None:
    """Check a period: 1 and 2 are the halves, 3 and 4 those of extra time, 5 is the shoot-out."""
    return _whole_fault(value, 1, PERIOD_MAX)


def text_fault(value: object) -> str | None:
    """Check a name or another text; an integer counts as its digits."""
    if isinstance(value, str):
        return "is blank, so it counts as none" if is_blank(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    return f"must be a text, not {_quoted(value)}"


def person_fault(value: object) -> str | None:
    """Check a name, or an object with one."""
    name = value.get("name") if isinstance(value, dict) else value
    return text_fault(value if name is None else name)


def coordinate_fault(value: object) -> str | None:
    """Check a place on the pitch: a number, or a text that is one."""
    if coordinate(value) is not None:
        return None
    return f"must be a number from 0 to {COORDINATE_MAX}, not {_quoted(value)}"


def flag_fault(value: object) -> str | None:
    """Check what is either so or not."""
    return None if isinstance(value, bool) else f"must be true or false, not {_quoted(value)}"


def card_fault(value: object) -> str | None:
    """Check the colour of a card."""
    if isinstance(value, str) and value.lower() in CARDS:
        return None
    return f"must be yellow, second_yellow or red, not {_quoted(value)}; a card without one of these counts as yellow"


def kickoff_fault(value: object) -> str | None:
    """Check a moment, ISO 8601 with ``Z`` or an offset."""
    if not isinstance(value, str):
        return f"must be a string, ISO 8601 with Z or an offset, not {_quoted(value)}"
    try:
        milliseconds_of(value)
    except FieldError as error:
        return str(error)
    return None


def side_id_fault(value: object) -> str | None:
    """Check the id of a side, which events carry as ``teamId``."""
    if isinstance(value, float) and math.isfinite(value):
        return odd_number_fault(repr(value))
    if isinstance(value, bool) or not isinstance(value, str | int):
        return f"must be a string or an integer, not {_quoted(value)}"
    if isinstance(value, str) and is_blank(value):
        return "is blank, so it counts as none"
    try:
        checked_identifier(str(value))
    except FieldError as error:
        return str(error)
    return None


def side_color_fault(value: object) -> str | None:
    """Check the colour of a side."""
    if isinstance(value, str) and _HEX_COLOUR.fullmatch(value):
        return None
    return f"must be a colour such as #0b62c4, not {_quoted(value)}"


def side_fault(value: object) -> str | None:
    """Check that a side has an id or a name; :data:`SIDE_MEMBERS` says what these have to be."""
    if not isinstance(value, dict):
        fault = text_fault(value)
        return fault if isinstance(value, str) or fault is None else f"must be {SIDE_EXAMPLE}, not {_quoted(value)}"
    if any(is_there(value.get(name)) for name in ("id", "name")):
        return None
    return f"has neither an id nor a name, so it is not understood; send {SIDE_EXAMPLE}"


SIDE_MEMBERS: dict[str, Check] = {
    "id": side_id_fault,
    "name": text_fault,
    "short": text_fault,
    "color": side_color_fault,
}

OF_ANY: dict[str, Check] = {
    "minute": minute_fault,
    "added": added_fault,
    "period": period_fault,
    "player": person_fault,
    "scorer": person_fault,
    "assist": person_fault,
    "x": coordinate_fault,
    "y": coordinate_fault,
    "penalty": flag_fault,
    "outcome": text_fault,
    "card": card_fault,
    "reason": text_fault,
}
"""What is understood on any event, with its checks."""

OF_START: dict[str, Check] = {
    "home": side_fault,
    "away": side_fault,
    "competition": text_fault,
    "kickoff": kickoff_fault,
}
"""What is understood on ``match_start`` besides."""


def is_there(value: object) -> bool:
    """Say whether a value is given: null and ``""`` mean that it is not."""
    return value is not None and value != ""


def _whole_fault(value: object, least: int, most: int) -> str | None:
    if whole_number(value, least, most) is not None:
        return None
    return f"must be a whole number from {least} to {most}, not {_quoted(value)}"


def _quoted(value: object) -> str:
    """Name a value in a message, short and in ASCII."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        text = "a number that is too large" if value == math.inf else str(value)
        return text if len(text) <= NUMBER_SHOWN_CHARS else f"{text[:NUMBER_SHOWN_CHARS]}..."
    return "an object" if isinstance(value, dict) else "an array"
