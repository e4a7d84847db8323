"""Programs that the tests of this folder call."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.paths import ROOT

_OWN = str(ROOT / ".tools" / "bin")
_GO = ("/usr/local/go/bin", str(Path.home() / "go" / "bin"))
PLACES: Final = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/usr/local/sbin", *_GO, _OWN))
"""Where programs are looked for: tests/system/install puts them into some of these."""


def tool(name: str) -> str:
    """Return the path of a program; without it the test is skipped by name, but in CI it fails."""
    found = shutil.which(name, path=PLACES)
    if found is None:
        missing(f"no {name} found")
    return found


def missing(what: str) -> NoReturn:
    """End the test, because the machine does not have what it needs."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def run(*command: str | Path, timeout_s: float = 60, **options: object) -> str:
    """Return what a program printed; AssertionError with all of it where it fails."""
    ended = subprocess.run(  # type: ignore[call-overload]
        [str(part) for part in command], capture_output=True, text=True, timeout=timeout_s, **options
    )
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return str(ended.stdout)
