"""The wall clock of the service, set back and forward while it runs."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "clock.c"


class NoCompiler(Exception):
    """There is no C compiler on this machine."""


class MovedClock:
    """What a process must be started with so that :meth:`move` moves its clock."""

    def __init__(self, directory: Path) -> None:
        """Build the library; NoCompiler where that is not possible."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoCompiler("no C compiler (cc) found")
        library = directory / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
        self._file = directory / "clock"
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "FAULTS_CLOCK_FILE": str(self._file)}

    def move(self, seconds: int) -> None:
        """Have the clock show so much more than the true time; less, where it is negative."""
        with self._file.open("r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))
