"""The totals: printed, and written as ``docs/MUTANTS.md``. Every figure in it comes from a run."""

from collections.abc import Callable, Sequence
from datetime import datetime

import attrs

from tests.bench.report import table
from tests.mutants.hunt import Fate
from tests.paths import ROOT

REPORT = ROOT / "docs" / "MUTANTS.md"
INTRODUCTION = (
    "Written by `make mutants`: one place of `shards` is changed, the tests that reach it run until one fails, and a "
    "change that none notices has survived. First run the quick tests, then those with a ClickHouse, each over one "
    "store. The changes of the one part are drawn at random from all places, and tried on at most 20 s of the tests "
    "with a ClickHouse; those of the other are aimed at promises, and tried on at most 120 s of them, so a longer look "
    "may find more noticed. The latter are kept in `tests/mutants/aimed.toml`. Changes that nobody could notice are "
    "listed with the reason in `tests/mutants/equivalent.toml`, and left out of the percentages. What is never changed "
    "is named in `tests/mutants/operators.py`."
)


@attrs.frozen(kw_only=True)
class Part:
    """One finished run; ``reasons`` has those of the changes that nobody could notice, by position."""

    title: str
    at: datetime
    minutes: float
    machine: str
    commit: str
    fates: Sequence[Fate]
    reasons: Sequence[str]

    @property
    def counted(self) -> list[Fate]:
        """The changes that somebody should notice."""
        return [fate for fate, reason in zip(self.fates, self.reasons, strict=True) if fate.by or not reason]

    @property
    def survivors(self) -> list[Fate]:
        """The changes that nobody noticed and somebody should."""
        return [fate for fate in self.counted if not fate.by]


def _percentage(fates: Sequence[Fate]) -> str:
    return f"{100 * sum(bool(fate.by) for fate in fates) / len(fates):.1f} %" if fates else ""


def _by(part: Part, name: str, key: Callable[[Fate], str]) -> str:
    rows: list[Sequence[str]] = []
    for group in (*sorted({key(fate) for fate in part.fates}), ""):
        fates = [fate for fate in part.fates if not group or key(fate) == group]
        counted = [fate for fate in part.counted if not group or key(fate) == group]
        noticed = sum(bool(fate.by) for fate in counted)
        equal = len(fates) - len(counted)
        figures = map(str, (len(fates), noticed, len(counted) - noticed, equal))
        rows.append((group or "all", *figures, _percentage(counted)))
    return table((name, "changes", "noticed", "survived", "equivalent", "noticed, of those that count"), rows)


def text_of(part: Part) -> str:
    """Return a part of the report."""
    when = f"{part.at:%Y-%m-%d %H:%M} UTC, commit {part.commit}, {part.minutes:.0f} minutes, {part.machine}"
    unreached = sum(not fate.tests for fate in part.fates)
    late = sum(fate.by == "time" for fate in part.fates)
    lines = [f"## {part.title}", "", when, ""]
    lines += [
        f"{len(part.fates)} changes, {unreached} of them in lines that no test reaches; {late} noticed by time.",
        "",
    ]
    lines += [_by(part, "module", lambda fate: fate.mutant.module), ""]
    if len({fate.mutant.operator for fate in part.fates}) > 1:
        lines += [_by(part, "operator", lambda fate: fate.mutant.operator), ""]
    lines += ["Survivors:", ""]
    lines += [_line(fate) for fate in part.survivors] or ["none"]
    return "\n".join(lines) + "\n"


def _line(fate: Fate) -> str:
    mutant = fate.mutant
    what = mutant.promise or mutant.operator
    change = mutant.change if len(mutant.change) <= 240 else f"{mutant.change[:240]}…"
    return f"- `{mutant.module}` line {mutant.lines[0]}, {what}: ``{change}``{'' if fate.tests else ' (not reached)'}"


def write(part: Part) -> None:
    """Write a part into the report; a part with another title stays as it is."""
    old = REPORT.read_text("utf-8") if REPORT.exists() else ""
    parts = {text.partition("\n")[0]: f"## {text}" for text in old.split("\n## ")[1:]}
    parts[part.title] = text_of(part)
    texts = [parts[title].rstrip() + "\n" for title in sorted(parts)]
    REPORT.write_text("\n".join(("# Mutants\n", f"{INTRODUCTION}\n", *texts)), encoding="utf-8")
