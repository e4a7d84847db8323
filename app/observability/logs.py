"""Log lines: an event name and fields, as text for people and as JSON for machines.

Modules log with ``structlog``, libraries with ``logging``; all of it goes through one handler of ``logging``, so that
all lines have the same form. Only the entry point configures it.
"""

import logging
import sys
from contextvars import ContextVar
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.config import Config
from app.times import iso_ms

_request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that the running task answers; empty outside of requests."""


def configure(config: Config, *, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (default: stderr) in the format and from the level of ``config``."""
    stream = stream or sys.stderr
    as_text = config.log_format == "text" or (not config.log_format and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_with_request],
            processors=[
                _in_order,
                structlog.processors.format_exc_info,
                *(_as_text(coloured=stream.isatty()) if as_text else _as_json()),
            ],
        )
    )
    hand_over()
    logging.basicConfig(level=config.log_level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # The console's telnet server logs each step of its negotiation.
    logging.getLogger("prompt_toolkit").setLevel(logging.WARNING)
    # The gate says that ClickHouse is away; at DEBUG asynch would log whole statements, and so events.
    logging.getLogger("asynch").setLevel(logging.ERROR)


def hand_over() -> None:
    """Have structlog hand each line to ``logging``: the message of the record is a dict, the event and its fields."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _with_request,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def note_request(request_id: str) -> None:
    """Put this id on every line of the running task from now on, and of the tasks that it starts."""
    _request_id.set(request_id)


def _with_request(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    if request_id := _request_id.get():
        line["request_id"] = request_id
    return line


def _in_order(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Return the fields in the order in which they are read; time, level and logger are those of the record."""
    record: logging.LogRecord = line.pop("_record")
    del line["_from_structlog"]
    request = {"request_id": line.pop("request_id")} if "request_id" in line else {}
    return {
        "time": iso_ms(round(record.created * 1000)),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": line.pop("event"),
        **line,
        **request,
    }


def _as_json() -> tuple[Processor, ...]:
    """One JSON object a line, all ASCII, because some readers end a line at other characters than a line feed, too."""
    return (structlog.processors.JSONRenderer(),)


def _as_text(*, coloured: bool) -> tuple[Processor, ...]:
    """``time [level] event [logger] field='value' …``; a traceback follows on lines of its own, which are indented."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=coloured,
        repr_native_str=True,  # escapes what is not printable in the values of fields
        exception_formatter=structlog.dev.plain_traceback,  # others show the values of variables, and so events
        sort_keys=False,
        timestamp_key="time",
    )
    return _printable, renderer


def _printable(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Escape control characters where the renderer does not, so that nothing that was logged can pose as a line."""
    line["event"] = _escaped(str(line["event"]))
    if traceback := line.get("exception"):
        line["exception"] = "\n".join(f"  {_escaped(part)}" for part in traceback.split("\n"))
    return line


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
