"""The code of the release before, from the history of the repository."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.paths import ROOT

COMMIT = "63a552bc83b26a73b981d75b44c13970ef751c36"
_PARTS = ("app", "shards", "templates")


def code_of_the_release_before(directory: Path) -> Path | None:
    """Write its code into a directory, and return that; None where the history does not reach back to it.

    It runs with the packages of this release: ``python -m app`` finds the code where it is started.
    """
    git = shutil.which("git")
    if git is None:
        return None
    archive = subprocess.run([git, "-C", str(ROOT), "archive", COMMIT, *_PARTS], capture_output=True, check=False)
    if archive.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")
    return directory
