"""Numbers and moments as the pages show them."""

from datetime import UTC, datetime

UNKNOWN = "\u2013"
"""The sign for a value that is not known."""

MINUTE_SIGN = "\u2032"
THOUSANDS_SEPARATOR = "\u202f"
SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: int) -> str:
    """Return a count, its thousands set apart by a narrow space that does not break."""
    return f"{value:,}".replace(",", THOUSANDS_SEPARATOR)


def rate(per_second: float | None) -> str:
    """Return a rate: whole, or with one decimal below ten; :data:`UNKNOWN` for None."""
    if per_second is None:
        return UNKNOWN
    return f"{per_second:.1f}" if 0 < per_second < 9.95 else number(round(per_second))


def size(bytes_: int) -> str:
    """Return a size in the largest unit that leaves at least 1: ``1.5 MiB``."""
    value, unit = float(bytes_), 0
    while value >= 1024 and unit < len(SIZE_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {SIZE_UNITS[unit]}" if unit == 0 else f"{value:.1f} {SIZE_UNITS[unit]}"


def percent(share: float) -> str:
    """Return a share, 0 to 1, in whole percent: ``62 %``."""
    return f"{100 * share:.0f}{THOUSANDS_SEPARATOR}%"


def milliseconds(value: float | None) -> str:
    """Return a duration given in ms: ``12.3 ms``; :data:`UNKNOWN` for None."""
    return UNKNOWN if value is None else f"{value:.1f} ms"


def match_minute_text(minute: int, added: int | None = None) -> str:
    """Return a minute of a match, with the added time where there is any: ``63`` or ``45+2``, and the sign for it."""
    return f"{minute}{f'+{added}' if added else ''}{MINUTE_SIGN}"


def cut(text: str, most: int) -> str:
    """Return a text of at most so many characters, the rest of a longer one replaced by a sign."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\u2026"


def time_of_day(timestamp_ms: int) -> str:
    """Return hours and minutes, UTC: ``14:05``."""
    return datetime.fromtimestamp(timestamp_ms // 1000, UTC).strftime("%H:%M")
