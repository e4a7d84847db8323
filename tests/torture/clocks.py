"""A moved clock for long: ``python -m tests.torture.clocks --minutes 10 --seed 1``; exits with 1 if it fails."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.moving import Moved, Moving

EVENTS = 10_000
WRONG_SHOWN = 20


def lines(moved: Moved) -> Iterator[tuple[str, str]]:
    """Yield what a run has shown."""
    yield "moves of the clock", f"{moved.moves.total()} in {moved.seconds:.0f} s"
    yield "each, and what became of the service", ", ".join(f"{kind}: {n}" for kind, n in sorted(moved.moves.items()))
    yield "moves while running that were not logged, once", f"{moved.steps_missed} of {moved.steps}"
    yield "events sent twice / of these the second copy stands", f"{moved.events:,} / {moved.passes}"
    yield "rows whose receipt is not by the wall clock", str(moved.clock_wrong)
    yield "partitions with rows", str(moved.partitions)
    yield "rows in another partition, parts that expire at another time", str(moved.misplaced)
    yield "answers judged", ", ".join(f"{what}: {count:,}" for what, count in moved.judged.items())
    yield "answers that a clock has changed", str(len(moved.wrong))
    account = moved.account
    yield "lost / extra / twice", f"{account.lost} / {account.extra} / {account.twice}"


def summary(moved: Moved) -> str:
    """Return all of it as plain text."""
    text = [f"{name}: {value}" for name, value in lines(moved)]
    text += [f"WRONG: {one}" for one in moved.wrong[:WRONG_SHOWN]]
    return "\n".join(text)


async def ran(*, minutes: float, seed: int, events: int = EVENTS, directory: str | None = None) -> Moved:
    """Run it in a directory of its own, which stays if it fails. NoCompiler where the clock cannot be moved."""
    path = Path(tempfile.mkdtemp(prefix="clocks-", dir=directory))
    print(f"a clock that is moved: files in {path}")
    moved = await Moving(path, seed, events=events).run(minutes * 60)
    if moved.clean:
        shutil.rmtree(path)
    return moved


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--events", type=int, default=EVENTS, help=f"events that are sent twice (default: {EVENTS})")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="default: another one each time")
    return parser.parse_args()


if __name__ == "__main__":
    moved = asyncio.run(ran(**vars(_options())))
    print(summary(moved))
    sys.exit(0 if moved.clean else 1)
