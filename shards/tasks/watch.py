"""The watch over tasks: one that ends without having returned is logged, counted, and started anew."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from shards.logger import get_logger
from shards.observer import Observer, Task
from shards.snapshot import EndedTask
from shards.tasks.backoff import backoff_s

_log = get_logger(__name__)

STEADY_S = 1.0
"""Seconds after which a task that was started anew counts as running again. A task that ends at once does not flicker
then, and each end is seen by whoever looks once a second."""

Work = Callable[[], Awaitable[None]]


def end_if_cancelled() -> None:
    """Raise CancelledError if the present task was cancelled before.

    For tasks that survive their errors: one that is raised behind a cancel, as in a ``finally``, takes its place. The
    task would run on then, with whatever the cancel broke off, and :meth:`Watched.close` would wait for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Watched:
    """One task that is kept running until it returns, or is closed. :meth:`Watch.keep_running` makes it.

    Its successor is started after a pause, longer with each end in a row. No task keeps it, only callbacks of the event
    loop do, so there is nothing else that could be cancelled.
    """

    def __init__(self, task: Task, run: Work, *, where: str, anew: Work | None, watch: "Watch") -> None:
        self.ended: EndedTask | None = None
        """The end that is not made good yet."""
        self._name: Task = task
        self._run = run
        self._where = where
        self._anew = anew
        self._watch = watch
        self._tries = 0
        self._closed = False
        self._pause: asyncio.TimerHandle | None = None
        self._task = self._start(self._live())

    def _start(self, life: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(life, name=f"{self._name} {self._where}".rstrip())
        task.add_done_callback(self._note_end)
        return task

    async def _live(self) -> None:
        steady = asyncio.get_running_loop().call_later(STEADY_S, self._note_steady)
        try:
            await self._run()
        finally:
            steady.cancel()

    async def _live_anew(self) -> None:
        if self._anew is not None:
            await self._anew()
        await self._live()

    def _restart(self) -> None:
        self._task = self._start(self._live_anew())

    def _note_steady(self) -> None:
        self._tries = 0
        if self.ended is not None:
            self.ended = None
            _log.info("task runs again", task=self._name, where=self._where)

    def _note_end(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            self.ended = None
        elif not self._closed:
            self._tries += 1
            self._pause = asyncio.get_running_loop().call_later(backoff_s(self._tries), self._restart)
            reason = type(error).__name__ if error is not None else "cancelled"
            since = self.ended.since if self.ended is not None else datetime.now(UTC)
            self.ended = EndedTask(task=self._name, where=self._where, since=since, reason=reason)
            self._watch.note_end(self._name, self.ended, error)

    async def close(self, *, timeout_s: float | None = 0.0) -> None:
        """Return when the task has ended for good; cancel it if it has not within ``timeout_s`` (None: never)."""
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._watch.forget(self)
        if not self._task.done() and timeout_s != 0:
            await asyncio.wait({self._task}, timeout=timeout_s)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})


class Watch:
    """All tasks that are kept running, and which of them are not running now."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._watched: dict[Watched, None] = {}

    def keep_running(self, task: Task, run: Work, *, where: str = "", anew: Work | None = None) -> Watched:
        """Run a task, and run it again whenever it is cancelled or raises.

        Args:
            task: the name of its kind.
            run: the work; its return is the end.
            where: which one of its kind, as in "shard 3".
            anew: makes ready for another run; called before each but the first.
        """
        watched = Watched(task, run, where=where, anew=anew, watch=self)
        self._watched[watched] = None
        return watched

    @property
    def ended(self) -> tuple[EndedTask, ...]:
        """Tasks that have ended and do not run again yet."""
        return tuple(watched.ended for watched in self._watched if watched.ended is not None)

    def note_end(self, task: Task, ended: EndedTask, error: BaseException | None) -> None:
        """Count and log an end."""
        self._observer.task_ended(task=task)
        effect = "it is started anew"
        _log.error("task ended", task=task, where=ended.where, reason=ended.reason, effect=effect, exc_info=error)

    def forget(self, watched: Watched) -> None:
        """Stop watching a task that is closed."""
        self._watched.pop(watched, None)
