"""``python -m tests.upgrade``: the way up, down and up again with as many rows as you like; figures for the guide.

Ends with an AssertionError at the first count that differs. ``--report`` writes what was measured into docs/UPGRADE.md.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import machine
from tests.bench.engines import ENGINES, engine_for_kills
from tests.paths import ROOT
from tests.upgrade.before import COMMIT, code_of_the_release_before
from tests.upgrade.trial import Trial

GUIDE = ROOT / "docs" / "UPGRADE.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
_MACHINE = ("CPU", "Memory", "Kernel", "Disk")


def main() -> None:
    """Run it."""
    asked = _asked()
    figures: list[tuple[str, str]] = []

    def say(name: str, what: str) -> None:
        figures.append((name, what))
        print(f"{datetime.now(UTC):%H:%M:%S}  {name}: {what}", flush=True)

    code = machine.code()
    described = machine.describe()
    load = Path("/proc/loadavg").read_text(encoding="ascii").split()[0]
    say("rows", f"{asked.made + asked.stored:,} stored, {asked.pending:,} pending up, {asked.pending_back:,} down")
    began = time.perf_counter()
    if asked.goes_on:
        asyncio.run(_run(asked, Path(asked.goes_on), say))
    else:
        with tempfile.TemporaryDirectory(prefix="upgrade-", dir=asked.directory) as directory:
            asyncio.run(_run(asked, Path(directory), say))
    say(
        "events lost, counted twice, or other than the first received", f"0, after {time.perf_counter() - began:,.0f} s"
    )
    if asked.report:
        where = [(name, described[name]) for name in _MACHINE if name in described]
        where.append(("Load before it, of other programs", f"{load} (1 min)"))
        head = [f"{datetime.now(UTC):%Y-%m-%d}, from {COMMIT[:7]} to {machine.measured(code)}, engine {asked.engine}."]
        _report([*head, "", *_table(("Machine", ""), where), "", *_table(("Measured", ""), figures)])


async def _run(asked: argparse.Namespace, directory: Path, say: Callable[[str, str], None]) -> None:
    before = code_of_the_release_before(directory / "before")
    if before is None:
        sys.exit("the history does not reach back to the release before: git fetch --unshallow")
    trial = Trial(
        directory=directory,
        engine=engine_for_kills(asked.engine, directory),
        before=before,
        stored=asked.stored,
        made=asked.made,
        pending=asked.pending,
        pending_back=asked.pending_back,
        say=say,
    )
    await trial.run(goes_on=asked.goes_on is not None)


def _table(head: tuple[str, str], lines: Sequence[tuple[str, str]]) -> list[str]:
    return [f"| {head[0]} | {head[1]} |", "| --- | --- |", *(f"| {name} | {what} |" for name, what in lines)]


def _report(lines: Sequence[str]) -> None:
    before, _, rest = GUIDE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = "\n".join(lines)
    GUIDE.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}", encoding="utf-8")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade", description=__doc__)
    parser.add_argument("--engine", choices=list(ENGINES), default="server")
    parser.add_argument("--stored", type=int, default=1_000, help="rows stored through the service")
    parser.add_argument("--made", type=int, default=0, help="rows made within ClickHouse, a multiple of 2,000")
    parser.add_argument("--pending", type=int, default=10_000, help="rows pending when this release comes")
    parser.add_argument("--pending-back", type=int, default=1_000, help="rows pending when it goes, and comes again")
    parser.add_argument("--directory", help="where the data lies meanwhile; by default the system's place")
    parser.add_argument("--goes-on", help="directory in which an earlier run, ended by force, has left all pending")
    parser.add_argument("--report", action="store_true", help="write the figures into docs/UPGRADE.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
