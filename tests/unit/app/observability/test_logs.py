import io
import json
import logging
from collections.abc import Iterator

import pytest

from app.config import Config
from app.observability import logs

_log = logging.getLogger("some.part")


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


def _logged(config: Config, stream: io.StringIO) -> str:
    logs.configure(config, stream=stream)
    _log.debug("too quiet")
    _log.info("shard %d: %s", 3, "line one\nFAKE two")
    return stream.getvalue()


def test_json_is_one_object_a_line_with_time_level_logger_and_message() -> None:
    (line,) = _logged(Config(log_format="json"), io.StringIO()).splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {"level": "INFO", "logger": "some.part", "message": "shard 3: line one\nFAKE two"}


def test_text_is_one_line_whatever_the_message_holds() -> None:
    (line,) = _logged(Config(log_format="text"), io.StringIO()).splitlines()
    assert line.endswith(r"INFO    shard 3: line one\nFAKE two (some.part)")


@pytest.mark.parametrize(("stream", "is_json"), [(Terminal(), False), (io.StringIO(), True)])
def test_the_format_follows_the_terminal_where_none_is_set(stream: io.StringIO, is_json: bool) -> None:
    assert _logged(Config(), stream).startswith("{") is is_json


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_record_carries_the_id_of_its_request_and_no_other(log_format: str) -> None:
    stream = io.StringIO()
    logs.configure(Config.from_env({"FANFINITY_LOG_FORMAT": log_format}), stream=stream)
    token = logs.REQUEST.set("req-17")
    _log.info("inside")
    logs.REQUEST.reset(token)
    _log.info("outside")
    inside, outside = stream.getvalue().splitlines()
    assert "req-17" in inside
    assert "request" not in outside


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_exception_is_logged_with_its_traceback(log_format: str) -> None:
    stream = io.StringIO()
    logs.configure(Config.from_env({"FANFINITY_LOG_FORMAT": log_format}), stream=stream)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        _log.exception("it failed")
    lines = stream.getvalue().splitlines()
    assert "RuntimeError: broken" in stream.getvalue()
    assert len(lines) == 1 if log_format == "json" else len(lines) > 1


def test_the_level_is_the_least_severe_that_is_logged() -> None:
    stream = io.StringIO()
    logs.configure(Config(log_level="ERROR"), stream=stream)
    _log.warning("not this")
    _log.error("but this")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["but this"]
