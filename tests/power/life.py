"""Lives of the service on one directory: what it does in each, and what goes wrong meanwhile."""

import asyncio
import errno
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import attrs

from shards.errors import ShardsError
from tests.power.disk import State
from tests.power.promises import Appended, Named, Ordered, Promises, PutAside, Saved, Settled, Shown, Wrong
from tests.power.recovered import write_state
from tests.power.service import Service, row_of
from tests.syscalls import Killed, Operation, Recorder

DEADLINE_S = 30.0
AHEAD_NS = 3_600_000_000_000
"""What a clock that is ahead is ahead of the right time."""

What = Literal["append", "confirm", "ahead", "save", "put aside", "discarded", "requeued", "reopen"]
Fault = Literal["kill", "fail", "part", "full"]
"""The process is killed before a call; the call fails; a write takes half of its bytes, and the next one fails; the
call fails, and so do writes after it."""
At = int | str
"""A call of a life: its number among those that count, from 0; or ``sync 3``, its number among those that sync."""
FULL_CALLS = 6
"""Writes that fail on a full disk until there is room again."""


@attrs.frozen
class Step:
    """One thing that the service does.

    ``rows`` is, to append, the paddings of the rows of one request in bytes; to confirm, how many of the oldest pending
    rows; ahead, how many of the newest.
    """

    what: What
    shard: int = 0
    rows: tuple[int, ...] = (1,)

    def __str__(self) -> str:
        return f"{self.what} {self.shard} {','.join(map(str, self.rows))}"


def changes_files(operation: Operation) -> bool:
    """Whether a call is one of those that faults are counted by: all but opening to read, and closing."""
    return operation.call != "close" and operation.mode not in ("read", "write")


class Faults:
    """Causes the faults of one life."""

    def __init__(self, faults: Mapping[At, Fault], on_kill: Callable[[], None]) -> None:
        self.count = 0
        self._syncs = 0
        self.caused: list[Fault] = []
        self._faults = faults
        self._on_kill = on_kill
        self._failing = 0

    def __call__(self, operation: Operation) -> int | None:
        if not changes_files(operation):
            return None
        number, self.count = self.count, self.count + 1
        fault = self._faults.get(number)
        if operation.call in ("fsync", "fdatasync"):
            fault = self._faults.get(f"sync {self._syncs}", fault)
            self._syncs += 1
        if fault is not None:
            self.caused.append(fault)
        if fault == "kill":
            self._on_kill()
            raise Killed
        if fault == "part" and operation.call == "write":
            self._failing = 1
            return max(1, len(operation.data) // 2)
        if fault == "full":
            self._failing = FULL_CALLS
        if self._failing and operation.call == "write":
            self._failing -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault in ("fail", "part"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return None


class History:
    """Lives on one directory, with what was promised in them, and all operations since power failed last."""

    def __init__(self, root: Path, *, shards: int = 1) -> None:
        self.root = root
        self.shards = shards
        self.base: State = {}
        self.operations: list[Operation] = []
        self.promises = Promises()
        self.told: list[str] = []
        """What happened, for whoever reads of a fault."""
        self.wrong: list[Wrong] = []
        """What was wrong with a start behind a kill, when the disk keeps all."""
        self.lives = 0
        self.caused: Counter[str] = Counter()
        """How often power failed on the way, and how often each fault of a life was caused."""
        self.began = 0
        """Count of operations at the begin of the last life."""
        self._numbers = itertools.count(1)
        write_state({}, root)

    def power_fails(self, count: int, state: State) -> None:
        """Go on with a state that the power failure behind ``count`` operations has left."""
        self.told.append(f"power fails behind call {count} of {len(self.operations)}")
        self.caused["power"] += 1
        self.base, self.operations = state, []
        self.promises = self.promises.upto(count)
        write_state(state, self.root)

    def forget_id(self, state: State) -> None:
        """Go on with a state, all of it durable, but without the files that name the directory."""
        self.power_fails(len(self.operations), {path: state[path] for path in state if not path.endswith("/id")})
        self.promises.facts = [(0, fact) for _, fact in self.promises.facts if not isinstance(fact, Named)]

    def live(
        self, steps: Sequence[Step], faults: Mapping[At, Fault] | None = None, *, clock_is_ahead: bool = False
    ) -> int:
        """Start, take the steps, and end, unless a fault ends it before. Return the number of calls that count."""
        self.lives += 1
        self.began = len(self.operations)
        self.told.append(f"life: {'; '.join(map(str, steps))}{f' with {dict(faults)}' if faults else ''}")
        service = Service(self.root, shards=self.shards, ahead_ns=AHEAD_NS if clock_is_ahead else 0)
        life = _Life(self, steps, faults or {}, service)
        hook, threading.excepthook = threading.excepthook, life.note_dead_thread
        try:
            with life.calls:
                with suppress(Killed):
                    asyncio.run(life.run())
                with suppress(Killed):
                    life.service.close(orderly=not life.calls.killed)
        finally:
            threading.excepthook = hook
        self.operations = life.calls.operations
        self.caused.update(life.faults.caused)
        return life.faults.count

    def new_row(self, shard: int, padding: int, order_ns: int) -> bytes:
        """Return a row that was never sent, and note that it is."""
        row = row_of(next(self._numbers), shard=shard, padding=padding, order_ns=order_ns)
        self.promises.sent.add(row)
        return row


class _Life:
    """One life. A step that fails for a fault of the disk is passed over, as the service answers 503 or tries again."""

    def __init__(self, history: History, steps: Sequence[Step], faults: Mapping[At, Fault], service: Service) -> None:
        self._history = history
        self._promises = history.promises
        self._steps = steps
        self.faults = Faults(faults, self._killed)
        self.calls = Recorder(history.root, inject=self.faults, operations=history.operations)
        self.service = service
        self._died: asyncio.Future[None] | None = None

    def _killed(self) -> None:
        if self._died is not None:
            self._died.get_loop().call_soon_threadsafe(self._note_death)

    def note_dead_thread(self, died: threading.ExceptHookArgs) -> None:
        """Let the life end with its committer; unless that was killed it is at fault."""
        if not self.calls.killed:
            self._history.wrong.append(("stuck", f"the committer ended: {died.exc_type.__name__}: {died.exc_value}"))
        self._killed()

    def _note_death(self) -> None:
        if self._died is not None and not self._died.done():
            self._died.set_result(None)

    def _note(self, *facts: Any) -> None:
        self._promises.note(len(self.calls.operations), *facts)

    async def run(self) -> None:
        if not self._start():
            return
        self._died = asyncio.get_running_loop().create_future()
        self.service.open()
        try:
            for step in self._steps:
                with suppress(OSError, ShardsError):
                    await self._take(step)
                if self.calls.killed or self._died.done():
                    raise Killed
        finally:
            async with asyncio.timeout(DEADLINE_S):
                await self.service.end(orderly=not (self.calls.killed or self._died.done()))
            self._died = None

    def _start(self) -> bool:
        """Start; False: a fault of the disk refuses it. What is wrong with it otherwise is noted in the history."""
        try:
            view = self.service.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, the service does not start
            if not self.faults.caused:
                self._history.wrong.append(("refused", f"behind a kill: {type(error).__name__}: {error}"))
            return False
        count = len(self.calls.operations)
        self._history.wrong += self._promises.broken_by(view, count)
        self._promises.note_start(count, view)
        return True

    async def _take(self, step: Step) -> None:
        shard = step.shard
        match step.what:
            case "append":
                await self._append(shard, step.rows)
            case "confirm":
                self._confirm(shard, sorted(self.service.pending(shard))[: step.rows[0]])
            case "ahead":
                self._confirm(shard, sorted(self.service.pending(shard))[-step.rows[0] :])
            case "save":
                confirmed, shown = self.service.save(shard)
                self._note(Saved(shard, confirmed, shown))
            case "put aside":
                await self._put_aside(shard)
            case "reopen":
                self.service.reopen(shard)
            case "discarded" | "requeued":
                await self._settle(shard, step.what)

    async def _append(self, shard: int, paddings: Sequence[int]) -> None:
        orders = [self.service.next_order() for _ in paddings]
        rows = [self._history.new_row(shard, *one) for one in zip(paddings, orders, strict=True)]
        first = await self._unless_killed(self.service.append(shard, rows))
        self._note(
            Named(self.service.id),
            Ordered(orders[-1]),
            *(Appended(shard, seq, row) for seq, row in enumerate(rows, first)),
        )

    async def _unless_killed(self, work: "asyncio.Future[Any]") -> Any:
        assert self._died is not None
        await asyncio.wait({work, self._died}, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
        if self.calls.killed or self._died.done():
            raise Killed
        return work.result()

    def _confirm(self, shard: int, seqs: Sequence[int]) -> None:
        if seqs:
            pending = self.service.pending(shard)
            self._note(*(Shown(pending[seq]) for seq in seqs))
            self.service.confirm(shard, seqs)

    async def _put_aside(self, shard: int) -> None:
        for seq, row in sorted(self.service.pending(shard).items())[:1]:
            letter = await self.service.put_aside(shard, seq)
            self._note(PutAside(shard, letter, row))

    async def _settle(self, shard: int, action: str) -> None:
        for letter, row in await self.service.letters(shard):
            if action == "requeued":
                self._promises.again.add(row)
            await self._unless_killed(asyncio.ensure_future(self.service.settle(letter, action)))
            self._note(Settled(shard, letter, action))
            return
