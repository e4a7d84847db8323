"""What a benchmark works with, and where it puts its figures and checks."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from tests.bench.engines import Engine, engine_for_kills, make_engine
from tests.bench.sender import Account


@attrs.frozen
class Figure:
    """One measured value, as the report shows it. Figures never fail a run, also where ``target`` is not ``met``."""

    benchmark: str
    engine: str
    name: str
    value: str
    target: str = ""
    met: bool = True


@attrs.frozen
class Check:
    """One thing that has to hold: an equality or a count of losses. A check that does not hold fails the run."""

    benchmark: str
    engine: str
    name: str
    held: bool
    detail: str


@attrs.define(kw_only=True)
class Bench:
    """One benchmark on one engine. ``pick`` gives the long or the short form of a number."""

    benchmark: str
    engine: str
    seed: int
    quick: bool
    match_file: Path | None
    figures: list[Figure] = attrs.field(factory=list)
    checks: list[Check] = attrs.field(factory=list)

    def pick(self, full: float, short: float) -> float:
        """Return the value for this form of the run."""
        return short if self.quick else full

    def say(self, text: str) -> None:
        """Print what is going on."""
        print(f"[{self.benchmark}/{self.engine}] {text}", flush=True)

    def figure(self, name: str, value: str, *, target: str = "", met: bool = True) -> None:
        """Record a measured value, and what it should be, where somebody asked for something."""
        asked = f" (asked: {target}{'' if met else ', MISSED'})" if target else ""
        self.say(f"{name}: {value}{asked}")
        self.figures.append(Figure(self.benchmark, self.engine, name, value, target, met))

    def check(self, name: str, held: bool, detail: str) -> None:
        """Record whether something held."""
        self.say(f"{'ok  ' if held else 'FAIL'} {name}: {detail}")
        self.checks.append(Check(self.benchmark, self.engine, name, held, detail))

    def check_account(self, account: Account) -> None:
        """Record what ClickHouse holds against what was sent and acknowledged."""
        detail = f"lost {account.lost}, extra {account.extra}, twice {account.twice}"
        self.check("nothing lost, extra or twice in `events`", account.clean, detail)

    @asynccontextmanager
    async def started_engine(self, *, for_kills: bool = False) -> AsyncIterator[Engine]:
        """Start the engine in an empty directory; stop it and remove the directory afterwards.

        ``for_kills``: the service will be killed.
        """
        with tempfile.TemporaryDirectory(prefix="fanfinity-bench-") as directory:
            make = engine_for_kills if for_kills else make_engine
            engine = make(self.engine, Path(directory))
            await engine.start()
            try:
                yield engine
            finally:
                await engine.stop()
