"""Runs the benchmarks and writes ``docs/BENCHMARKS.md``. Exits with 1 if an equality or a count of losses fails."""

import argparse
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

import attrs
import uvloop

from tests.bench import (
    crowds,
    freshness,
    keys,
    large_bodies,
    machine,
    outage,
    poison,
    readers,
    replay,
    report,
    slow_bodies,
    slow_clients,
    spike,
    start,
    table,
    throughput,
)
from tests.bench.bench import Bench
from tests.bench.engines import ENGINES
from tests.paths import ROOT

SERVER = ("server",)


@attrs.frozen
class Benchmark:
    """One benchmark: its heading in the report, a sentence on what it does, and the engines it is for."""

    title: str
    explanation: str
    run: Callable[[Bench], Awaitable[None]]
    engines: Collection[str] = tuple(ENGINES)


BENCHMARKS: dict[str, Benchmark] = {
    "spike": Benchmark(
        "A goal falls: 1,000 requests a second for one match",
        "Single events, open loop: latency counts from when a request was due. One reader of the metrics beside it.",
        spike.run,
    ),
    "throughput": Benchmark(
        "Most requests a second",
        "Closed loop, single events of one match, against an aiohttp handler that reads the body and answers 202.",
        throughput.run,
    ),
    "freshness": Benchmark(
        "From the 202 to the metrics and to the stream",
        "One writer of 1,000 events/s, 16 readers, one viewer of the stream; with the defaults, and with flushes and "
        "`OPTIMIZE` all the time.",
        freshness.run,
    ),
    "readers": Benchmark(
        "2,000 readers of one match",
        "They come as quickly as they are answered; then each asks once a second over a connection of its own, as a "
        "browser does, during 1,000 events a second (open loop). Metric queries are counted on the wire to ClickHouse.",
        readers.run,
        SERVER,
    ),
    "table": Benchmark(
        "Metrics in a large table",
        "2,000 matches by the simulator's distribution, one event in 100 sent twice; uncached reads by the service's "
        "own classes. The table of database `small` has 51 of the same matches.",
        table.run,
        SERVER,
    ),
    "replay": Benchmark(
        "A recorded match at full speed",
        "`fanfinity replay` of a real match (StatsBomb open data); a separate script counts the same file.",
        replay.run,
    ),
    "outage": Benchmark(
        "ClickHouse away",
        "ClickHouse is killed. Events of one match are accepted, most in batches, some one by one (open loop). It "
        "comes back, and the backlog is stored.",
        outage.run,
        SERVER,
    ),
    "start": Benchmark(
        "Start with a long log",
        "Events that ClickHouse never saw wait in the log; the service is killed and started again, with ClickHouse "
        "away and with it back. Time runs from the start of the process.",
        start.run,
        SERVER,
    ),
    "slow-clients": Benchmark(
        "Slow, silent and vanished clients",
        "1,000 single events a second (open loop): without anybody beside them, with thousands of connections that are "
        "never used well, and while those are cut off.",
        slow_clients.run,
        SERVER,
    ),
    "crowd": Benchmark(
        "10,000 reads of unknown matches at once",
        "Each over a connection of its own, beside a sender of 100 events a second (open loop).",
        crowds.unknown_matches,
    ),
    "teams": Benchmark(
        "A match of 100,000 teams, and of 24,800 goals with 16 kB of metadata",
        "Answers about it, and what an overview of the service takes with it and without.",
        crowds.very_many_teams,
    ),
    "slow-bodies": Benchmark(
        "Large bodies that come slowly",
        "300 clients announce 10 MiB each and send a KiB a second. 200 single events a second of others (open loop), "
        "without them and with them.",
        slow_bodies.run,
        SERVER,
    ),
    "large-bodies": Benchmark(
        "200 large bodies at once",
        "Clients that are fast send 9 MB each, all at the same moment, from a process of their own. `/health` is asked "
        "20 times a second meanwhile. Memory a minute later is that after everything was stored.",
        large_bodies.run,
    ),
    "keys": Benchmark(
        "Keys",
        "What a key costs, in turns with a service without keys; what others notice of wrong keys, and of a key that "
        "is at its limit (open loop).",
        keys.run,
        SERVER,
    ),
    "poison": Benchmark(
        "A row that only ClickHouse refuses",
        "A constraint on `events` refuses one row among many that are sent at once.",
        poison.run,
        SERVER,
    ),
}
RECORDED = ROOT.parent / "shared" / "data" / "statsbomb_3788741_event.json"


def match_file() -> Path | None:
    """Return the recorded match: FANFINITY_BENCH_MATCH, or the one beside the project, if it is there."""
    named = os.environ.get("FANFINITY_BENCH_MATCH")
    file = Path(named) if named else RECORDED
    return file if file.is_file() else None


async def measure(name: str, engine: str, arguments: argparse.Namespace) -> Bench:
    """Run one benchmark on one engine; one that breaks is a check that did not hold."""
    bench = Bench(benchmark=name, engine=engine, seed=arguments.seed, quick=arguments.quick, match_file=match_file())
    try:
        await BENCHMARKS[name].run(bench)
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
    done: list[Bench] = []
    speeds: list[machine.Speed] = []
    for name in names:
        for engine in BENCHMARKS[name].engines:
            if engine in (arguments.engine or ENGINES):
                speeds.append(machine.Speed.now())
                done.append(uvloop.run(measure(name, engine, arguments)))
    speed = machine.speeds(speeds)
    print(speed)
    figures = [figure for bench in done for figure in bench.figures]
    checks = [check for bench in done for check in bench.checks]
    if not arguments.only and not arguments.engine:
        run = report.Run(
            at=datetime.now(UTC),
            seed=arguments.seed,
            quick=arguments.quick,
            machine={"Code": machine.measured(code_before), **machine.describe(), "Speed": speed},
            engines=list(ENGINES),
            titles={name: (one.title, one.explanation) for name, one in BENCHMARKS.items()},
            figures=figures,
            checks=checks,
        )
        report.write(run)
        print(f"wrote {report.REPORT}")
    failed = [check for check in checks if not check.held]
    for check in failed:
        print(f"FAIL {check.benchmark}/{check.engine}: {check.name}: {check.detail}")
    for figure in figures:
        if not figure.met:
            print(f"MISSED {figure.benchmark}/{figure.engine}: {figure.name}: {figure.value}, asked: {figure.target}")
    print(f"{len(checks) - len(failed)} of {len(checks)} checks held")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter loads, for a first look")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="may be repeated; writes no report")
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="may be repeated; writes no report")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"), help="of all made-up events")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
