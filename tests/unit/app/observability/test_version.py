"""Which release runs: in a checkout, in a wheel, and where nobody knows."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from app.observability.version import commit_of, version_text
from tests.paths import ROOT


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def test_a_checkout_names_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    package = tmp_path / "app"
    package.mkdir()
    assert commit_of(package) == "", "no checkout, and no file of a wheel"
    git(tmp_path, "init", "--quiet")
    (package / "module.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert commit_of(package) == commit
    (package / "module.py").write_text("changed")
    assert commit_of(package) == f"{commit}-dirty"
    (package / "COMMIT").write_text("abc\n")
    assert commit_of(package) == "abc", "what a wheel says was so when it was built"


def test_the_command_shows_it() -> None:
    command = [sys.executable, "-m", "app", "--version"]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    assert shown == f"fanfinity {version_text()}\n"
    assert shown.startswith("fanfinity 0.1.0 (commit ")


def test_a_wheel_carries_its_commit(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(checkout))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    own = tmp_path / "temporary"
    own.mkdir()
    environment = os.environ | {"TMPDIR": str(own)}
    subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True, timeout=120)
    assert list(own.iterdir()) == [], "the build leaves nothing behind"
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as built:
        assert built.read("app/COMMIT").decode().strip() == git(checkout, "rev-parse", "HEAD")[:12]
        assert "app/templates/base.html" in built.namelist()
