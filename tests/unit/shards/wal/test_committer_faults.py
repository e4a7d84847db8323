"""A committer that meets what it was not made for: it goes on, or is started anew, and nobody waits for ever."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from shards.errors import InvariantBroken, WalFailed, public_text
from shards.observer import Observer, Task
from shards.settings import WalSync
from shards.tasks import watch
from shards.wal import committer as committer_module
from shards.wal.committer import Committer
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from tests.logged import lines_of
from tests.unit.shards.wal.logs import row


class FaultyLog(ShardLog):
    """A log whose steps raise once each, as told, before or after their work."""

    def __init__(self, directory: Path, *, shard: int = 0) -> None:
        super().__init__(directory, shard=shard, segment_max_bytes=1 << 20)
        self.faults: dict[tuple[str, bool], list[BaseException]] = {}

    def _step(self, name: str, work: Callable[[], Any]) -> Any:
        self._fail(name, after=False)
        result = work()
        self._fail(name, after=True)
        return result

    def _fail(self, name: str, *, after: bool) -> None:
        if errors := self.faults.get((name, after)):
            raise errors.pop()

    def append(self, payloads: Sequence[bytes]) -> int:
        first_seq: int = self._step("append", lambda: super(FaultyLog, self).append(payloads))
        return first_seq

    def sync(self) -> None:
        self._step("sync", super().sync)

    def acknowledge(self) -> None:
        self._fail("acknowledge", after=False)  # nothing comes after it
        super().acknowledge()

    def abandon(self) -> None:
        self._step("abandon", super().abandon)

    def reopen(self) -> None:
        self._step("reopen", super().reopen)


class Ends(Observer):
    """Notes which tasks have ended."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def task_ended(self, *, task: Task) -> None:
        self.tasks.append(task)


class Durable:
    """Notes what is reported as durable, and refuses a gap as pending rows do."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}

    def __call__(self, first_seq: int, rows: Sequence[bytes]) -> None:
        if first_seq != max(self.rows, default=0) + 1:
            raise InvariantBroken(f"row {first_seq} became durable after row {max(self.rows, default=0)}")
        self.rows.update(enumerate(rows, first_seq))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STEADY_S", 0.1)
    monkeypatch.setattr(committer_module, "SYNC_INTERVAL_S", 0.1)


@pytest.fixture
def log(tmp_path: Path) -> FaultyLog:
    return opened(tmp_path)


def opened(directory: Path, shard: int = 0) -> FaultyLog:
    log = FaultyLog(directory / str(shard), shard=shard)
    log.recover()
    return log


def read_back(log: ShardLog) -> dict[int, bytes]:
    reader = LogReader(log, after_seq=0)
    records = reader.read(upto_seq=None, max_rows=10_000, max_bytes=1 << 30)
    reader.close()
    return {record.seq: record.payload for record in records}


@asynccontextmanager
async def running(*, sync: WalSync = "always", observer: Observer | None = None) -> AsyncIterator[Committer]:
    committer = Committer(sync=sync, observer=observer or Observer())
    committer.start()
    yield committer
    async with asyncio.timeout(30):
        await committer.close()


async def is_sound(committer: Committer) -> None:
    """Wait until nothing is said to be wrong, though nothing is sent."""
    async with asyncio.timeout(30):
        while committer.problem:
            await asyncio.sleep(0.01)


STEPS = [("append", False), ("append", True), ("sync", False), ("sync", True), ("acknowledge", False)]


@pytest.mark.parametrize("error", [MemoryError(), InvariantBroken("a fault"), SystemExit(1), KeyError("x")], ids=repr)
@pytest.mark.parametrize(("step", "after"), STEPS)
async def test_whatever_a_step_raises_abandons_the_segment_and_fails_the_group(
    log: FaultyLog, tmp_path: Path, step: str, after: bool, error: BaseException
) -> None:
    other, durable, others, observer = opened(tmp_path, 1), Durable(), Durable(), Ends()
    async with running(observer=observer) as committer:
        await committer.submit(log, [row(1)], durable)
        log.faults[step, after] = [error]
        failing = committer.submit(log, [row(2), row(3)], durable)
        sound = committer.submit(other, [row(4)], others)
        with pytest.raises(WalFailed):
            await failing
        assert await sound == 1
        assert committer.problem == public_text(error)
        assert await committer.submit(log, [row(5)], durable) == 2
        assert (committer.problem, committer.queued_bytes, observer.tasks) == ("", 0, [])
    assert read_back(log) == durable.rows == {1: row(1), 2: row(5)}
    log.close()
    again = FaultyLog(tmp_path / "0")
    recovery = again.recover()
    assert (read_back(again), again.durable_seq) == ({1: row(1), 2: row(5)}, 2)
    assert (recovery.damaged, again.checkpoint.damaged) == ((), 0), "nothing was said to be durable that failed"


@pytest.mark.parametrize("after", [False, True])
async def test_a_segment_that_could_not_be_abandoned_is_not_written_to(
    log: FaultyLog, tmp_path: Path, after: bool
) -> None:
    """Its numbers would count as durable although they were told to have failed."""
    durable, observer = Durable(), Ends()
    async with running(observer=observer) as committer:
        await committer.submit(log, [row(1)], durable)
        log.faults["sync", False] = [OSError(5, "Input/output error")]
        log.faults["abandon", after] = [MemoryError(), MemoryError()]
        for number in (2, 3):
            with pytest.raises(WalFailed):
                await committer.submit(log, [row(number)], durable)
        await is_sound(committer)
        assert await committer.submit(log, [row(4)], durable) == 2
        assert observer.tasks == [], "the thread goes on"
    assert read_back(log) == durable.rows == {1: row(1), 2: row(4)}


async def test_a_disk_counts_as_writable_only_once_a_new_segment_was_begun(log: FaultyLog) -> None:
    """The segment that could not be abandoned is still there, and says nothing of the disk."""
    async with running() as committer:
        await committer.submit(log, [row(1)], Durable())
        log.faults["sync", False] = [OSError(5, "Input/output error")]
        log.faults["abandon", False] = [MemoryError()]
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(2)], Durable())
        assert len(log.segments) == 1
        await is_sound(committer)
        assert len(log.segments) == 2


async def test_a_disk_is_tried_again_whatever_the_last_try_raised(log: FaultyLog) -> None:
    durable, observer = Durable(), Ends()
    async with running(observer=observer) as committer:
        log.faults["append", False] = [MemoryError()]
        log.faults["reopen", False] = [MemoryError(), RuntimeError()]
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(1)], durable)
        await is_sound(committer)
        assert log.faults["reopen", False] == []
        assert (await committer.submit(log, [row(1)], durable), observer.tasks) == (1, [])


async def test_whose_report_was_lost_is_answered_with_the_next(log: FaultyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    durable = Durable()
    async with running() as committer:
        report, failures = committer._reports.report, [MemoryError()]

        def failing(*args: Any) -> None:
            if failures:
                raise failures.pop()
            report(*args)

        monkeypatch.setattr(committer._reports, "report", failing)
        said: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(str(context)))
        lost = committer.submit(log, [row(1), row(2)], durable)
        async with asyncio.timeout(30):
            while failures:
                await asyncio.sleep(0.01)
            assert await committer.submit(log, [row(3)], durable) == 3
        assert await lost == 1
        assert len(said) == 1
        assert "id-1" not in said[0], "no log may hold a row"
        assert (durable.rows, committer.queued_bytes) == ({1: row(1), 2: row(2), 3: row(3)}, 0)


@pytest.mark.parametrize("error", [SystemExit(1), StopIteration()], ids=repr)
async def test_what_ends_the_thread_does_not_end_the_event_loop(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    observer, failures = Ends(), [error]
    async with running(observer=observer) as committer:
        commit = committer._commit

        def failing(group: Any) -> None:
            if failures:
                raise failures.pop()
            commit(group)

        monkeypatch.setattr(committer, "_commit", failing)
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(1)], Durable())
        async with asyncio.timeout(30):
            while not observer.tasks or not committer.is_running:
                await asyncio.sleep(0.01)
        assert await committer.submit(log, [row(1)], Durable()) == 1


@pytest.mark.parametrize("place", ["_next_group", "_keep_gap", "_commit", "_reopen_failed"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_thread_that_ends_fails_who_waits_and_is_started_anew(
    log: FaultyLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, after: bool
) -> None:
    durable, observer = Durable(), Ends()
    async with running(observer=observer) as committer:
        await committer.submit(log, [row(1)], durable)
        work, failures = getattr(committer, place), [MemoryError()]

        def failing(*args: Any) -> Any:
            result = work(*args) if after else None
            if failures and (place != "_next_group" or result or not after):
                raise failures.pop()
            return result if after else work(*args)

        monkeypatch.setattr(committer, place, failing)
        answers = await asyncio.wait_for(
            asyncio.gather(*(committer.submit(log, [row(n)], durable) for n in (2, 3)), return_exceptions=True), 30
        )
        assert all(isinstance(answer, int | WalFailed) for answer in answers)
        async with asyncio.timeout(30):
            while not observer.tasks:
                with suppress(WalFailed):
                    await committer.submit(log, [row(4)], durable)
        assert observer.tasks == ["wal-committer"]
        async with asyncio.timeout(30):
            while not committer.is_running:
                await asyncio.sleep(0.01)
        await committer.submit(log, [row(5)], durable)
        await is_sound(committer)
        assert committer.queued_bytes == 0
    assert read_back(log) == durable.rows
    assert {row(1), row(5)} <= set(durable.rows.values())


async def test_who_is_durable_is_told_so_though_the_thread_ended_before_its_report(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the log would hold rows that nobody sends on, and no later row could follow them."""
    durable, observer = Durable(), Ends()
    async with running(observer=observer) as committer:
        in_loop, failures = committer._in_loop, [MemoryError()]

        def failing(call: Callable[[], None]) -> None:
            if failures:
                raise failures.pop()
            in_loop(call)

        monkeypatch.setattr(committer, "_in_loop", failing)
        assert await asyncio.wait_for(committer.submit(log, [row(1)], durable), 30) == 1
        async with asyncio.timeout(30):
            while not committer.problem:
                await asyncio.sleep(0)
            assert "MemoryError" in committer.problem
            while not committer.is_running:
                await asyncio.sleep(0.01)
        assert await committer.submit(log, [row(2)], durable) == 2
        await is_sound(committer)
        assert observer.tasks == ["wal-committer"]
    assert read_back(log) == durable.rows


async def test_a_callback_that_fails_keeps_nobody_else_waiting(log: FaultyLog) -> None:
    def failing(first_seq: int, rows: Sequence[bytes]) -> None:
        raise MemoryError

    async with running() as committer:
        answers = await asyncio.wait_for(
            asyncio.gather(
                committer.submit(log, [row(1)], failing),
                committer.submit(log, [row(2)], lambda *_: None),
                return_exceptions=True,
            ),
            30,
        )
    assert isinstance(answers[0], WalFailed)
    assert answers[1] == 2


async def test_a_thread_outlives_the_task_that_waits_for_it(log: FaultyLog) -> None:
    durable, observer = Durable(), Ends()
    async with running(observer=observer) as committer:
        for number in range(1, 4):
            [task] = [task for task in asyncio.all_tasks() if task.get_name() == "wal-committer"]
            task.cancel()
            await committer.submit(log, [row(number)], durable)
            async with asyncio.timeout(30):
                while all(task.get_name() != "wal-committer" or task.done() for task in asyncio.all_tasks()):
                    await asyncio.sleep(0.01)
            assert [thread.name for thread in threading.enumerate()].count("wal-committer") == 1
        assert observer.tasks == ["wal-committer"] * 3
    assert read_back(log) == durable.rows


async def test_at_the_end_nobody_is_left_waiting(log: FaultyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has ended, its successor is due later than the end comes."""
    monkeypatch.setattr(watch, "backoff_s", lambda _: 3600.0)
    async with running() as committer:

        def failing(group: object) -> None:
            raise MemoryError

        monkeypatch.setattr(committer, "_commit", failing)
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(1)], Durable())
        assert not committer.is_running
        waiting = committer.submit(log, [row(2)], Durable())
    assert isinstance(waiting.exception(), WalFailed)
    assert isinstance(committer.submit(log, [row(3)], Durable()).exception(), WalFailed)
    assert (committer.queued_bytes, read_back(log)) == (0, {})


@pytest.mark.parametrize("sync", ["interval", "off"])
async def test_a_sync_that_fails_at_the_end_is_logged_and_the_others_are_synced(
    log: FaultyLog, tmp_path: Path, caplog: pytest.LogCaptureFixture, sync: WalSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "SYNC_INTERVAL_S", 3600.0)
    other, synced = opened(tmp_path, 1), []
    monkeypatch.setattr(other, "sync", lambda: synced.append(1))
    async with running(sync=sync) as committer:
        await committer.submit(log, [row(1)], Durable())
        await committer.submit(other, [row(1)], Durable())
        log.faults["sync", False] = [OSError(5, "Input/output error")]
    [line] = lines_of(caplog, "sync failed")
    assert (line["level"], line["shard"], line["error"]) == ("error", 0, "[Errno 5] Input/output error")
    assert "may be lost" in line["effect"]
    assert synced == [1]


async def test_what_was_acknowledged_is_synced_at_the_end_though_its_segment_could_not_be_given_up(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "SYNC_INTERVAL_S", 3600.0)
    synced: list[int] = []
    async with running(sync="interval") as committer:
        await committer.submit(log, [row(1)], Durable())
        monkeypatch.setattr(log, "sync", lambda: synced.append(log.durable_seq))
        log.faults["append", False] = [OSError(5, "Input/output error")]
        log.faults["abandon", False] = [MemoryError()]
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(2)], Durable())
        assert synced == []
    assert synced == [1]


async def test_whose_failure_was_not_reported_is_told_with_the_next_report(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable = Durable()
    async with running() as committer:
        in_loop, lost = committer._in_loop, [True]
        monkeypatch.setattr(committer, "_in_loop", lambda call: None if lost and lost.pop() else in_loop(call))
        log.faults["append", False] = [OSError(5, "Input/output error")]
        failed = committer.submit(log, [row(1)], durable)
        async with asyncio.timeout(30):
            while lost:
                await asyncio.sleep(0.01)
            assert await committer.submit(log, [row(2)], durable) == 1
            with pytest.raises(WalFailed):
                await failed
    assert (durable.rows, committer.queued_bytes) == ({1: row(2)}, 0)


async def test_a_log_that_can_be_written_again_is_said_to_be_once(
    log: FaultyLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with running() as committer:
        await committer.submit(log, [row(1)], Durable())
        assert lines_of(caplog, "write-ahead log writable again") == []
        log.faults["sync", False] = [OSError(5, "Input/output error")]
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(2)], Durable())
        [line] = lines_of(caplog, "write-ahead log not writable")
        assert (line["level"], line["shard"], line["error"]) == ("error", 0, "Input/output error")
        for _ in range(2):
            await committer.submit(log, [row(2)], lambda *_: None)
    assert len(lines_of(caplog, "write-ahead log writable again")) == 1
