"""The machine's clocks, set by a test in place of the machine."""

import time
from collections.abc import Callable
from typing import Any, Self

import attrs
import pytest

S_NS = 1_000_000_000


@attrs.define
class Clocks:
    """Two clocks that go on together, of which the wall clock can be set; they stand still otherwise."""

    wall_ns: int
    steady_ns: int = 5 * S_NS
    stopped_s: float = 0.0
    """Seconds for which the process will be stopped before its next look at the steady clock."""

    @classmethod
    def instead_of_the_machines(cls, monkeypatch: pytest.MonkeyPatch, *modules: str) -> Self:
        """Return the clocks that the receipts' clock looks at from now on, and these modules."""
        made = cls(time.time_ns())

        class Faked:
            """The parts of `time` that are looked at."""

            CLOCK_MONOTONIC = time.CLOCK_MONOTONIC
            time_ns: Callable[[], int] = staticmethod(lambda: made.wall_ns)
            monotonic: Callable[[], float] = staticmethod(lambda: made.steady_ns / S_NS)
            clock_gettime_ns: Callable[[Any], int] = staticmethod(lambda _: made._look())

        for module in ("shards.clock", *modules):
            monkeypatch.setattr(f"{module}.time", Faked)
        return made

    def _look(self) -> int:
        stopped_s, self.stopped_s = self.stopped_s, 0.0
        self.go_on(stopped_s)
        return self.steady_ns

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_ns += round(seconds * S_NS)
        self.steady_ns += round(seconds * S_NS)

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back, by so much."""
        self.wall_ns += round(seconds * S_NS)
