"""Writes the report. Every figure in it comes from the run; only the headings and their explanations are constant."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import attrs

from tests.bench.bench import Check, Figure
from tests.paths import ROOT

REPORT = ROOT / "docs" / "BENCHMARKS.md"


@attrs.frozen(kw_only=True)
class Run:
    """One finished run. ``titles`` gives each benchmark's heading and one sentence on what it does."""

    at: datetime
    seed: int
    quick: bool
    machine: Mapping[str, str]
    engines: Sequence[str]
    titles: Mapping[str, tuple[str, str]]
    figures: Sequence[Figure]
    checks: Sequence[Check]


def write(run: Run, path: Path = REPORT) -> None:
    """Write the report of a run over the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(run), encoding="utf-8")


def render(run: Run) -> str:
    """Return the report as Markdown."""
    failed = sum(not check.held for check in run.checks)
    asked = [figure for figure in run.figures if figure.target]
    missed = sum(not figure.met for figure in asked)
    form = "short form (`--quick`)" if run.quick else "full form"
    parts = [
        "# Benchmarks",
        "Written by `make bench`; load generator, service and ClickHouse share the machine. "
        "What is due is sent once a millisecond. "
        "`embedded` is chDB inside the service, `server` is ClickHouse over native TCP.",
        table(
            ("", ""),
            [("Date", f"{run.at:%Y-%m-%d %H:%M} UTC"), ("Run", f"{form}, seed {run.seed}"), *run.machine.items()],
        ),
        f"Checks that held: {len(run.checks) - failed} of {len(run.checks)}. "
        f"Figures as they were asked for: {len(asked) - missed} of {len(asked)}.",
    ]
    for benchmark, (title, explanation) in run.titles.items():
        parts += [f"## {title}", explanation, _figures(run, benchmark), _checks(run, benchmark)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(run: Run, benchmark: str) -> str:
    figures = [figure for figure in run.figures if figure.benchmark == benchmark]
    if not figures:
        return "Not measured in this run."
    found = {(f.name, f.engine): f.value if f.met else f"{f.value} **missed**" for f in figures}
    engines = [engine for engine in run.engines if any(figure.engine == engine for figure in figures)]
    targets = {figure.name: figure.target for figure in figures}
    rows = [[name, *(found.get((name, engine), "-") for engine in engines)] for name in targets]
    if not any(targets.values()):
        return table(("figure", *engines), rows)
    asked = [[row[0], targets[row[0]], *row[1:]] for row in rows]
    return table(("figure", "asked", *engines), asked)


def _checks(run: Run, benchmark: str) -> str:
    checks = [check for check in run.checks if check.benchmark == benchmark]
    rows = [(c.name, c.engine, "yes" if c.held else "**no**", c.detail) for c in checks]
    return table(("check", "engine", "held", "found"), rows) if rows else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a cell may hold anything but a line break."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").strip() for cell in line) + " |" for line in lines)
