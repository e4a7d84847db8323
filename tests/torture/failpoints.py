"""Failpoints for long: ``python -m tests.torture.failpoints --minutes 10 --seed 1``; exits with 1 if it fails."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.failing import Failing, Failures


def summary(failures: Failures) -> str:
    """Return all of it as plain text."""
    text = [f"failed {failures.fired.total()} times at {len(failures.places)} places in {failures.seconds:.0f} s"]
    text += [f"  {count:4d} x {kind}" for kind, count in failures.fired.most_common()]
    text += [f"  {count:4d} x ended: {task}" for task, count in failures.ended.most_common()]
    text += [f"  {count:4d} x {check} in /ready" for check, count in failures.degraded.most_common()]
    text += [f"  {n:6d} x 503: {why}" for why, n in failures.load.refusals.most_common()]
    text += [f"NOT TOLD by /ready: {one}" for one in failures.untold]
    text += [f"kills {failures.kills}, statuses {dict(failures.load.statuses)}, ready again in {failures.late_s:.1f} s"]
    record, account = failures.load.record, failures.account
    text += [f"acknowledged {record.acknowledged:,}, {record.acknowledged / failures.seconds:,.0f}/s"]
    text += [f"dead letters {failures.dead_letters}, audit: {failures.audit}"]
    text += [f"lost {account.lost}, extra {account.extra}, twice {account.twice}, untold {len(failures.untold)}"]
    return "\n".join(text)


async def ran(options: argparse.Namespace, directory: str | None = None) -> Failures:
    """Run it in a directory of its own under this one."""
    path = Path(tempfile.mkdtemp(prefix="failpoints-", dir=directory))
    print(f"files in {path}")
    failing = Failing(path, options.seed, every_s=options.every, rate=options.rate, only=options.only)
    return await failing.run(options.minutes * 60)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="default: another one each time")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second (default: 1000)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two failures (default: 5)")
    parser.add_argument("--only", default="", help="a part of the names of the places that fail (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    failures = asyncio.run(ran(_options()))
    print(summary(failures))
    sys.exit(0 if failures.clean else 1)
