"""Log records as lines: text for people, JSON for machines. Configured by the entry point only."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from app.config import Config

REQUEST: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that the running task answers; empty outside of requests."""


def configure(config: Config, *, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (default: stderr) in the format and from the level of ``config``."""
    stream = stream or sys.stderr
    as_text = config.log_format == "text" or (not config.log_format and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.addFilter(add_request_id)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    logging.basicConfig(level=config.log_level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # The console's telnet server logs each step of its negotiation.
    logging.getLogger("prompt_toolkit").setLevel(logging.WARNING)
    # The gate says that ClickHouse is away; at DEBUG asynch would log whole statements, and so events.
    logging.getLogger("asynch").setLevel(logging.ERROR)


def add_request_id(record: logging.LogRecord) -> bool:
    """Note on the record the request it was made in; every record passes."""
    record.request_id = REQUEST.get()
    return True


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time level logger message``, and ``request_id`` and ``exception`` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", ""):
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """``time level message (logger, request)``; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; control characters of the message are escaped, so that none can pose as two."""
        request_id = getattr(record, "request_id", "")
        origin = f"{record.name}, request {request_id}" if request_id else record.name
        message = "".join(_printable(character) for character in record.getMessage())
        line = f"{_time(record)} {record.levelname:<7} {message} ({origin})"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
