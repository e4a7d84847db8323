"""A clock that is moved for long: ``python -m tests.torture.clocks --minutes 10 --seed 1``; 1: it failed."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.moving import Moved, Moving


def summary(moved: Moved) -> str:
    """Return all of it as plain text."""
    text = [f"clock moved {moved.moves.total()} times in {moved.seconds:.0f} s, {moved.events:,} events sent twice"]
    text += [f"  {count:4d} x {kind}" for kind, count in sorted(moved.moves.items())]
    text += [f"  {count:6d} x judged: {what}" for what, count in moved.judged.items()]
    text += [f"WRONG: {one}" for one in moved.wrong[:20]]
    text += [f"{len(moved.wrong)} answers that a clock has changed"]
    text += [f"steps {moved.steps}, not logged once each {moved.steps_missed}, partitions {moved.partitions}"]
    text += [f"second copy stands {moved.passes}, received otherwise {moved.clock_wrong}, misplaced {moved.misplaced}"]
    text += [f"lost {moved.account.lost}, extra {moved.account.extra}, twice {moved.account.twice}"]
    return "\n".join(text)


async def ran(options: argparse.Namespace) -> Moved:
    """Run it in a directory of its own."""
    path = Path(tempfile.mkdtemp(prefix="clocks-"))
    print(f"files in {path}")
    return await Moving(path, options.seed, events=options.events).run(options.minutes * 60)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--events", type=int, default=10_000, help="events that are sent twice (default: 10000)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="default: another one each time")
    return parser.parse_args()


if __name__ == "__main__":
    moved = asyncio.run(ran(_options()))
    print(summary(moved))
    sys.exit(0 if moved.clean else 1)
