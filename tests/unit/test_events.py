"""How `app` and `shards` log: a constant event that can be searched for, and fields."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
EVENT = re.compile(r"[a-z][a-z0-9-]*( [a-z0-9-]+){1,5}")
RESERVED = {"time", "level", "logger", "event", "request_id", "exception"}
OF_LOGGING = {"app/observability/logs.py", "shards/logger.py"}
"""The two files that set `logging` up; others log with structlog."""


def _loggers(tree: ast.AST) -> set[str]:
    """Names that hold a logger."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if re.search(r"\bget_?logger$", ast.unparse(node.value.func), re.IGNORECASE)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call of a method of a logger, also of one that is not kept in a name."""
    names = _loggers(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            unnamed = node.func.attr in METHODS | {"log", "warn"} and re.match(r"(logging|structlog)\b", owner)
            if owner in names or unnamed:
                yield node


def _fault(call: ast.Call) -> str:
    """What is wrong with a call; empty where nothing is."""
    assert isinstance(call.func, ast.Attribute)
    fields = [keyword.arg for keyword in call.keywords]
    if call.func.attr not in METHODS:
        return "is none of the methods that say the level"
    if len(call.args) != 1:
        return "has an argument without a name, or no event"
    event = call.args[0]
    if not isinstance(event, ast.Constant) or not isinstance(event.value, str):
        return "has an event that is not constant"
    if not EVENT.fullmatch(event.value):
        return "has an event that is not a phrase of two to six lower-case words"
    if None in fields:
        return "has fields without their names"
    return f"has fields that every line has: {RESERVED & set(fields)}" if RESERVED & set(fields) else ""


def test_every_log_call_has_a_constant_event_and_named_fields() -> None:
    wrong, seen = [], 0
    for file in sorted([*ROOT.glob("app/**/*.py"), *ROOT.glob("shards/**/*.py")]):
        for call in _calls(ast.parse(file.read_text("utf-8"))):
            seen += 1
            if fault := _fault(call):
                wrong.append(f"{file.relative_to(ROOT)}:{call.lineno} {fault}")
    assert wrong == []
    assert seen > 30, "log calls are not found any more"


def test_nobody_logs_past_structlog() -> None:
    own = {
        str(file.relative_to(ROOT))
        for package in ("app", "shards")
        for file in ROOT.glob(f"{package}/**/*.py")
        if "logging.getLogger" in file.read_text("utf-8")
    }
    assert own == OF_LOGGING


@pytest.mark.parametrize(
    "call",
    [
        '_log.info(f"{rows} rows sent again")',
        '_log.info("%d rows sent again", rows)',
        '_log.info("rows sent again", rows)',
        '_log.info("rows sent " + again)',
        "_log.info(event)",
        "_log.info()",
        '_log.info("Rows sent again.")',
        '_log.info("rows")',
        '_log.info("rows sent again: {rows}")',
        '_log.info("rows sent again", **fields)',
        '_log.info(*("rows sent again",))',
        '_log.info("rows sent again", level=3)',
        '_log.log(20, "rows sent again")',
        '_log.bind(shard=1).info("rows sent again")',
        'logging.info("rows sent again", rows)',
        'structlog.get_logger().info("%d rows sent again")',
    ],
)
@pytest.mark.parametrize("logger", ["structlog.stdlib.get_logger", "get_logger", "logging.getLogger"])
def test_what_is_no_event_with_fields_is_found(call: str, logger: str) -> None:
    tree = ast.parse(f"_log = {logger}(__name__)\n{call}")
    assert [fault for one in _calls(tree) if (fault := _fault(one))]


def test_an_event_with_fields_is_right() -> None:
    (call,) = _calls(ast.parse('_log = get_logger(__name__)\n_log.error("rows sent again", rows=rows, exc_info=error)'))
    assert _fault(call) == ""
