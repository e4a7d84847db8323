"""Names with one meaning, and docstrings that are read once: see ``docs/STYLE.md``."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

READ_TWICE = re.compile(
    r"(?:(?:At most|For|To|Up to) )?[Ss]o (?:many|much|often|long|far|lately)\b|Of\b|Who\b|Whose\b|What of\b"
)
"""Openings after which the subject comes too late."""


def _modules() -> list[Path]:
    return sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "shards").rglob("*.py")])


def test_no_two_classes_have_the_same_name() -> None:
    places: dict[str, list[str]] = {}
    for module in _modules():
        for node in ast.parse(module.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(str(module.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_docstrings_begin_with_their_subject() -> None:
    late = [f"{where}: {text.splitlines()[0]}" for where, text in _docstrings() if READ_TWICE.match(text)]
    assert late == []


def _docstrings() -> Iterator[tuple[str, str]]:
    """Yield every string that stands alone: docstrings, and those of constants."""
    for module in _modules():
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{module.relative_to(ROOT)}:{node.lineno}", node.value.value.strip()
