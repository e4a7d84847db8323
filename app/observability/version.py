"""The release of this service, and its commit."""

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

PACKAGE: Final = "fanfinity-analytics"
COMMIT_FILE: Final = "COMMIT"
"""Name of the file, in the package ``app``, that a wheel has: see :mod:`app.observability.commit_hook`."""

_PACKAGE_DIRECTORY: Final = Path(__file__).resolve().parents[1]
_TIMEOUT_S: Final = 5


def version_text() -> str:
    """Return ``0.1.0 (commit 1a2b3c4d5e6f)``; ``-dirty`` follows the commit where a checkout has been changed since."""
    release, commit = build()
    return f"{release} (commit {commit or 'unknown'})"


def build() -> tuple[str, str]:
    """Return the release, and its commit as :func:`version_text` has it; "" where it is not known."""
    return version(PACKAGE), commit_of(_PACKAGE_DIRECTORY)


def commit_of(package: Path) -> str:
    """Return the commit of an installed package, or of the checkout that it lies in; "" where neither is known."""
    try:
        return (package / COMMIT_FILE).read_text(encoding="ascii").strip()
    except OSError:
        return _described(package.parent)


def _described(root: Path) -> str:
    if not (root / ".git").exists():
        return ""
    command = ("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)  # noqa: S603 (ours)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
