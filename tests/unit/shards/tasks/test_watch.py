"""Tasks that end without being told to: they are started anew, at growing intervals, until they are closed."""

import asyncio
from collections.abc import Callable

import pytest

from shards.observer import Observer, Task
from shards.tasks import watch as watch_module
from shards.tasks.threads import Threads
from shards.tasks.watch import Watch
from tests.logged import lines_of


class Ends(Observer):
    """Counts ends."""

    count = 0

    def task_ended(self, *, task: Task) -> None:
        self.count += 1


class Life:
    """A task whose lives end as told, and then no more."""

    def __init__(self, *ends: BaseException | None) -> None:
        self.lives = self.prepared = 0
        self._ends = iter(ends)
        self.lasting = asyncio.Event()

    async def run(self) -> None:
        self.lives += 1
        for end in self._ends:
            if end is not None:
                raise end
            return
        self.lasting.set()
        await asyncio.Event().wait()

    async def prepare(self) -> None:
        self.prepared += 1


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of tries that pauses were made for; each is short."""
    asked: list[int] = []

    def short(tries: int) -> float:
        asked.append(tries)
        return 0.001

    monkeypatch.setattr(watch_module, "backoff_s", short)
    return asked


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "STEADY_S", 0.05)


async def until_it_runs(watch: Watch) -> None:
    async with asyncio.timeout(30):
        while watch.ended:
            await asyncio.sleep(0.005)


async def test_each_pause_is_longer_until_the_task_has_run_for_a_while(
    tries: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    observer, life = Ends(), Life(ValueError("text of a row"), asyncio.CancelledError(), KeyError("x"))
    watch = Watch(observer)
    watched = watch.keep_running("flusher", life.run, where="shard 3", anew=life.prepare)
    await life.lasting.wait()
    assert (tries, life.lives, life.prepared, observer.count) == ([1, 2, 3], 4, 3, 3)
    [ended] = watch.ended
    assert (ended.task, ended.where, ended.reason) == ("flusher", "shard 3", "KeyError")
    assert [line["reason"] for line in lines_of(caplog, "task ended")] == ["ValueError", "cancelled", "KeyError"]
    await until_it_runs(watch)
    assert [line["task"] for line in lines_of(caplog, "task runs again")] == ["flusher"]
    watched._task.cancel()
    async with asyncio.timeout(30):
        while life.lives < 5:
            await asyncio.sleep(0.001)
    assert tries == [1, 2, 3, 1]
    await watched.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; TimeoutError if that takes long."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def test_a_task_that_ends_again_and_again_is_told_to_be_away_in_between_too(tries: list[int]) -> None:
    told: list[bool] = []
    watch = Watch(Observer())

    async def work() -> None:
        await asyncio.sleep(0.002)
        told.append(bool(watch.ended))
        if len(told) < 4:
            raise ValueError("again")

    task = watch.keep_running("store-gate", work)
    await until(lambda: len(told) == 4)
    assert told == [False, True, True, True]
    assert tries == [1, 2, 3]
    await task.close()


async def test_an_end_is_told_since_the_first_of_several(tries: list[int]) -> None:
    life = Life(ValueError(), ValueError())
    watch = Watch(Observer())
    watched = watch.keep_running("flusher", life.run)
    async with asyncio.timeout(30):
        while not watch.ended:
            await asyncio.sleep(0)
    [first] = watch.ended
    await life.lasting.wait()
    [last] = watch.ended
    assert first.since == last.since
    await watched.close()
    assert watch.ended == ()


async def test_a_task_that_fails_to_make_ready_is_tried_again(tries: list[int]) -> None:
    life, failures = Life(ValueError()), iter([OSError(), OSError()])

    async def prepare() -> None:
        for failure in failures:
            raise failure

    watched = Watch(Observer()).keep_running("flusher", life.run, anew=prepare)
    await life.lasting.wait()
    assert (tries, life.lives) == ([1, 2, 3], 2)
    await watched.close()


async def test_a_task_that_returns_has_done_its_work(tries: list[int]) -> None:
    life = Life(ValueError(), None)
    watch = Watch(Observer())
    watched = watch.keep_running("wal-recovery", life.run)
    await until(lambda: life.lives == 2 and not watch.ended)
    assert (life.lives, watch.ended, tries) == (2, (), [1])
    await watched.close()


async def test_nothing_is_started_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it runs, or is about to be started anew."""
    monkeypatch.setattr(watch_module, "backoff_s", lambda _: 0.01)
    for ends in ((), (ValueError(),)):
        life = Life(*ends)
        watch = Watch(Observer())
        watched = watch.keep_running("flusher", life.run)
        async with asyncio.timeout(30):
            while not (watch.ended or life.lasting.is_set()):
                await asyncio.sleep(0)
        await watched.close()
        await asyncio.sleep(0.03)
        assert (life.lives, watch.ended) == (1, ())


async def test_a_task_may_end_by_itself_before_it_is_cancelled() -> None:
    told, ended = asyncio.Event(), False

    async def run() -> None:
        nonlocal ended
        await told.wait()
        await asyncio.sleep(0.01)
        ended = True

    watched = Watch(Observer()).keep_running("flusher", run)
    told.set()
    await watched.close(timeout_s=30)
    assert ended


async def test_work_in_a_thread_outlives_who_waits_for_it() -> None:
    loop, threads = asyncio.get_running_loop(), Threads()
    began, go_on = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        done.append("thread")

    async def in_turn() -> None:
        await asyncio.to_thread(work)

    for waiting in (threads.run(work), threads.finish(in_turn())):
        began.clear()
        go_on.clear()
        done.clear()
        task = asyncio.create_task(waiting)
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        settled = asyncio.create_task(threads.settled())
        await asyncio.sleep(0)
        assert not settled.done()
        go_on.set()
        await settled
        assert done == ["thread"]
    await threads.settled()
