"""The totals of one run: printed, and written as ``docs/TORTURE.md``. Every figure in it comes from the run."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import attrs

from tests.bench.report import table
from tests.bench.sender import Account
from tests.faults.failing import Failures
from tests.faults.moving import Moved
from tests.faults.traffic import Traffic
from tests.paths import ROOT
from tests.power.explorer import Totals as PowerTotals
from tests.power.promises import KINDS
from tests.torture import clocks, failpoints
from tests.torture.deck import ASKED
from tests.torture.watch import Watch

REPORT = ROOT / "docs" / "TORTURE.md"
MOST = 4
INTRODUCTION = (
    "Written by `make torture`: one service and one ClickHouse as processes, a load over HTTP with a record of its own "
    "of what was acknowledged, a reader, and faults in an order that follows from the seed, alone and two at a time. "
    "Load generator, service and ClickHouse share the machine. At the end everything is counted in ClickHouse."
)
EXPLANATION = (
    "Lost: acknowledged and not stored. Extra: stored and never sent. Twice: counted more than once. Went back: an "
    "answer of the metrics that showed less than one before."
)

FAILURES = (
    "A service and a load of their own. Every few seconds a place of the core fails that was passed before, one of "
    "those that have failed least often: an OSError, a MemoryError or a RuntimeError is raised, or the task is "
    "cancelled, before or after an await, a system call or a call of the committer, the flushers, the gate, the log, "
    "the journal, the checkpoint or the dead letters. One event in thousands is refused by ClickHouse."
)
MOVED = (
    "A service of its own, whose wall clock is moved by -1 h, +1 h or +30 days, and put right now and then, while it "
    "runs and between its starts (kills and orderly ones). Each event is sent as a goal and, after a move, as a pass: "
    "the goal stands. A match is quiet after 4 s in place of 15 minutes; matches are judged by the steady clock."
)

POWER = (
    "Not by cutting it off, but by way of the real system calls, which are recorded: histories of up to four lives of "
    "the log, with kills, failed calls and full disks in between, and from each the states that a power failure may "
    "leave, by the rules of POSIX and by those of ext4 (`tests/power/disk.py`). Each state is recovered by the real "
    "code in process, a second time behind that, and once more after another power failure in between."
)


@attrs.frozen(kw_only=True)
class Totals:
    """One finished run.

    Attributes:
        load_s: how long the load ran.
        up_s: of that, how long the service was up: from when it was ready until it was told to end.
        caused: how often each fault was caused.
        together: how often two were there at once.
        aborts: how often ClickHouse ended by itself at its memory limit, the one fault that allows it.
        power: what power failures left; None: that was left out.
        failures: what failures inside the service have shown; None: they were left out.
        moved: what a clock that is moved has shown; None: that was left out.
    """

    at: datetime
    seed: int
    rate: float
    load_s: float
    up_s: float
    machine: Mapping[str, str]
    caused: Counter[str]
    together: int
    aborts: int
    load: Traffic
    watch: Watch
    account: Account
    dead_letters: int
    power: PowerTotals | None = None
    failures: Failures | None = None
    moved: Moved | None = None

    @property
    def clean(self) -> bool:
        """Return whether nothing is amiss."""
        survived = self.power is None or not self.power.wrong
        others = all(other is None or other.clean for other in (self.failures, self.moved))
        return self.account.clean and not self.watch.went_back and not self.watch.wrong and survived and others

    @property
    def offered(self) -> int:
        """Return the requests that reached a service that listened."""
        return self.load.statuses.total() - self.load.unconnected

    def count(self, name: str) -> int:
        """Return how often what was asked for was caused."""
        return sum(self.caused[fault.name] for fault in ASKED[name][1])


def write(totals: Totals, path: Path = REPORT) -> None:
    """Write the report of a run over the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(totals), encoding="utf-8")


def render(totals: Totals) -> str:
    """Return the report as Markdown."""
    about = {
        "Date": f"{totals.at:%Y-%m-%d %H:%M} UTC",
        "Run": f"seed {totals.seed}, {totals.load_s / 60:.1f} minutes, {totals.rate:,.0f} requests/s",
        **totals.machine,
    }
    parts = [
        "# A long run of every fault",
        INTRODUCTION,
        table(("", ""), list(about.items())),
        f"**Lost {totals.account.lost}, extra {totals.account.extra}, twice {totals.account.twice}, "
        f"went back {totals.watch.went_back}.** {EXPLANATION}",
        "## Totals",
        table(("", ""), list(lines(totals))),
        "## Faults",
        table(("asked for", "at least", "caused"), [(name, *_asked(totals, name)) for name in ASKED]),
        table(("fault", "times"), [(name, str(count)) for name, count in sorted(totals.caused.items())]),
        "## Requests that were refused, reads that were not answered",
        table(("refused with 503", "times"), [(why, f"{n:,}") for why, n in totals.load.refusals.most_common()]),
        table(("reads without an answer", "times", "during"), list(_without(totals.watch))),
    ]
    if totals.failures is not None:
        parts += ["## Failures inside", FAILURES, table(("", ""), list(failpoints.lines(totals.failures)))]
    if totals.moved is not None:
        parts += ["## A clock that is moved", MOVED, table(("", ""), list(clocks.lines(totals.moved)))]
    if totals.power is not None:
        parts += ["## Power failures", POWER, table(("", ""), list(_power(totals.power)))]
        parts.append(table(("wrong", "states", "meaning"), list(_power_wrong(totals.power))))
    return "\n\n".join(parts) + "\n"


def lines(totals: Totals) -> Iterator[tuple[str, str]]:
    """Yield name and value of each total."""
    load, watch, up_s = totals.load, totals.watch, totals.up_s
    statuses = load.statuses
    others = statuses.total() - statuses[202] - statuses[503] - statuses[0]
    yield "faults", f"{totals.caused.total()}, {totals.together} times two at once"
    yield (
        "processes that ended by themselves",
        f"{totals.aborts}, ClickHouse at its memory limit" if totals.aborts else "0",
    )
    yield "service up", f"{up_s:.0f} of {totals.load_s:.0f} s; else it was killed, ended or starting"
    yield "requests offered while it was up", f"{totals.offered:,}, {totals.offered / up_s:,.0f}/s"
    yield (
        "answered 202",
        f"{statuses[202]:,}, {statuses[202] / up_s:,.0f}/s while it was up, "
        f"{statuses[202] / totals.load_s:,.0f}/s over the whole run",
    )
    yield "refused with 503 and `Retry-After`", f"{statuses[503]:,}"
    yield "connection broken before the answer (kills)", f"{statuses[0] - load.unconnected:,}"
    yield "answered otherwise", f"{others:,}"
    yield "connections tried while it was down", f"{load.unconnected:,}"
    yield "events sent / acknowledged", f"{load.record.sent:,} / {load.record.acknowledged:,}"
    yield "dead letters", f"{totals.dead_letters:,}"
    yield "reads asked / answered", f"{watch.asked:,} / {watch.answers:,}"
    yield "slowest read", f"{watch.slowest_s:.1f} s"
    yield "resident memory of the service at its most", f"{watch.resident_mb:.0f} MB"


def summary(totals: Totals) -> str:
    """Return all of it as plain text."""
    account = totals.account
    text = [f"\nseed {totals.seed}, {totals.rate:g} requests a second wanted"]
    text += [f"  {count:4d} x {name}" for name, count in sorted(totals.caused.items())]
    text += [f"{name}: {value}" for name, value in lines(totals)]
    text += [f"  {n:6d} x 503: {why}" for why, n in totals.load.refusals.most_common()]
    text += [f"  {n:>6} x no answer to a read: {why} ({during})" for why, n, during in _without(totals.watch)]
    for name, (least, _) in ASKED.items():
        reached = "" if totals.count(name) >= least else ", NOT REACHED"
        text.append(f"{name}: {totals.count(name)} of {least} asked for{reached}")
    text += [f"WRONG ANSWER to a read: {wrong}" for wrong in totals.watch.wrong]
    if totals.power is not None:
        text.append(f"power failures: {totals.power}")
        text += [f"WRONG after a power failure: {kind}: {what}" for kind, what in totals.power.examples.items()]
    text.append(
        f"lost {account.lost}, extra {account.extra}, twice {account.twice}, went back {totals.watch.went_back}"
    )
    return "\n".join(text)


def _power(power: PowerTotals) -> Iterator[tuple[str, str]]:
    yield "histories / lives", f"{power.histories:,} / {power.lives:,}"
    yield "faults in them", ", ".join(f"{name} {count:,}" for name, count in power.faults.most_common())
    yield "states recovered", f"{power.states:,}, in {power.starts:,} starts"


def _power_wrong(power: PowerTotals) -> Iterator[tuple[str, str, str]]:
    for kind, meaning in KINDS.items():
        yield kind, str(power.wrong[kind]), meaning


def _asked(totals: Totals, name: str) -> tuple[str, str]:
    least, caused = ASKED[name][0], totals.count(name)
    return str(least), str(caused) if caused >= least else f"{caused} **not reached**"


def _without(watch: Watch) -> Iterator[tuple[str, str, str]]:
    """Yield why reads had no answer, how many, and during which faults most of them."""
    for why, count in _sums(watch.without).most_common():
        during = Counter({fault: n for (reason, fault), n in watch.without.items() if reason == why})
        most = [f"{fault or 'no fault, or right after one'}: {n}" for fault, n in during.most_common(MOST)]
        others = f"; {len(during) - MOST} others" if len(during) > MOST else ""
        yield why, f"{count:,}", "; ".join(most) + others


def _sums(without: Counter[tuple[str, str]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for (why, _), count in without.items():
        sums[why] += count
    return sums
