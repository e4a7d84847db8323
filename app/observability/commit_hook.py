"""A hook of the build that puts into a wheel the commit that it is built from."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface[Any]):
    """Writes ``app/COMMIT`` into a wheel; an editable install asks git each time instead."""

    _file: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file to what is built. ``version`` is the kind of wheel, ``standard`` or ``editable``."""
        sys.path.insert(0, self.root)  # the package is not installed yet
        from app.observability.version import COMMIT_FILE, commit_of

        if version == "editable" or not (commit := commit_of(Path(self.root, "app"))):
            return
        with tempfile.NamedTemporaryFile("w", encoding="ascii", delete=False) as file:
            file.write(f"{commit}\n")
        build_data["force_include"][file.name] = f"app/{COMMIT_FILE}"
        self._file = Path(file.name)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the file that the wheel has a copy of."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
