"""What one request costs the service: stands of its event loop, processor time of all its threads, memory.

All of it is read from outside, at the moment before the request and at the one when the service is quiet again.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.fuzz.standing import Stand, Standing

STAND_MAX_MS = 50.0
COST_BASE_S = 0.05
COST_S_PER_MIB = 0.7
"""The limits of the contract. A MiB is one after decompression, or as sent where that is more."""

MEMORY_MAX_MB = 256.0
"""What all bodies together may hold is also the most that one request may take."""

TRIES = 3
"""A request that was beyond a limit is sent so often, and the least counts, because others use the machine too."""

_QUIET_SHARE = 0.15
_QUIET_S = 0.02
_QUIET_DEADLINE_S = 120.0


@attrs.frozen
class Limits:
    """What one request may cost. ``factor``: so many times that, where the machine is too noisy for the limit itself.

    ``body_max_bytes``: what the service takes of a body, so what is beyond does not pay for more.
    """

    factor: float = 1.0
    body_max_bytes: int = 10 << 20

    def cpu_s(self, mib: float) -> float:
        """Return the processor time that a request of so many MiB may take."""
        return self.factor * (COST_BASE_S + COST_S_PER_MIB * mib)

    def charged_mib(self, mib: float, *, bulk: bool) -> float:
        """Return the MiB that a request pays with."""
        return mib if bulk else min(mib, (self.body_max_bytes + (1 << 16)) / (1 << 20))

    @property
    def memory_mb(self) -> float:
        """The most memory that a request may take."""
        return self.factor * MEMORY_MAX_MB

    @property
    def stand_ms(self) -> float:
        """The longest stand that a request may cause, by itself or by a thread that keeps the interpreter to itself."""
        return self.factor * STAND_MAX_MS


@attrs.frozen
class Cost:
    """The cost of one request.

    Attributes:
        stand: the longest stand of the event loop.
        cpu_s: processor time of the process, until it was quiet.
        mib: MiB that the request pays with.
        memory_mb: resident memory at its most beyond that before.
    """

    stand: Stand
    cpu_s: float
    mib: float
    memory_mb: float

    def faults(self, limits: Limits) -> Iterator[str]:
        """Yield what is beyond a limit."""
        if self.stand.cpu_ms > limits.stand_ms:
            yield f"the event loop stood for {self.stand.cpu_ms:.0f} ms of processor time, not {limits.stand_ms:.0f}"
        elif self.stand.held_ms > limits.stand_ms:
            yield f"a thread held up the event loop for {self.stand.held_ms:.0f} ms, not {limits.stand_ms:.0f}"
        if self.memory_mb > limits.memory_mb:
            yield f"{self.memory_mb:.0f} MB of memory were taken, not {limits.memory_mb:.0f}"
        if self.cpu_s > (allowed := limits.cpu_s(self.mib)):
            yield f"{self.cpu_s:.3f} s of processor time for {self.mib:.3f} MiB, not {allowed:.3f}"

    def least(self, other: "Cost") -> "Cost":
        """Return the lesser of two costs of the same request, each part by itself."""
        stand = Stand(min(self.stand.cpu_ms, other.stand.cpu_ms), min(self.stand.held_ms, other.stand.held_ms))
        return Cost(stand, min(self.cpu_s, other.cpu_s), self.mib, min(self.memory_mb, other.memory_mb))


@attrs.define
class Meter:
    """Reads what a process has used (Linux)."""

    pid: int
    standing: Standing
    _cpu_s: float = 0.0
    _resident_mb: float = 0.0

    def begin(self) -> None:
        """Begin with a request, once the process is quiet."""
        self.settle()
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")  # the most memory so far is forgotten
        self._resident_mb = self.resident_mb()
        self.standing.begin()
        self._cpu_s = self.cpu_s()

    def end(self, mib: float) -> Cost:
        """Return what the process has used since `begin`, once it is quiet."""
        self.settle()
        stand = self.standing.longest()
        cpu_s = self.cpu_s() - self._cpu_s
        return Cost(stand, cpu_s, mib, max(0.0, self._memory_mb("VmHWM") - self._resident_mb))

    def settle(self) -> None:
        """Wait until the process does next to nothing."""
        deadline = time.monotonic() + _QUIET_DEADLINE_S
        before, at = self.cpu_s(), time.monotonic()
        while time.monotonic() < deadline:
            time.sleep(_QUIET_S)
            now, then = self.cpu_s(), time.monotonic()
            if now - before < _QUIET_SHARE * (then - at) and self.standing.is_waiting:
                return
            before, at = now, then

    def cpu_s(self) -> float:
        """Return the processor time of all threads of the process, to the microsecond."""
        return time.clock_gettime(~self.pid << 3 | 2)  # CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it

    def resident_mb(self) -> float:
        """Return the resident memory of the process."""
        return self._memory_mb("VmRSS")

    def _memory_mb(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name))) * 1024 / 1e6


@attrs.define
class Worst:
    """The worst of one kind of request: of each figure, the figure and the request that had it."""

    requests: int = 0
    stand_ms: float = 0.0
    stood_for: str = ""
    held_ms: float = 0.0
    share: float = 0.0
    cost: Cost | None = None
    paid_for: str = ""
    memory_mb: float = 0.0
    kept_mb: float = 0.0

    def __str__(self) -> str:
        paid = f"{self.cost.cpu_s:.3f} s for {self.cost.mib:.2f} MiB" if self.cost else "-"
        stand = f"stand {self.stand_ms:.0f} ms (by the clock {self.held_ms:.0f})"
        return f"{self.requests} requests, {stand}, {paid}, {self.memory_mb:.0f} MB, kept {self.kept_mb:.0f}"

    def note(self, cost: Cost, limits: Limits, told: str) -> None:
        """Take in what another request cost."""
        self.held_ms = max(self.held_ms, cost.stand.held_ms)
        self.memory_mb = max(self.memory_mb, cost.memory_mb)
        if cost.stand.cpu_ms > self.stand_ms:
            self.stand_ms, self.stood_for = cost.stand.cpu_ms, told
        share = cost.cpu_s / limits.cpu_s(cost.mib)
        if share > self.share:
            self.share, self.cost, self.paid_for = share, cost, told
