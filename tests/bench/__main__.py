"""Runs the benchmarks and writes ``docs/BENCHMARKS.md``. Exits with 1 if an equality or a count of losses fails."""

import argparse
import asyncio
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import backlog, freshness, machine, replay, report, spike, throughput
from tests.bench.bench import Bench
from tests.bench.engines import ENGINES

BENCHMARKS: dict[str, tuple[str, str, Callable[[Bench], Awaitable[None]]]] = {
    "spike": (
        "A goal falls: 1,000 requests a second for one match",
        "Single events, open loop: latency counts from when a request was due. One reader of the metrics beside it.",
        spike.run,
    ),
    "throughput": (
        "Most requests a second",
        "Closed loop, single events of one match, against an aiohttp handler that reads the body and answers 202.",
        throughput.run,
    ),
    "freshness": (
        "From the 202 to the metrics",
        "One writer of 1,000 events/s, four readers; with the defaults, and with flushes and `OPTIMIZE` all the time.",
        freshness.run,
    ),
    "replay": (
        "A recorded match at full speed",
        "`fanfinity replay` of a real match (StatsBomb open data); a separate script counts the same file.",
        replay.run,
    ),
    "backlog": (
        "ClickHouse away",
        "Events are accepted while ClickHouse is away; it comes back, and the backlog is stored.",
        backlog.run,
    ),
}
RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "statsbomb_3788741_event.json"


def match_file() -> Path | None:
    """Return the recorded match: FANFINITY_BENCH_MATCH, or the one beside the project, if it is there."""
    named = os.environ.get("FANFINITY_BENCH_MATCH")
    file = Path(named) if named else RECORDED
    return file if file.is_file() else None


async def measure(name: str, engine: str, arguments: argparse.Namespace) -> Bench:
    """Run one benchmark on one engine; one that breaks is a check that did not hold."""
    bench = Bench(benchmark=name, engine=engine, seed=arguments.seed, quick=arguments.quick, match_file=match_file())
    try:
        await BENCHMARKS[name][2](bench)
    except Exception as error:  # noqa: BLE001 - the others shall run all the same
        traceback.print_exception(error)
        bench.check("ran to its end", False, f"{type(error).__name__}: {str(error)[:200]}")
    return bench


def main() -> int:
    """Run what was picked and return the exit code."""
    arguments = _arguments()
    print(f"seed {arguments.seed}", flush=True)
    code_before = machine.code()
    names = arguments.only or list(BENCHMARKS)
    done = [asyncio.run(measure(name, engine, arguments)) for name in names for engine in arguments.engine or ENGINES]
    checks = [check for bench in done for check in bench.checks]
    if not arguments.only and not arguments.engine:
        run = report.Run(
            at=datetime.now(UTC),
            seed=arguments.seed,
            quick=arguments.quick,
            machine={"Code": _code(code_before, machine.code()), **machine.describe()},
            engines=list(ENGINES),
            titles={name: (title, explanation) for name, (title, explanation, _) in BENCHMARKS.items()},
            figures=[figure for bench in done for figure in bench.figures],
            checks=checks,
        )
        report.write(run)
        print(f"wrote {report.REPORT}")
    failed = [check for check in checks if not check.held]
    for check in failed:
        print(f"FAIL {check.benchmark}/{check.engine}: {check.name}: {check.detail}")
    print(f"{len(checks) - len(failed)} of {len(checks)} checks held")
    return 1 if failed else 0


def _code(before: str, after: str) -> str:
    """Return the commit; both where it changed meanwhile, and the figures are of no one state."""
    return (before or "unknown") if before == after else f"changed during the run, from {before} to {after}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter loads, for a first look")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="may be repeated; writes no report")
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="may be repeated; writes no report")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"), help="of all made-up events")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
