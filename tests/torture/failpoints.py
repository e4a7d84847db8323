"""Failpoints for long: ``python -m tests.torture.failpoints --minutes 10 --seed 1``; exits with 1 if it fails."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.failing import Failing, Failures

EVERY_S = 2.0


def lines(failures: Failures) -> Iterator[tuple[str, str]]:
    """Yield what a run has shown."""
    statuses, record = failures.load.statuses, failures.load.record
    yield "failures", f"{failures.fired.total()} at {len(failures.places)} places, in {failures.seconds:.0f} s"
    yield "kinds", ", ".join(f"{name}: {count}" for name, count in failures.fired.most_common())
    yield "tasks that ended of it", ", ".join(f"{name}: {count}" for name, count in failures.ended.most_common())
    yield "of these not named by `/ready`", str(len(failures.untold))
    yield "looks at `/ready` that found", ", ".join(f"{name}: {count}" for name, count in failures.degraded.items())
    yield "all healthy after the last", f"{failures.late_s:.1f} s"
    yield "kills of the service between", str(failures.kills)
    others = statuses.total() - statuses[202] - statuses[503] - statuses[0]
    yield "requests answered 202 / 503 / otherwise", f"{statuses[202]:,} / {statuses[503]:,} / {others:,}"
    yield "requests a second, answered 202", f"{statuses[202] / failures.seconds:,.0f}; wanted {failures.rate:,.0f}"
    yield "events sent / acknowledged", f"{record.sent:,} / {record.acknowledged:,}"
    yield "dead letters, all of rows that ClickHouse refuses", f"{failures.dead_letters:,}"
    yield "`fanfinity audit`", failures.audit
    account = failures.account
    yield "lost / extra / twice", f"{account.lost} / {account.extra} / {account.twice}"


def summary(failures: Failures) -> str:
    """Return all of it as plain text."""
    text = [f"{name}: {value}" for name, value in lines(failures)]
    text += [f"  {n:6d} x 503: {why}" for why, n in failures.load.refusals.most_common()]
    text += [f"NOT NAMED by /ready: {one}" for one in failures.untold]
    return "\n".join(text)


async def ran(
    *, minutes: float, seed: int, rate: float, every_s: float = EVERY_S, only: str = "", directory: str | None = None
) -> Failures:
    """Run it in a directory of its own; its files stay if it fails."""
    path = Path(tempfile.mkdtemp(prefix="failpoints-", dir=directory))
    print(f"failures inside: files in {path}")
    failures = await Failing(path, seed, every_s=every_s, rate=rate, only=only).run(minutes * 60)
    if failures.clean:
        shutil.rmtree(path)
    return failures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="default: another one each time")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second (default: 1000)")
    parser.add_argument(
        "--every", dest="every_s", type=float, default=EVERY_S, help=f"seconds between failures (default: {EVERY_S:g})"
    )
    parser.add_argument("--only", default="", help="a part of the names of the places that fail (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    failures = asyncio.run(ran(**vars(_options())))
    print(summary(failures))
    sys.exit(0 if failures.clean else 1)
