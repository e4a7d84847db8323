"""The runs: for each change the quick tests that reach it, then those with a ClickHouse, until one fails."""

import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self

import attrs

from tests.clickhouse import ClickHouseServer
from tests.mutants.fork import OUT_OF_TIME
from tests.mutants.operators import Mutant
from tests.mutants.reach import KNOWN, QUICK, SLOW, Reach, known_reach
from tests.paths import ROOT

COPIED = ("app", "shards", "templates", "tests", "docs", "pyproject.toml", "README.md")
SLOW_MAX_S = 20.0
"""Seconds of tests with a ClickHouse for one change at random, as they usually take; of more the shortest are taken."""
AIMED_MAX_S = 120.0
"""The same for one that is aimed at a promise."""
MEMORY = Path("/dev/shm")
NOTICED = KNOWN / "noticed.json"
"""The test that noticed each change last time: it is tried first the next time. Not in the repository."""


@attrs.frozen
class Fate:
    """What became of one change: ``by`` is the test that noticed it, "time" if none ended; "" if none did.

    ``tests`` counts those that reach it.
    """

    mutant: Mutant
    by: str
    tests: int


class Worker:
    """A copy of the tree, and the process that runs tests there."""

    def __init__(self, tree: Path, environment: Mapping[str, str]) -> None:
        self._tree = tree
        self._environment = environment
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.fork"],
            cwd=self._tree,
            env={**os.environ, **self._environment, "PYTHONPATH": str(self._tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, limits_s: Mapping[str, float], *, usual_s: float) -> str:
        """Run tests until one fails; return its name, "time" if there was no end, "" if all pass."""
        request = json.dumps([30 + 4 * usual_s, limits_s])
        if not (answer := self._asked(request)):  # a test, or somebody else, has killed it
            self.close()
            self._process = self._start()
            answer = self._asked(request)
        code, failed = json.loads(answer)
        if code == OUT_OF_TIME:
            return "time"
        return failed or (f"the end of pytest with {code}" if code else "")

    def _asked(self, request: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()
        return self._process.stdout.readline()

    @contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """Hold the change in the copy of the tree."""
        path = self._tree / mutant.module
        source = path.read_bytes()
        _write_source(path, mutant.applied(source))
        try:
            yield
        finally:
            _write_source(path, source)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


class Hunt:
    """Copies of the tree, workers, a ClickHouse for all, and what each test reaches."""

    def __init__(self, *, workers: int, slow: bool) -> None:
        self._directory = tempfile.mkdtemp(prefix="mutants-", dir=MEMORY if MEMORY.is_dir() else None)
        self._clickhouse = ClickHouseServer(Path(self._directory) / "clickhouse") if slow else None
        if self._clickhouse is not None:
            self._clickhouse.may_abort = True
        self._reviving = threading.Lock()
        self._trees = [Path(self._directory) / f"tree-{number}" for number in range(workers)]
        for tree in self._trees:
            for name in COPIED:
                _copy(ROOT / name, tree / name)
            (tree / "tests/node_modules").symlink_to((ROOT / "tests/node_modules").resolve())
        self._environment = {"TEST_CLICKHOUSE_URL": ""}
        self._quick = self._slow = Reach({}, {})
        self._noticed: dict[str, str] = json.loads(NOTICED.read_text()) if NOTICED.exists() else {}

    def prepare(self) -> None:
        """Find out what each test reaches, unless it is known from a run on the same files."""
        if self._clickhouse is not None:
            self._clickhouse.start()
            self._environment["TEST_CLICKHOUSE_URL"] = self._clickhouse.url
            self._slow = known_reach(self._trees[0], SLOW, **self._environment)
        self._quick = known_reach(self._trees[0], QUICK, **self._environment)

    def fates(self, mutants: Sequence[Mutant], *, limit_s: float, tell: Callable[[Fate], None]) -> list[Fate]:
        """Return what becomes of each change, in this order; of those left after ``limit_s`` seconds nothing.

        They are tried in an order at random, so that those tried are a sample. ``tell`` hears of each at once.
        """
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in random.Random(len(mutants)).sample(range(len(mutants)), len(mutants)):
            todo.put(number)
        deadline = time.monotonic() + limit_s
        fates: dict[int, Fate] = {}

        def work(tree: Path) -> None:
            with Worker(tree, self._environment) as worker:
                self._check_unchanged(worker)
                with suppress(queue.Empty):
                    while time.monotonic() < deadline:
                        number = todo.get_nowait()
                        fates[number] = self._fate(worker, mutants[number])
                        self._noticed[_key(mutants[number])] = fates[number].by
                        tell(fates[number])

        try:
            with ThreadPoolExecutor(len(self._trees)) as threads:
                list(threads.map(work, self._trees))  # raises what a worker has raised
        finally:
            NOTICED.write_text(json.dumps(self._noticed))
        return [fates[number] for number in sorted(fates)]

    def _check_unchanged(self, worker: Worker) -> None:
        """Raise RuntimeError unless the quick tests pass without a change, because else all would count as noticed."""
        tests = sorted(self._quick.seconds, key=self._quick.seconds.__getitem__)
        if failed := _run(worker, self._quick, tests):
            raise RuntimeError(f"without any change: {failed}")

    def _fate(self, worker: Worker, mutant: Mutant) -> Fate:
        quick, slow = self._quick.tests_of(mutant), _on_one_store(self._slow.tests_of(mutant))
        near = [test for test in quick if is_near(test, mutant.module)]
        last = self._noticed.get(_key(mutant), "")
        with worker.changed(mutant):
            by = _run(worker, self._quick if last in quick else self._slow, [last]) if last in {*quick, *slow} else ""
            by = by or (_run(worker, self._quick, near) if near else "")
            by = by or (_run(worker, self._quick, quick) if len(quick) > len(near) else "")
            if not by and slow:
                self._revive()
                limit_s = AIMED_MAX_S if mutant.promise else SLOW_MAX_S
                by = _run(worker, self._slow, sorted(_within(limit_s, slow, self._slow)))
        return Fate(mutant, by, len(quick) + len(slow))

    def _revive(self) -> None:
        """Start ClickHouse again if a change has brought it down, because else all later ones would be noticed."""
        with self._reviving:
            if self._clickhouse is not None and not self._clickhouse.running:
                self._clickhouse.start()

    def close(self) -> None:
        """End ClickHouse and remove the copies."""
        if self._clickhouse is not None:
            self._clickhouse.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def is_near(test: str, module: str) -> bool:
    """Say whether a test is in the folder of the module's own tests, which notice most changes and are quickly read."""
    return test.startswith(f"tests/unit/{module.rpartition('/')[0]}/")


def _key(mutant: Mutant) -> str:
    return f"{mutant.module} {mutant.operator} {mutant.start} {mutant.change}"


def _write_source(path: Path, source: bytes) -> None:
    path.write_bytes(source)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()  # which would pass for a file of the same size and second


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    elif source.exists():
        shutil.copy2(source, target)


def _run(worker: Worker, reach: Reach, tests: Sequence[str]) -> str:
    """Run tests in this order; each has five seconds, and five times as long as it usually takes."""
    limits_s = {test: 5 + 5 * reach.seconds[test] for test in tests}
    return worker.run(limits_s, usual_s=sum(reach.seconds[test] for test in tests))


def _on_one_store(tests: Sequence[str]) -> list[str]:
    """Return the tests, but of those that reach a change over both stores only the ones over the server."""
    return [test for test in tests if "[embedded" not in test or test.replace("[embedded", "[server") not in tests]


def _within(limit_s: float, tests: Sequence[str], reach: Reach) -> Iterator[str]:
    """Yield the first tests, at least one, that take no longer than this together."""
    left_s = limit_s
    for test in tests:
        left_s -= reach.seconds[test]
        if left_s >= 0 or test == tests[0]:
            yield test


def hunted(
    mutants: Sequence[Mutant], *, workers: int, slow: bool, limit_s: float, tell: Callable[[Fate], None]
) -> list[Fate]:
    """Return what becomes of each change that there is time for."""
    with closing(Hunt(workers=workers, slow=slow)) as hunt:
        hunt.prepare()
        return hunt.fates(mutants, limit_s=limit_s, tell=tell)
