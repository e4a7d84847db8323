"""Explores the states that power failures leave: all of short histories, and samples of long ones.

A history is a few lives of the service on one directory, with faults in them (:mod:`tests.power.life`). Every state
that a power failure may leave behind any of its calls (:mod:`tests.power.disk`) is recovered by the real code
(:mod:`tests.power.recovered`), and compared with what was promised until then (:mod:`tests.power.promises`).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import attrs

from tests.power.disk import MODELS, Disk, Model, State
from tests.power.life import At, Fault, History, Step, changes_files
from tests.power.promises import KINDS, Wrong
from tests.power.recovered import Starts, quick_directory
from tests.syscalls import Operation

LOG = (
    Step("append", rows=(1,)),
    Step("append", rows=(90, 350)),
    Step("append", rows=(1,)),
    Step("confirm", rows=(3,)),
    Step("save"),
    Step("append", rows=(1,)),
    Step("ahead"),
    Step("save"),
)
"""Rotation, a row over several sectors, a checkpoint that frees a segment, and one with a number beyond it."""
LETTERS = (
    Step("append", rows=(1, 1)),
    Step("put aside"),
    Step("discarded"),
    Step("put aside"),
    Step("requeued"),
    Step("save"),
)
"""Letters put aside; an operator gives one up, and requeues the other."""
SETTLED_TWICE = (Step("append"), Step("put aside"), Step("discarded"), Step("requeued"))
"""The operator changes their mind, where the first settlement fails."""
AFTER = (Step("append"), Step("confirm"), Step("put aside"), Step("save"))
"""A life after a fault."""

SHORT: Mapping[str, Sequence[Step]] = {"log": LOG, "letters": LETTERS, "twice": SETTLED_TWICE}
PLAIN_LIMIT = 5_000
FAULT_LIMIT = 2
ONE_LIMIT = 16
"""States at each moment that are checked of a history without a fault, with each fault, and with a certain one."""


@attrs.define
class Totals:
    """Counts of what was explored, and of what was wrong, with one example of each kind.

    Attributes:
        checked: pairs of a state and a moment at which it may be left.
        states: different ones, each recovered.
        starts: recoveries, those behind a recovery included.
        cut_short: moments with more states than were tried.
    """

    histories: int = 0
    lives: int = 0
    faults: Counter[str] = attrs.field(factory=Counter)
    checked: int = 0
    states: int = 0
    starts: int = 0
    cut_short: int = 0
    wrong: Counter[str] = attrs.field(factory=Counter)
    examples: dict[str, str] = attrs.field(factory=dict)

    def add(self, other: "Totals") -> None:
        """Take in the counts of another run."""
        for name in ("histories", "lives", "checked", "states", "starts", "cut_short"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults.update(other.faults)
        self.wrong.update(other.wrong)
        self.examples = {**other.examples, **self.examples}

    def note_wrong(self, wrong: Sequence[Wrong], example: str) -> None:
        """Count a state's faults, each kind once."""
        for kind, what in dict(reversed(wrong)).items():
            self.wrong[kind] += 1
            self.examples.setdefault(kind, f"{what}\n{example}")

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {self.wrong[kind]}" for kind in KINDS)
        return (
            f"{self.histories:,} histories, {self.lives:,} lives, faults: {dict(self.faults)}\n"
            f"{self.checked:,} checked, {self.states:,} states, {self.starts:,} starts, {self.cut_short} cut short\n"
            f"{faults}"
        )


class Explorer:
    """Makes histories and checks them, in a directory of its own; to the first fault, if asked to."""

    def __init__(self, directory: Path, *, shards: int = 1, until_wrong: bool = False) -> None:
        self.totals = Totals()
        self._until_wrong = until_wrong
        self._shards = shards
        self._directory = directory
        self._starts = Starts(directory / "state", shards)

    def history(self) -> History:
        """Return a new one, with nothing on disk."""
        return History(self._directory / "history", shards=self._shards)

    def check_all(self, history: History, *, limit: int, since: int = 0) -> None:
        """Check every state that power may leave from behind the call ``since`` on, or ``limit`` at each moment.

        Of a history with faults only those of posix, because those of ext4 are among them.
        """
        self._take(history)
        for model in MODELS if not history.caused else MODELS[:1]:
            for count, disk in moments(history, model, since):
                states, is_all = disk.all_states(limit=limit)
                if not is_all:
                    self.totals.cut_short += 1
                    states += disk.some_states(Random(count), count=limit)
                for state in states:
                    self.check(history, count, state, model)
                    if self.is_done:
                        return

    @property
    def is_done(self) -> bool:
        """Whether the first fault was found, and no others are asked for."""
        return self._until_wrong and bool(self.totals.wrong)

    def check_some(self, history: History, chance: Random, *, count: int) -> None:
        """Check states at random: of each model half of them, at moments of the last life mostly."""
        self._take(history)
        for model in MODELS:
            last = len(history.operations)
            since = history.began if chance.random() < 0.7 else 0
            wanted = Counter(chance.randint(since, last) for _ in range(count // len(MODELS)))
            for moment, disk in moments(history, model, since, always=True):
                for state in disk.some_states(chance, count=wanted[moment]):
                    self.check(history, moment, state, model)

    def check(self, history: History, count: int, state: State, model: Model) -> None:
        """Recover a state, and compare it with what was promised until then."""
        self.totals.checked += 1
        recovered = self._starts.of(state)
        wrong = list(recovered.wrong)
        if recovered.view is not None:
            wrong += history.promises.broken_by(recovered.view, count)
        if wrong:
            self.totals.note_wrong(wrong, _told(history, f"power fails ({model}) behind call {count}"))

    def _take(self, history: History) -> None:
        self.totals.histories += 1
        self.totals.lives += history.lives
        self.totals.faults.update(history.caused)
        if history.wrong:
            self.totals.note_wrong(history.wrong, _told(history, "no power failure: the start of a life told this"))

    def finish(self) -> Totals:
        """Return the totals."""
        self.totals.states, self.totals.starts = self._starts.states, self._starts.starts
        return self.totals


def moments(history: History, model: Model, since: int, *, always: bool = False) -> Iterator[tuple[int, Disk]]:
    """Yield the disk behind each call, from ``since`` on; unless ``always`` only where the next one changes anything.

    Between those the states are the same, and what is promised only grows.
    """
    disk = Disk(history.base, model)
    for count, operation in enumerate([*history.operations, None]):
        if count >= since and (always or operation is None or changes_files(operation)):
            yield count, disk
        if operation is not None:
            disk.take(operation)


def _told(history: History, end: str) -> str:
    return "\n".join([*history.told, end])


def short_histories(explorer: Explorer, steps: Sequence[Step]) -> Iterator[tuple[History, int]]:
    """Yield a history without a fault, then one for each fault at each call, each followed by another life.

    With each comes the count of calls from which on its states are others than those of the first one. The calls of the
    start are the same in all, so only one of the short histories has faults in them.
    """
    start = explorer.history()
    calls_of_start = start.live(()) if steps != LOG else 0
    plain = explorer.history()
    calls = plain.live(steps, clock_is_ahead=True)
    changing = [operation for operation in plain.operations if changes_files(operation)]
    yield plain, 0
    for number, operation in enumerate(changing[:calls]):
        if number < calls_of_start:
            continue
        for faults in _faults_at(number, operation):
            history = explorer.history()
            history.live(steps, faults, clock_is_ahead=True)
            since = len(history.operations) if "kill" in faults.values() else _first_error(history.operations)
            history.live(AFTER)
            yield history, since


def explore_plain(name: str) -> Totals:
    """Check all states of a short history without a fault."""
    with quick_directory() as directory:
        explorer = Explorer(directory)
        history = explorer.history()
        history.live(SHORT[name], clock_is_ahead=True)
        explorer.check_all(history, limit=PLAIN_LIMIT)
        return explorer.finish()


def explore_one(
    steps: Sequence[Step],
    after: Sequence[Step],
    fault: Fault,
    where: Callable[[Operation], bool],
    *,
    later: int = 0,
    without_id: bool = False,
) -> Totals:
    """Check histories with one fault, ``later`` calls behind each call of ``steps`` that is as asked for.

    With ``without_id`` they begin with the directory of an older release, which had none.
    """

    def begun() -> History:
        history = explorer.history()
        if without_id:
            history.live(steps)
            disk = Disk(history.base, "posix")
            for operation in history.operations:
                disk.take(operation)
            history.forget_id(disk.now)
        return history

    with quick_directory() as directory:
        explorer = Explorer(directory)
        plain = begun()
        plain.live(steps, clock_is_ahead=True)
        changing = [operation for operation in plain.operations if changes_files(operation)]
        found = [number for number, operation in enumerate(changing) if where(operation)]
        assert found, "no call is as asked for"
        for number in found:
            history = begun()
            history.live(steps, {number + later: fault}, clock_is_ahead=True)
            history.live(after)
            explorer.check_all(history, limit=ONE_LIMIT)
        return explorer.finish()


def explore_next_start(fault: Fault) -> Totals:
    """Check histories with a kill before a sync of records, and a fault of each sync of the next start."""
    steps = (Step("append"), Step("append"))
    with quick_directory() as directory:
        explorer = Explorer(directory)
        plain = explorer.history()
        plain.live(steps)
        changing = [operation for operation in plain.operations if changes_files(operation)]
        killed_at = [number for number, operation in enumerate(changing) if operation.call == "fdatasync"][1]
        for number in itertools.count():
            history = explorer.history()
            history.live(steps, {killed_at: "kill"})
            since = len(history.operations)
            history.live(steps, {f"sync {number}": fault})
            if history.caused.total() == 1:  # the life had no such sync
                return explorer.finish()
            explorer.check_all(history, limit=FAULT_LIMIT, since=since)
    raise AssertionError


def explore_short(name: str, *, until_wrong: bool = False) -> Totals:
    """Check one of the short histories, without and with faults; stop at the first fault if asked to."""
    with quick_directory() as directory:
        explorer = Explorer(directory, until_wrong=until_wrong)
        for history, since in short_histories(explorer, SHORT[name]):
            limit = FAULT_LIMIT if history.caused else ONE_LIMIT if until_wrong else PLAIN_LIMIT
            explorer.check_all(history, limit=limit, since=since)
            if explorer.is_done:
                break
        return explorer.finish()


def _faults_at(number: int, operation: Operation) -> Iterator[Mapping[At, Fault]]:
    yield {number: "kill"}
    yield {number: "fail"}
    if operation.call == "write":
        yield {number: "part"}
        yield {number: "part", number + 2: "kill"}
    if operation.call in ("fsync", "fdatasync"):
        yield {number: "fail", number + 1: "kill"}


def _first_error(operations: Sequence[Operation]) -> int:
    errors = (number for number, operation in enumerate(operations) if operation.error)
    return next(errors, len(operations))
