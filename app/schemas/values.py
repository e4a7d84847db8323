"""What the service understands of an event's metadata, as values. Pure functions; what cannot be read is None.

Reads take their values from here, and :mod:`app.schemas.understood` tells senders by the same functions what is none.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from shards import text_in

MINUTE_MAX: Final = 150
"""Latest minute that is taken for one of a match; extra time cannot have a later one."""

ADDED_MAX: Final = 60
PERIOD_MAX: Final = 5
COORDINATE_MAX: Final = 100
CARDS: Final = {"yellow": (1, 0), "second_yellow": (1, 1), "red": (0, 1)}
"""Yellow and red cards that a booking of each colour counts as."""

_MINUTE = re.compile(r"(\d{1,3})(?:\+(\d{1,2}))?", re.ASCII)
_WHOLE = re.compile(r"\d{1,3}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d{1,18})?", re.ASCII)


def minute_of(metadata: Mapping[str, Any]) -> tuple[int, int | None] | None:
    """Return the minute and the added time that ``minute`` (47, ``"47"``, ``"45+2"``) and ``added`` tell."""
    told = minute_in(metadata.get("minute"))
    if told is None or told[1] is not None:
        return told
    return told[0], whole_number(metadata.get("added"), 1, ADDED_MAX)


def minute_in(value: object) -> tuple[int, int | None] | None:
    """Return the minute of 47, 45.0 and ``"47"``, with the added time of ``"45+2"``."""
    minute, added = value, None
    if isinstance(value, str) and (match := _MINUTE.fullmatch(value.strip())):
        minute, added = match[1], int(match[2] or 0) or None
    number = whole_number(minute, 0, MINUTE_MAX)
    return None if number is None else (number, added)


def period_of(metadata: Mapping[str, Any]) -> int | None:
    """Return the period: 1 and 2 are the halves, 3 and 4 those of extra time, 5 is the shoot-out."""
    return whole_number(metadata.get("period"), 1, PERIOD_MAX)


def whole_number(value: object, least: int, most: int) -> int | None:
    """Return a whole number in a range, also where it is written as one: 45, 45.0 and ``"45"``."""
    number = value
    if isinstance(value, str):
        number = int(value) if _WHOLE.fullmatch(value.strip()) else None
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else None
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return number if least <= number <= most else None


def coordinate(value: object) -> float | None:
    """Return a place on the pitch from 0 to 100, also where it is written as a text."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value := value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    number = float(value)
    return number if 0 <= number <= COORDINATE_MAX else None


def name_in(value: object) -> str:
    """Return a name, or the name in an object; empty for anything else, and for one that shows nothing."""
    return text_in(value.get("name") if isinstance(value, dict) else value) or ""


def player_of(metadata: Mapping[str, Any]) -> str:
    """Return the name of the player."""
    return name_in(metadata.get("player")) or name_in(metadata.get("scorer"))


def card_of(event_type: str, metadata: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many yellow, and how many red cards a booking counts as; one of an unknown colour is yellow."""
    if event_type in ("yellow_card", "red_card"):
        return CARDS[event_type.removesuffix("_card")]
    value = metadata.get("card")
    return CARDS.get(value.lower(), CARDS["yellow"]) if isinstance(value, str) else CARDS["yellow"]


def moment_of(value: object) -> int | None:
    """Return a moment in ISO 8601 with an offset as ms since the epoch."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return round(moment.timestamp() * 1000) if moment.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None
