"""Names with one meaning: see ``docs/STYLE.md``."""

import ast
from pathlib import Path

from tests.paths import ROOT


def _modules() -> list[Path]:
    return sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "shards").rglob("*.py")])


def test_no_two_classes_have_the_same_name() -> None:
    places: dict[str, list[str]] = {}
    for module in _modules():
        for node in ast.parse(module.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(str(module.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
