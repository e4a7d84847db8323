"""What the service understands of an event's metadata, as values. Pure functions; what cannot be read is None."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from shards import text_in

MINUTE_MAX: Final = 150
"""Latest minute that is taken for one of a match; extra time cannot have a later one."""

ADDED_MAX: Final = 60
PERIODS: Final = (1, 2, 3, 4, 5)
_MINUTE = re.compile(r"(\d{1,3})(?:\+(\d{1,2}))?", re.ASCII)
_WHOLE = re.compile(r"\d{1,3}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d{1,18})?", re.ASCII)


def minute_of(metadata: Mapping[str, Any]) -> tuple[int, int | None] | None:
    """Return the minute and the added time that ``minute`` (47, ``"47"``, ``"45+2"``) and ``added`` tell."""
    value = metadata.get("minute")
    added = whole_number(metadata.get("added"))
    if isinstance(value, str) and (match := _MINUTE.fullmatch(value.strip())):
        minute: int | None = int(match[1])
        added = int(match[2]) if match[2] else added
    else:
        minute = whole_number(value)
    if minute is None or not 0 <= minute <= MINUTE_MAX:
        return None
    return minute, added if added is not None and 0 < added <= ADDED_MAX else None


def period_of(metadata: Mapping[str, Any]) -> int | None:
    """Return the period: 1 and 2 are the halves, 3 and 4 those of extra time, 5 is the shoot-out."""
    period = whole_number(metadata.get("period"))
    return period if period in PERIODS else None


def whole_number(value: object) -> int | None:
    """Return a whole number that is one, or is written as one: 45, 45.0 and ``"45"``."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value.strip()) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def coordinate(value: object) -> float | None:
    """Return a place on the pitch from 0 to 100, also where it is written as a text."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value := value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    number = float(value)
    return number if math.isfinite(number) and 0 <= number <= 100 else None


def name_in(value: object) -> str:
    """Return a name, or the name in an object; empty for anything else, and for one that shows nothing."""
    return text_in(value.get("name") if isinstance(value, dict) else value) or ""


def player_of(metadata: Mapping[str, Any]) -> str:
    """Return the name of the player."""
    return name_in(metadata.get("player")) or name_in(metadata.get("scorer"))


def card_of(event_type: str, metadata: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many yellow, and how many red cards a booking counts as; a second yellow is one of each."""
    if event_type in ("yellow_card", "red_card"):
        colour = {"yellow_card": "yellow", "red_card": "red"}[event_type]
    else:
        value = metadata.get("card")
        colour = value.lower() if isinstance(value, str) else "yellow"
    return {"second_yellow": (1, 1), "red": (0, 1)}.get(colour, (1, 0))


def moment_of(value: object) -> int | None:
    """Return a moment in ISO 8601 with an offset as ms since the epoch."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return round(moment.timestamp() * 1000) if moment.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None
