"""How long the event loop of a service stands, as the loop's own thread counts it, told through a file in memory.

The service runs as it always does, on uvloop, with nothing of Python in between: a library that is loaded before the C
library (``standing.c``) stands around the one call in which uvloop waits for events, and takes the thread's processor
time there. asyncio's own loop could be measured in Python, but is another one: its transports cost other times. uvloop
has no hook for a round, and its debug mode tells time by the clock, which on a shared machine is that of others too. It
costs a round about a microsecond, two thirds of which is for the time by the clock.
"""

import mmap
import shutil
import struct
import subprocess
import time
from pathlib import Path

import attrs

from tests.faults.clock import NoCompiler

SOURCE = Path(__file__).parent / "standing.c"

_PAGE = struct.Struct("=6Q")
_WORD = struct.Struct("=Q")
_DEADLINE_S = 120.0


@attrs.frozen
class Stand:
    """The longest time between two waits of the event loop for events, since the last :meth:`Standing.begin`.

    Attributes:
        cpu_ms: processor time of the loop's thread.
        held_ms: by the clock, without the time in the queue for a processor: what the loop waited for besides, such as
            a thread that keeps the interpreter to itself, or the disk. Other processes can make it longer.
    """

    cpu_ms: float
    held_ms: float


class Standing:
    """What a process must be started with so that the stands of its event loop are known here."""

    def __init__(self, directory: Path) -> None:
        """Build the library; NoCompiler where that is not possible."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoCompiler("no C compiler (cc) found")
        library, file = directory / "standing.so", directory / "standing"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", library, SOURCE, "-ldl"], check=True)
        file.write_bytes(bytes(mmap.PAGESIZE))
        with file.open("r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), mmap.PAGESIZE)
        self.environment = {"LD_PRELOAD": str(library), "STANDING_FILE": str(file)}

    def close(self) -> None:
        """Let go of the file."""
        self._page.close()

    @property
    def rounds(self) -> int:
        """How many rounds the loop has made."""
        return int(_PAGE.unpack_from(self._page)[2])

    @property
    def is_waiting(self) -> bool:
        """Whether the loop waits for events, so that all that it did is in the figures."""
        return bool(_PAGE.unpack_from(self._page)[3])

    def begin(self) -> None:
        """Forget the stands so far, once the loop waits."""
        self._wait()
        (epoch,) = _WORD.unpack_from(self._page)
        _WORD.pack_into(self._page, 0, epoch + 1)

    def longest(self) -> Stand:
        """Return the longest stand since the last `begin`, once the loop waits."""
        self._wait()
        epoch, begun, _, _, cpu_ns, held_ns = _PAGE.unpack_from(self._page)
        return Stand(cpu_ns / 1e6, held_ns / 1e6) if epoch == begun else Stand(0.0, 0.0)

    def _wait(self) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not self.is_waiting:
            assert time.monotonic() < deadline, f"the event loop has not waited for {_DEADLINE_S:g} s"
            time.sleep(0.001)
