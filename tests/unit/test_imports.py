"""Directions between the folders, read from the imports: ``templates ← app → shards``, and folder by folder within."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

APP_LAYERS = (
    {"app/__main__"},
    {"app/commands"},
    {"app/server", "app/sending"},
    {"app/handlers", "app/dashboard"},
    {"app/context"},
    {"app/live"},
    {"app/engagement"},
    {"app/observability", "app/openapi", "app/bodies"},
    {"app/web"},
    {"app/schemas"},
    {"app/config"},
    {"app/setting_kinds", "app/times"},
    {"app/access"},
    {"app"},
    {"shards"},
)
"""Rooms of ``app``, from the top: each may import from those below it, and from none beside it or above."""

SHARDS_LAYERS = (
    {"shards"},
    {"shards/shardset"},
    {"shards/recovery"},
    {"shards/lookups", "shards/erasure"},
    {"shards/shard"},
    {"shards/audit", "shards/flush", "shards/reads"},
    {"shards/deadletters", "shards/stores"},
    {"shards/wal"},
    {"shards/tasks"},
    {"shards/receipts", "shards/observer", "shards/settings", "shards/clock", "shards/snapshot"},
    {"shards/events", "shards/runs"},
    {"shards/errors", "shards/logger"},
)
"""The same of ``shards``: some modules of its root lie above its folders, the others below."""

MODULES_MAX = {"app": 6, "shards": 14}
FOLDER_MAX = 16
LINES_MAX = 300
FUNCTION_LINES_MAX = 45

HTTP_PACKAGES = {
    "app",
    "aiohttp",
    "aiohttp_jinja2",
    "aiohttp_sse",
    "jinja2",
    "aiomonitor",
    "click",
    "prometheus_client",
}
CONCRETE_STORES = {"shards.EmbeddedStore", "shards.ServerStore"}


def _imported(module: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, as ``package.module`` and ``package.module.name``."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield str(node.module)


def _modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no modules in {package}"
    return found


@cache
def _internal(module: Path) -> frozenset[Path]:
    """The files of ``app`` and ``shards`` that a file imports."""
    found = set()
    for name in _imported(module):
        path = ROOT.joinpath(*name.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file() and name.split(".")[0] in ("app", "shards"):
                found.add(file)
    # ``from package import module`` names the module; the package's own file is meant only where it holds the name.
    packages = {file for file in found if file.name == "__init__.py"}
    return frozenset(found - {p for p in packages if any(f.parent == p.parent for f in found - {p})} - {module})


def _room(file: Path) -> str:
    """The second folder from the root, or the file itself where it lies in the root of its package."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[1] == "__init__" else "/".join(parts[:2])


def _layer(room: str, layers: tuple[set[str], ...]) -> int:
    found = [number for number, rooms in enumerate(layers) if room in rooms]
    assert len(found) == 1, f"{room} has no place in the layers of {Path(__file__).name}: give it one"
    return found[0]


@pytest.mark.parametrize(("package", "layers"), [("app", APP_LAYERS), ("shards", SHARDS_LAYERS)])
def test_arrows_go_one_way(package: str, layers: tuple[set[str], ...]) -> None:
    wrong = {
        f"{module.relative_to(ROOT)} imports {target.relative_to(ROOT)}"
        for module in _modules(package)
        for target in _internal(module)
        if _room(module) != _room(target) and _layer(_room(module), layers) >= _layer(_room(target), layers)
    }
    assert wrong == set()


def test_no_file_imports_itself_through_others() -> None:
    def reached_from(start: Path) -> set[Path]:
        seen: set[Path] = set()
        todo = [start]
        while todo:
            for target in _internal(todo.pop()) - seen:
                seen.add(target)
                todo.append(target)
        return seen

    modules = [*_modules("app"), *_modules("shards")]
    assert [str(module.relative_to(ROOT)) for module in modules if module in reached_from(module)] == []


def test_the_application_uses_only_the_door_of_shards() -> None:
    door = next(
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "shards/__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    names = {name for module in _modules("app") for name in _imported(module) if name.split(".")[0] == "shards"}
    assert names - {"shards"} == {f"shards.{name}" for name in door}


def test_rooms_are_of_a_size_to_live_in() -> None:
    modules = [*_modules("app"), *_modules("shards")]
    folders: dict[Path, int] = {}
    for module in modules:
        folders[module.parent] = folders.get(module.parent, 0) + 1
    wide = {str(folder.relative_to(ROOT)): count for folder, count in folders.items()}
    assert {name: count for name, count in wide.items() if count > MODULES_MAX.get(name, FOLDER_MAX)} == {}
    lines = {str(module.relative_to(ROOT)): len(module.read_text("utf-8").splitlines()) for module in modules}
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}
    functions = {
        f"{module.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module in modules
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in functions.items() if count > FUNCTION_LINES_MAX} == {}


def test_shards_needs_nothing_of_http() -> None:
    wrong = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in _modules("shards")
        for name in _imported(module)
        if name.split(".")[0] in HTTP_PACKAGES
    }
    assert wrong == set()


def test_only_the_context_names_concrete_stores() -> None:
    naming = {str(module.relative_to(ROOT)) for module in _modules("app") if CONCRETE_STORES & set(_imported(module))}
    assert naming == {"app/context.py"}


def test_templates_hold_no_code() -> None:
    assert list((ROOT / "templates").rglob("*.py")) == []


def test_the_service_starts_without_what_only_other_commands_need() -> None:
    code = "import sys, app.commands.serve; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert "aiohttp" in loaded
    assert {"kloppy", "pandas", "playwright", "aiomonitor", "prompt_toolkit", "chdb"}.isdisjoint(loaded)


def test_the_command_line_lists_its_commands_without_loading_them() -> None:
    code = "import sys; from app.__main__ import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert all(command in shown for command in ("serve", "simulate", "replay", "status"))
    assert "app.commands.serve" not in shown


def test_no_test_is_imported_by_others() -> None:
    """What several tests need has a module of its own: a fixture in a conftest.py, all else in a plain one."""
    wrong = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in _modules("tests")
        for name in _imported(module)
        if name.startswith("tests.") and ".test_" in name
    }
    assert wrong == set()
