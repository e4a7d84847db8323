"""The machine a benchmark ran on, as lines for the report. Reads Linux's own files; leaves out what is not there."""

import os
import platform
import shutil
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

SYNC_BYTES = 10_000
SYNCS = 200


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


def speed_ms() -> float:
    """Return how long a million additions take here and now: machines that are shared are not always as fast."""
    return min(_additions_ms() for _ in range(3))


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
