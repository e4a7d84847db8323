"""Moments as text: ISO 8601 in UTC, as the API shows them."""

import time
from datetime import UTC, datetime
from functools import lru_cache


def iso_ms(timestamp_ms: int) -> str:
    """Return ms since the epoch as ISO 8601 in UTC with milliseconds: ``2024-01-15T14:00:00.000Z``."""
    seconds, rest_ms = divmod(timestamp_ms, 1000)
    return f"{_iso_second(seconds)}.{rest_ms:03d}Z"


def iso_s(timestamp_ms: int) -> str:
    """Return the start of a minute or bucket as ISO 8601 in UTC without a fraction: ``2024-01-15T14:00:00Z``."""
    return f"{_iso_second(timestamp_ms // 1000)}Z"


def iso_of(moment: datetime) -> str:
    """Return a moment with a zone as ISO 8601 in UTC with milliseconds."""
    return iso_ms(round(moment.timestamp() * 1000))


def iso_now() -> str:
    """Return the present moment by the wall clock, as :func:`iso_ms`."""
    return iso_ms(time.time_ns() // 1_000_000)


@lru_cache(maxsize=1024)
def _iso_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
