"""Directions between the packages, read from the imports: ``templates ← app → shards``."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
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
CONCRETE_STORES = {"shards.stores.embedded", "shards.stores.server"}


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
