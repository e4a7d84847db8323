"""Places of the core where its service can be made to fail: calls by name, awaits, and system calls.

Awaits are those of the tasks that are watched, of the threads that they wait for, and of statements on their way to
ClickHouse: each time such a coroutine is suspended, and each time it goes on. System calls are those that the log, the
checkpoint, the journal and the dead letters make.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Coroutine, Generator
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.faults.inside.failpoints import Failpoints

CALLS = {
    "shards.wal.committer:Committer": (
        *("_next_group", "_commit", "_write", "_abandon", "_sync_by_interval", "_reopen_failed", "_in_loop"),
        *("_keep_gap", "_give_up", "_start_thread", "_keep_thread"),
    ),
    "shards.wal.reports:Reports": ("report",),
    "shards.shard:Shard": ("_note_durable",),
    "shards.wal.log:ShardLog": (
        *("append", "sync", "acknowledge", "abandon", "reopen", "_rotate", "truncate", "save", "_write_checkpoint"),
    ),
    "shards.wal.segment:SegmentWriter": ("__init__", "write_records", "sync", "close"),
    "shards.wal.segments:SegmentList": ("next_path", "add", "discard", "remove_done"),
    "shards.wal.journal:Journal": ("note", "write", "_rewrite"),
    "shards.wal.files:LineFile": ("append", "replace", "_mend"),
    "shards.wal.log": ("write_checkpoint",),
    "shards.wal.files": ("replace_file", "sync_directory"),
    "shards.deadletters.file:DeadLetterFile": ("put_aside", "_put_aside"),
    "shards.stores.base:Store": (
        *("insert_buffered", "insert_direct", "flush_buffer", "reset_buffer", "landed", "check", "open"),
    ),
    "shards.flush.steps:Steps": (
        *("take", "load", "_send_next", "_replay_next", "_confirm_attempts", "_confirm", "_after_missing"),
        *("_add_attempt", "_batch_of", "note_added"),
    ),
    "shards.flush.sender:Sender": (
        *("landed", "send_buffered", "deliver", "_halve", "_send_direct", "confirm", "_judge", "_judge_one"),
        *("_send_alone", "_put_aside", "take_filed"),
    ),
    "shards.flush.loader:Loader": ("load", "_read"),
    "shards.flush.flusher:Flusher": (
        *("_wait_for_work", "_work_and_save", "_work", "_save", "_save_and_answer", "_back_off", "start_anew"),
        *("rows_added",),
    ),
    "shards.flush.gate:StoreGate": ("_check", "report", "_note_opened"),
    "shards.tasks.threads:Threads": ("run", "settled"),
}
"""Functions that fail before they are called, or after."""

TASKS = (
    "shards.flush.flusher:Flusher.run",
    "shards.flush.flusher:Flusher.start_anew",
    "shards.flush.gate:StoreGate.run",
    "shards.flush.order:OrderStart.run",
    "shards.wal.committer:Committer._keep_thread",
    "shards.stores.server:_execute",
)
"""Coroutine functions whose awaits fail, with those of all that they call."""

SYSTEM_CALLS = ("open", "write", "fsync", "fdatasync", "ftruncate", "replace", "unlink", "pread", "lseek", "close")

_OF_FILES = ("shards.wal.", "shards.deadletters.", "shards.flush.")
_FRAMES_MAX = 3
_ROOT = str(Path(__file__).parents[3])


def install(failpoints: Failpoints, *, only: str = "") -> None:
    """Wrap everything; with ``only``, places that do not have this text in their name never fail."""
    reach = failpoints.reach
    if only:

        def reach(place: str, *, in_task: bool = False) -> None:
            if only in place:
                failpoints.reach(place, in_task=in_task)

    for owner_name, names in CALLS.items():
        for name in names:
            owner = _found(owner_name)
            label = name if inspect.ismodule(owner) else f"{owner.__name__}.{name}"
            _replace_everywhere(owner, name, _failing(getattr(owner, name), label, reach))
    for path in TASKS:
        owner, name = _owner_of(path)
        setattr(owner, name, _failing_awaits(getattr(owner, name), reach))
    threads = _found("shards.tasks.threads:Threads")
    finish = threads.finish
    threads.finish = lambda self, work: finish(self, _stepped(work, reach))
    for name in SYSTEM_CALLS:
        setattr(os, name, _failing_system_call(name, getattr(os, name), reach))
    committer = import_module("shards.wal.committer")
    committer.SimpleQueue = _failing_queue(committer.SimpleQueue, reach)


def _found(path: str) -> Any:
    module, _, name = path.partition(":")
    return functools.reduce(getattr, filter(None, name.split(".")), import_module(module))


def _owner_of(path: str) -> tuple[Any, str]:
    """Return the class or module of a function, and its name in there."""
    module, _, name = path.partition(":")
    owner, _, last = name.rpartition(".")
    return _found(f"{module}:{owner}"), last


def _replace_everywhere(owner: Any, name: str, made: Any) -> None:
    """Replace a method, or a function in each module of the core that has imported it."""
    was = getattr(owner, name)
    setattr(owner, name, made)
    for module in [module for key, module in sys.modules.items() if key.startswith("shards.")]:
        if inspect.ismodule(owner) and getattr(module, name, None) is was:
            setattr(module, name, made)


def _failing(real: Callable[..., Any], label: str, reach: Callable[..., None]) -> Callable[..., Any]:
    before, after = f"before {label}()", f"after {label}()"

    @functools.wraps(real)
    def call(*args: Any, **named: Any) -> Any:
        reach(before)
        result = real(*args, **named)
        reach(after)
        return result

    @functools.wraps(real)
    async def call_awaited(*args: Any, **named: Any) -> Any:
        reach(before, in_task=True)
        result = await real(*args, **named)
        reach(after, in_task=True)
        return result

    return call_awaited if inspect.iscoroutinefunction(real) else call


def _failing_system_call(name: str, real: Callable[..., Any], reach: Callable[..., None]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        if not (caller := _caller()):
            return real(*args, **named)
        if name != "close":  # a file that was not closed would stay open
            reach(f"before os.{name} in {caller}")
        result = real(*args, **named)
        if name != "open":  # nobody would know of the file that is open
            reach(f"after os.{name} in {caller}")
        return result

    return call


def _caller() -> str:
    """Return the function of the core that makes the system call, itself or by way of pathlib; empty: none does."""
    frame = sys._getframe(2)
    for _ in range(_FRAMES_MAX):
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_OF_FILES):
            return f"{module.rpartition('.')[2]}.{frame.f_code.co_qualname}"
        if frame.f_back is None or module != "pathlib":
            return ""
        frame = frame.f_back
    return ""


def _failing_queue(real: type[Any], reach: Callable[..., None]) -> type[Any]:
    class Queue:
        """The committer's queue; who puts something into it is a request, which does not fail."""

        def __init__(self) -> None:
            self._queue = real()
            self.put = self._queue.put
            self.get = _failing(self._queue.get, "the queue's get", reach)
            self.get_nowait = _failing(self._queue.get_nowait, "the queue's get_nowait", reach)

    return Queue


def _failing_awaits(real: Callable[..., Any], reach: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(real)
    async def call(*args: Any, **named: Any) -> Any:
        return await _stepped(real(*args, **named), reach)

    return call


async def _stepped(work: Coroutine[Any, Any, Any], reach: Callable[..., None]) -> Any:
    """Run a coroutine; each of its awaits is a place, before it is suspended and when it goes on."""
    return await _Steps(work, reach)


class _Steps:
    def __init__(self, work: Coroutine[Any, Any, Any], reach: Callable[..., None]) -> None:
        self._work = work
        self._reach = reach

    def __await__(self) -> Generator[Any, Any, Any]:
        error: BaseException | None = None
        while True:
            try:
                awaited = self._work.send(None) if error is None else self._work.throw(error)
            except StopIteration as end:
                return end.value
            place = _place_of(self._work)
            if error := self._error_of(f"before the await in {place}"):
                if awaited is not None:
                    awaited._asyncio_future_blocking = False  # nobody awaits it any more
                continue
            try:
                yield awaited
            except BaseException as raised:  # noqa: BLE001 - passed on to the coroutine
                error = raised
            else:
                error = self._error_of(f"after the await in {place}")

    def _error_of(self, place: str) -> Exception | None:
        try:
            self._reach(place, in_task=True)
        except Exception as error:  # noqa: BLE001 - raised in the coroutine
            return error
        return None


def _place_of(work: Any) -> str:
    """Return the innermost function of the core that awaits, and its line."""
    place = ""
    while work is not None:
        frame = getattr(work, "cr_frame", None)
        if frame is None:
            break
        code = frame.f_code
        if code.co_filename.startswith(f"{_ROOT}/shards/"):
            place = f"{Path(code.co_filename).stem}.{code.co_qualname}:{frame.f_lineno}"
        work = work.cr_await
    return place
