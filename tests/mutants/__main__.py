"""``python -m tests.mutants``: change the core in many places, one at a time, and count what no test notices."""

import argparse
import os
import random
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from tests.bench import machine
from tests.mutants.hunt import Fate, hunted
from tests.mutants.lists import aimed, equivalents, reason_of
from tests.mutants.operators import Mutant, all_mutants
from tests.mutants.report import Part, text_of, write


def _sampled(mutants: Iterable[Mutant], *, size: int, seed: int) -> list[Mutant]:
    """Return as many places at random, each with one of its changes."""
    chance = random.Random(seed)
    places: dict[tuple[str, str, int], list[Mutant]] = {}
    for mutant in mutants:
        places.setdefault((mutant.module, mutant.operator, mutant.start), []).append(mutant)
    drawn = chance.sample(sorted(places), min(size, len(places)))
    return [chance.choice(places[place]) for place in sorted(drawn)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=600, help="places to change (600)")
    parser.add_argument("--seed", type=int, default=1, help="which places are drawn (1)")
    parser.add_argument("--aimed", action="store_true", help="make the changes of aimed.toml instead")
    parser.add_argument("--only", default="", help="change only files whose path has this text in it")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="copies of the tree (one a core)")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="try no other change after this time")
    parser.add_argument("--quick", action="store_true", help="leave out the tests with a ClickHouse")
    parser.add_argument("--report", action="store_true", help="write docs/MUTANTS.md")
    return parser.parse_args()


def _tell(fate: Fate) -> None:
    mutant = fate.mutant
    how = f"noticed by {fate.by}" if fate.by else "SURVIVED"
    print(
        f"{mutant.module}:{mutant.lines[0]} {mutant.operator}: {mutant.change[:160]}: {how} ({fate.tests} tests)",
        flush=True,
    )


def main() -> int:
    """Run it; return 1 if a change that is aimed at a promise survived."""
    given = _arguments()
    chosen = [mutant for mutant in (aimed() if given.aimed else all_mutants()) if given.only in mutant.module]
    mutants = chosen if given.aimed else _sampled(chosen, size=given.sample, seed=given.seed)
    commit, started = machine.code(), time.monotonic()
    fates = hunted(mutants, workers=given.workers, slow=not given.quick, limit_s=60 * given.minutes, tell=_tell)
    described = machine.describe()
    part = Part(
        title="Aimed at promises" if given.aimed else f"At random, {given.sample} places, seed {given.seed}",
        at=datetime.now(UTC),
        minutes=(time.monotonic() - started) / 60,
        machine=", ".join(described[name] for name in ("CPU", "Python")),
        commit=commit,
        fates=fates,
        reasons=[reason_of(fate.mutant, equivalents()) for fate in fates],
    )
    print(text_of(part))
    if given.report:
        write(part)
    return int(given.aimed and bool(part.survivors))


if __name__ == "__main__":
    sys.exit(main())
