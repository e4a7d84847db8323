"""The machine a benchmark ran on, as lines for the report. Reads Linux's own files; leaves out what is not there."""

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import attrs

SYNC_BYTES = 10_000
SYNCS = 200
READ_BYTES = 64 << 20
READS = 200_000


def code() -> str:
    """Return the commit that is measured, ``-dirty`` where files differ from it; empty where git cannot say."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "describe", "--always", "--dirty", "--abbrev=10"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def measured(before: str) -> str:
    """Return the commit; both where it is no more the one of ``before``, and the figures are of no one state."""
    after = code()
    return (before or "unknown") if before == after else f"changed during the run, from {before} to {after}"


def describe() -> dict[str, str]:
    """Return name and value of each line."""
    return {
        "CPU": f"{_field('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores",
        "Memory": _memory(),
        "Kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Packages": ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "asynch", "chdb")),
        "Disk": f"{_file_system(tempfile.gettempdir())}, fdatasync of 10 KB: {_sync_ms():.2f} ms (median)",
    }


@attrs.frozen
class Speed:
    """How fast the machine is at the moment: shared ones are not always as fast, nor in all they do.

    Attributes:
        additions_ms: a million additions, which need no memory.
        read_ns: a step through memory, of which no cache has the next place if others use it.
    """

    additions_ms: float
    read_ns: float

    @classmethod
    def now(cls) -> "Speed":
        """Measure it; takes half a second."""
        memory = bytearray(b"\1") * READ_BYTES
        return cls(min(_additions_ms() for _ in range(3)), min(_read_ns(memory) for _ in range(3)))


def speeds(found: Sequence[Speed]) -> str:
    """Return the fastest and the slowest."""
    additions, reads = [speed.additions_ms for speed in found], [speed.read_ns for speed in found]
    return (
        f"by CPython, between the benchmarks: 1,000,000 additions in {min(additions):.0f} to {max(additions):.0f} ms; "
        f"a step through {READ_BYTES >> 20} MB of memory, at random, in {min(reads):.0f} to {max(reads):.0f} ns"
    )


def _read_ns(memory: bytearray) -> float:
    place = 0
    started = time.perf_counter()
    for _ in range(READS):
        place = (place * 1_103_515_245 + 12_344 + memory[place]) % READ_BYTES
    return (time.perf_counter() - started) * 1e9 / READS


def _additions_ms() -> float:
    started = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number
    return (time.perf_counter() - started) * 1000


def _field(file: str, name: str) -> str:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _memory() -> str:
    kilobytes = _field("/proc/meminfo", "MemTotal").split()
    return f"{int(kilobytes[0]) / (1 << 20):.0f} GiB" if kilobytes else "unknown"


def _file_system(directory: str) -> str:
    """Return the type of the file system: on one in memory a sync costs nothing, and proves nothing."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown file system"
    above = {str(parent) for parent in (Path(directory).resolve(), *Path(directory).resolve().parents)}
    found = [(len(point), kind) for _, point, kind, *_ in mounts if point in above]
    return max(found)[1] if found else "unknown file system"


def _sync_ms() -> float:
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SYNCS):
            started = time.perf_counter()
            os.write(file.fileno(), bytes(SYNC_BYTES))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - started) * 1000)
    return sorted(took)[SYNCS // 2]
