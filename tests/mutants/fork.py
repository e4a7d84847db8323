"""A process that has everything imported but what is changed, and runs tests in a child of its own each time.

It is started in a copy of the tree. Each line it reads is a JSON list of tests, seconds for all, and seconds for each;
for each it writes a line: the exit code of pytest, -1 after the seconds for all, -2 if the child ended otherwise; and
the test that failed first.
"""

import ctypes
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

FIRST = (
    *("aiohttp", "aiohttp_jinja2", "asynch.proto.connection", "attrs", "cachetools", "cattrs", "hypothesis", "msgspec"),
    *("structlog", "uuid_utils", "prometheus_client", "_pytest.assertion.rewrite", "pytest_asyncio", "pytest_timeout"),
    *("unittest.mock", "multiprocessing", "concurrent.futures.thread", "jsonschema", "yaml"),
)
PR_SET_PDEATHSIG = 1
MEMORY_MAX_BYTES = 6 << 30
OUT_OF_TIME, DIED = -1, -2


class FirstFailure:
    """A plugin of pytest: limits each test by the time it usually takes, and keeps the name of the first that fails."""

    def __init__(self, limits_s: dict[str, float]) -> None:
        self.name = ""
        self._limits_s = limits_s

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            item.add_marker(pytest.mark.timeout(self._limits_s.get(item.nodeid, 60)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid


def _run(tests: list[str], limits_s: dict[str, float], answer: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    with Path("output.log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX_BYTES, resource.RLIM_INFINITY))
    first = FirstFailure(limits_s)
    options = ["-x", "-q", "--basetemp=tmp", "--hypothesis-seed=0", "--tb=short"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of the plugins that are imported already
    code = pytest.main(
        [*options, *(f"-p no:{name}" for name in ("cacheprovider", "xdist", "pytest_cov")), *tests], [first]
    )
    os.write(answer, json.dumps([int(code), first.name]).encode())
    os._exit(0)  # whatever threads a changed service has left


def _has_ended(child: int, limit_s: float) -> bool:
    """Return once the child has ended, or was ended after ``limit_s`` seconds; with it ends all that it started."""
    deadline = time.monotonic() + limit_s
    pause_s = 0.01
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(pause_s)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return True


def main() -> None:
    """Answer until the end of the input."""
    for name in FIRST:
        importlib.import_module(name)
    for line in sys.stdin:
        limit_s, limits_s = json.loads(line)
        receiving, answering = os.pipe()
        child = os.fork()
        if not child:
            os.close(receiving)
            _run(list(limits_s), limits_s, answering)
        os.close(answering)
        unanswered = json.dumps([DIED if _has_ended(child, limit_s) else OUT_OF_TIME, ""])
        answer = os.read(receiving, 4096)  # a pipe whose other end is closed: nothing came, or all
        os.close(receiving)
        shutil.rmtree("tmp", ignore_errors=True)
        print(answer.decode() or unanswered, flush=True)


if __name__ == "__main__":
    main()
