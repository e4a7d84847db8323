"""Which test reaches which line of the core, and how long it takes: from one run of all of them with coverage."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import crc32

import attrs
import pytest
from coverage import CoverageData

from tests.mutants.operators import Mutant
from tests.paths import ROOT

QUICK = ("tests/unit/shards", "tests/unit/test_events.py", "tests/unit/app/live", "tests/power")
SLOW = ("tests/contract",)
DURATIONS = "durations.json"
KNOWN = Path(__file__).parent / ".reach"
"""What the last run found, by the files it ran on. Not in the repository."""


class Durations:
    """A plugin of pytest: writes the seconds that each test took, and only of those that passed."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        passed = {test: seconds for test, seconds in self._seconds.items() if test not in self._failed}
        Path(DURATIONS).write_text(json.dumps(passed))


@attrs.frozen
class Reach:
    """``tests_by_line`` has the tests by file and line, ``seconds`` the duration of each test that passes."""

    tests_by_line: Mapping[str, Mapping[int, frozenset[str]]]
    seconds: Mapping[str, float]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that reach a change, the shortest first; all of its file if it acts at the import."""
        lines = self.tests_by_line.get(mutant.module, {})
        first, last = mutant.lines
        reached = [lines[line] for line in range(first, last + 1) if line in lines]
        tests = frozenset().union(*reached)
        if reached and not tests:
            tests = frozenset().union(*lines.values()) or frozenset(self.seconds)
        return sorted((test for test in tests if test in self.seconds), key=lambda test: (self.seconds[test], test))


def reach_of(tree: Path, tests: Sequence[str], **environment: str) -> Reach:
    """Run tests in a copy of the tree, with coverage, and return what each reaches."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.mutants.reach", "-n", "2", "--dist", "loadfile"]
    options += ["--cov=shards", "--cov=app/live", "--cov-context=test", "--cov-report="]
    there = [test for test in tests if (tree / test).exists()]
    subprocess.run(
        [sys.executable, "-m", "pytest", "--basetemp=tmp", *options, *there],
        cwd=tree,
        env={**os.environ, **environment, "COVERAGE_FILE": "reach"},
        check=False,
        stdout=subprocess.DEVNULL,
    )
    data = CoverageData(str(tree / "reach"))
    data.read()
    by_line = {
        str(Path(file).relative_to(tree)): {
            line: frozenset(context.partition("|")[0] for context in contexts if context)
            for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    return Reach(by_line, json.loads((tree / DURATIONS).read_text()))


def known_reach(tree: Path, tests: Sequence[str], **environment: str) -> Reach:
    """Return what each test reaches: as a run on the same files has found, else from a run now."""
    files = [path for name in ("shards", "app/live", *tests) for path in sorted((ROOT / name).rglob("*.py"))]
    kept = KNOWN / f"{crc32(b''.join(path.read_bytes() for path in files)):08x}.pickle"
    if kept.exists():
        known: Reach = pickle.loads(kept.read_bytes())
        return known
    found = reach_of(tree, tests, **environment)
    KNOWN.mkdir(exist_ok=True)
    kept.write_bytes(pickle.dumps(found))
    return found


def pytest_configure(config: pytest.Config) -> None:
    """Take part in a run that names this module as a plugin: in the process that hears of all tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Durations())
