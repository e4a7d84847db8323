"""What a line looks like, as text and as JSON, whoever logs it."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app.config import Config
from app.observability import logs

_log = structlog.stdlib.get_logger("some.part")
_library = logging.getLogger("some.library")

FORGED = "one\n2026-01-01T00:00:00.000Z [info     ] two\r\x1b[2K\u2028\x85three"
"""Ends a line, clears it, moves the cursor: as text none of it may reach the terminal."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Configuring replaces the root logger's handlers, pytest's among them."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    yield
    logging.captureWarnings(capture=False)
    root.handlers, root.level = handlers, level
    logs.note_request("")


def _configured(**settings: Any) -> io.StringIO:
    """Where lines go to from now on."""
    stream = io.StringIO()
    logs.configure(Config(**settings), stream=stream)
    return stream


def _record(stream: io.StringIO) -> dict[str, Any]:
    """The only line, which is JSON, without its time."""
    (line,) = stream.getvalue().splitlines()
    record: dict[str, Any] = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    return record


def _fail(message: str) -> None:
    secret = "kept in a variable"
    raise RuntimeError(message + secret[:0])


def test_json_is_one_object_a_line_with_the_fields_behind_the_event() -> None:
    stream = _configured(log_format="json")
    _log.debug("too quiet")
    _log.warning("rows sent again", shard=3, rows=12, reason=FORGED)
    record = _record(stream)
    assert list(record) == ["level", "logger", "event", "shard", "rows", "reason"]
    assert record == {
        "level": "warning",
        "logger": "some.part",
        "event": "rows sent again",
        "shard": 3,
        "rows": 12,
        "reason": FORGED,
    }


def test_text_is_one_line_for_people() -> None:
    stream = _configured(log_format="text")
    _log.warning("rows sent again", shard=3, reason="not there")
    (line,) = stream.getvalue().splitlines()
    assert re.fullmatch(
        r"\S+T\S+\.\d{3}Z \[warning  \] rows sent again +\[some\.part\] shard=3 reason='not there'", line
    )


@pytest.mark.parametrize(("log_format", "level"), [("json", '"warning"'), ("text", "[warning  ]")])
def test_a_librarys_line_has_the_same_form(log_format: str, level: str) -> None:
    stream = _configured(log_format=log_format)
    _library.info("%d of %s", 3, FORGED)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    said, warned = stream.getvalue().splitlines()
    assert "3 of one" in said
    assert "some.library" in said
    assert "py.warnings" in warned
    assert level in warned
    assert "DeprecationWarning: old" in warned
    if log_format == "json":
        assert json.loads(said)["event"] == f"3 of {FORGED}"


def test_what_is_logged_poses_as_no_line_of_text() -> None:
    stream = _configured(log_format="text")
    _library.info("%s", FORGED)
    _log.info("with a field", reason=FORGED)
    for line in stream.getvalue().split("\n")[:-1]:
        assert line.isprintable()
        assert r"one\n2026" in line
        assert r"two\r\x1b[2K" in line
    assert len(stream.getvalue().splitlines()) == 2


@pytest.mark.parametrize(("stream", "is_json"), [(Terminal(), False), (io.StringIO(), True)])
def test_the_format_follows_the_terminal_where_none_is_set(stream: io.StringIO, is_json: bool) -> None:
    logs.configure(Config(), stream=stream)
    _log.info("an event")
    assert stream.getvalue().startswith("{") is is_json


@pytest.mark.parametrize(("stream", "coloured"), [(Terminal(), True), (io.StringIO(), False)])
def test_text_is_coloured_on_a_terminal_only(stream: io.StringIO, coloured: bool) -> None:
    logs.configure(Config(log_format="text"), stream=stream)
    _log.info("an event")
    assert ("\x1b[" in stream.getvalue()) is coloured


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_line_carries_the_id_of_its_request_and_no_other(log_format: str) -> None:
    stream = _configured(log_format=log_format)
    _log.info("before")
    logs.note_request("req-17")
    _log.info("within", shard=1)
    _library.info("of a library")
    logs.note_request("req-18")
    _log.info("of the next")
    before, *within, of_the_next = stream.getvalue().splitlines()
    assert "request_id" not in before
    assert all("req-17" in line for line in within)
    assert "req-18" in of_the_next
    if log_format == "json":
        assert list(json.loads(within[0]))[-2:] == ["shard", "request_id"]


@pytest.mark.parametrize("logger", [_log, _library])
def test_in_json_a_traceback_is_a_field(logger: Any) -> None:
    stream = _configured(log_format="json")
    try:
        _fail("broken")
    except RuntimeError:
        logger.exception("it failed")
    record = _record(stream)
    assert (record["event"], record["level"]) == ("it failed", "error")
    assert record["exception"].startswith("Traceback (most recent call last):\n")
    assert record["exception"].endswith("\nRuntimeError: broken")


@pytest.mark.parametrize("coloured", [True, False])
def test_in_text_a_traceback_follows_and_poses_as_no_line(coloured: bool) -> None:
    stream = Terminal() if coloured else io.StringIO()
    logs.configure(Config(log_format="text"), stream=stream)
    try:
        _fail(FORGED)
    except RuntimeError as error:
        _log.error("it failed", shard=3, exc_info=error)
    first, *traceback = stream.getvalue().split("\n")[:-1]
    assert "it failed" in first
    assert traceback[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") and line.isprintable() for line in traceback)
    assert r"  RuntimeError: one" in traceback


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_shows_no_values_of_variables(log_format: str) -> None:
    """They may be events or keys."""
    stream = _configured(log_format=log_format)
    try:
        _fail("broken")
    except RuntimeError:
        _log.exception("it failed")
    assert "RuntimeError: broken" in stream.getvalue()
    assert stream.getvalue().count("kept in a variable") == 0


def test_the_level_is_the_least_severe_that_is_logged() -> None:
    stream = _configured(log_level="ERROR", log_format="json")
    _log.warning("not this")
    _library.warning("nor this")
    _log.error("but this")
    assert _record(stream)["event"] == "but this"


def test_of_asynch_only_errors_are_logged_because_it_quotes_statements() -> None:
    stream = _configured(log_level="DEBUG", log_format="json")
    logging.getLogger("asynch.proto").warning("INSERT INTO events …")
    logging.getLogger("asynch.proto").error("closed")
    assert _record(stream)["event"] == "closed"
