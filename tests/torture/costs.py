"""What the fuzzer found that one request may cost: printed, and written into ``docs/SECURITY.md`` between two marks."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import attrs

from tests.bench.report import table
from tests.fuzz.cost import Worst
from tests.paths import ROOT

REPORT = ROOT / "docs" / "SECURITY.md"
BEGIN, END = "<!-- written by tests.torture.fuzz: begin -->", "<!-- written by tests.torture.fuzz: end -->"
_HEAD = (
    "kind of request",
    "requests",
    "longest stand",
    "held up",
    "most processor time, of what is allowed",
    "most memory",
    "kept",
)


@attrs.frozen(kw_only=True)
class Run:
    """One finished run of requests that mean harm."""

    at: datetime
    seed: int
    minutes: float
    engine: str
    machine: Mapping[str, str]
    worst: Mapping[str, Worst]
    findings: int


def rows(worst: Mapping[str, Worst]) -> Iterator[tuple[str, ...]]:
    """Yield a line of the table for each kind."""
    for kind, one in worst.items():
        cost = one.cost
        paid = f"{cost.cpu_s:.3f} s for {cost.mib:.2f} MiB: {one.share * 100:.0f} %" if cost else "-"
        yield (
            kind,
            f"{one.requests:,}",
            f"{one.stand_ms:.0f} ms",
            f"{one.held_ms:.0f} ms",
            paid,
            f"{one.memory_mb:.0f} MB",
            f"{one.kept_mb:.0f} MB",
        )


def summary(worst: Mapping[str, Worst]) -> str:
    """Return the table as plain text, with the requests that were the worst."""
    lines = [" | ".join(_HEAD), *(" | ".join(row) for row in rows(worst))]
    for kind, one in worst.items():
        lines += [f"{kind}: stood for", f"  {one.stood_for[:600]}", f"{kind}: paid for", f"  {one.paid_for[:600]}"]
    return "\n".join(lines)


def write(run: Run, path: Path = REPORT) -> None:
    """Write the run between the marks, over the one before."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    assert mark, f"{path} lacks the marks {BEGIN} and {END}"
    path.write_text(f"{before}{BEGIN}\n\n{render(run)}\n\n{END}{after}", encoding="utf-8")


def render(run: Run) -> str:
    """Return the run as Markdown."""
    machine = ", ".join(f"{name}: {value}" for name, value in run.machine.items() if name in ("Code", "CPU"))
    total = sum(one.requests for one in run.worst.values())
    about = (
        f"{run.at:%Y-%m-%d %H:%M} UTC, seed {run.seed}, {run.minutes:g} minutes, {total:,} requests, ClickHouse "
        f"as {run.engine}; {machine}.\n{run.findings} of them or of their kind were beyond a limit."
    )
    return f"{about}\n\n{table(_HEAD, list(rows(run.worst)))}"
