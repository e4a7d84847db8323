"""Each sync of ``shards`` taken out of a copy of the code, one at a time: does the explorer notice?"""

import ast
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from tests.paths import ROOT

SYNC = re.compile("fsync|fdatasync|sync_[a-z_]+|rewrite_[a-z_]+")
"""Names of functions that make something durable. `ShardLog.sync` and `SegmentWriter.sync` end in one of them."""

SHORT = ("--until-wrong", "--short", "log", "--short", "letters", "--short", "twice")
SAMPLES = ("--states", "3000", "--seed", "1", "--processes", "1")
MORE = ("--states", "40000", "--seed", "2", "--processes", "1")
DEADLINE_S = 1800.0


@attrs.frozen
class Sync:
    """One call that makes something durable: where it is in the code, from and to which character."""

    path: Path
    line: int
    text: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.text}"

    def taken_out_of(self, source: str) -> str:
        """Return the source without the call; its lines keep their numbers."""
        encoded = source.encode()
        return (encoded[: self.start] + b"None" + encoded[self.end :]).decode()


def syncs(root: Path = ROOT) -> Iterator[Sync]:
    """Yield every sync in ``shards``, file by file."""
    for path in sorted((root / "shards").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        starts = [0]
        for line in source.encode().splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and SYNC.fullmatch(_name_of(node)):
                start = starts[node.lineno - 1] + node.col_offset
                end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
                yield Sync(path.relative_to(root), node.lineno, ast.unparse(node), start, end)


def _name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def noticed(sync: Sync | None) -> str:
    """Explore a copy of the code without a sync (None: the code as it is); return what is noticed, empty: nothing.

    First all short histories, then samples of long ones, then many more of these.
    """
    with tempfile.TemporaryDirectory(prefix="ablation-") as directory:
        copy = Path(directory)
        for package in ("shards", "tests/power"):
            shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
        for module in ("tests/syscalls.py", "tests/paths.py"):
            shutil.copy(ROOT / module, copy / module)
        if sync is not None:
            changed = copy / sync.path
            changed.write_text(sync.taken_out_of(changed.read_text(encoding="utf-8")), encoding="utf-8")
        return _wrong_in(copy, SHORT) or _wrong_in(copy, SAMPLES) or (_wrong_in(copy, MORE) if sync is not None else "")


def _wrong_in(code: Path, options: Sequence[str]) -> str:
    command = [sys.executable, "-m", "tests.power", *options]
    ended = subprocess.run(command, cwd=code, capture_output=True, text=True, timeout=DEADLINE_S)
    if ended.returncode == 0:
        return ""
    found = re.findall(r"^(\w[\w ]*): (.*)$", ended.stderr, re.MULTILINE)
    return f"{found[0][0]}: {found[0][1]}" if found else ended.stderr.strip().splitlines()[-1]


def run(processes: int) -> int:
    """Take out each sync, print what is noticed, and name those that nobody misses. Return the exit code."""
    if whole := noticed(None):
        print(f"the code as it is has a fault already, so nothing can be told: {whole}")
        return 1
    found = list(syncs())
    unnoticed = []
    with ThreadPoolExecutor(processes) as pool:
        for sync, what in zip(found, pool.map(noticed, found), strict=True):
            print(f"{sync}\n    {what or 'NOT NOTICED'}", flush=True)
            if not what:
                unnoticed.append(sync)
    print(f"{len(found) - len(unnoticed)} of {len(found)} are noticed")
    return 1 if unnoticed else 0
