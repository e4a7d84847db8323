"""Lines that our own modules logged during a test."""

from typing import Any

import pytest


def lines_of(caplog: pytest.LogCaptureFixture, event: str = "") -> list[dict[str, Any]]:
    """Return event and fields of each line, of this event or of all, with its ``level``, in the order of time."""
    lines = [
        record.msg | {"level": record.levelname.lower()} for record in caplog.records if isinstance(record.msg, dict)
    ]
    return [line for line in lines if event in ("", line["event"])]
