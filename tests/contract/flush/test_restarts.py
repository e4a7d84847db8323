"""A flusher that ends anywhere is started anew as after a kill: nothing is lost, and nothing counts twice."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from shards import shardset
from shards.deadletters.file import DeadLetterFile
from shards.errors import RowsRefused
from shards.flush import gate
from shards.flush.flusher import Flusher
from shards.flush.tally import Tally
from shards.observer import Observer, Task
from shards.settings import ShardSettings
from shards.shardset import ShardSet
from shards.stores.base import Store
from shards.tasks import watch
from shards.wal.checkpoint import Checkpoint, read_checkpoint
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from tests.contract.rows import count
from tests.contract.shardsets import BAD, events, flushed, refuse_bad, rows_and_keys, running, sums_up, until, up
from tests.logged import lines_of
from tests.statements import execute


@pytest.fixture
def settings(settings: ShardSettings, monkeypatch: pytest.MonkeyPatch) -> ShardSettings:
    """One shard, and a task that runs again counts as running soon."""
    monkeypatch.setattr(watch, "STEADY_S", 0.1)
    return attrs.evolve(settings, shard_count=1)


class Held:
    """A call that is held once, before or after its work, until its task is cancelled."""

    def __init__(self, call: Callable[..., Awaitable[Any]], *, after: bool) -> None:
        self.reached = asyncio.Event()
        self._call = call
        self._after = after

    async def __call__(self, *args: Any) -> Any:
        if self.reached.is_set():
            return await self._call(*args)
        if self._after:
            await self._call(*args)
        self.reached.set()
        return await asyncio.Event().wait()


class HeldThread:
    """The same of a call in a thread, which cannot be cancelled: it goes on once it is let go."""

    def __init__(
        self, call: Callable[..., Any], *, after: bool = False, when: Callable[..., Any] = lambda *_, **__: True
    ) -> None:
        self._when = when
        self.reached = asyncio.Event()
        self.go_on = threading.Event()
        self.at_once = self.most_at_once = self.calls = 0
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._after = after

    def __get__(self, instance: object, owner: type) -> Callable[..., Any]:
        return lambda *args, **options: self(instance, *args, **options)

    def __call__(self, *args: Any, **options: Any) -> Any:
        if not self._when(*args, **options):
            return self._call(*args, **options)
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            result = self._call(*args, **options) if self._after else None
            self._loop.call_soon_threadsafe(self.reached.set)
            assert self.go_on.wait(20)
            return result if self._after else self._call(*args, **options)
        finally:
            self.at_once -= 1


class Ends(Observer):
    """Notes which tasks have ended."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def task_ended(self, *, task: Task) -> None:
        self.tasks.append(task)


def cancel(name: str) -> None:
    """Cancel a task as aiomonitor would; nobody else is told."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name().startswith(name)]
    task.cancel()


async def starts_anew(name: str) -> None:
    """Wait until a task that ended has its successor, and that could have had its turn in a thread."""
    await until(lambda: any(task.get_name().startswith(name) for task in asyncio.all_tasks()))
    for _ in range(3):
        await asyncio.to_thread(int)


async def is_whole(shards: ShardSet, store: Store, rows: int) -> None:
    """Check that all rows are there, count once, and are proved to be."""
    assert await rows_and_keys(store) == (rows, rows)
    now = shards.snapshot()
    assert (now.appended, now.confirmed, now.pending, now.damaged) == (rows, rows, 0, 0)
    assert sums_up(shards)
    assert (await shards.audit()).verdict == "whole"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("statement", "flush_max_rows"),
    [
        ("insert_buffered", 1000),
        ("flush_buffer", 1000),
        ("landed", 1000),
        ("insert_direct", 10),
        ("landed", 10),
    ],
)
async def test_a_flusher_that_is_cancelled_in_an_attempt_sends_its_rows_again(
    settings: ShardSettings,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    statement: str,
    flush_max_rows: int,
    after: bool,
) -> None:
    async with up(attrs.evolve(settings, flush_max_rows=flush_max_rows), store) as shards:
        held = Held(getattr(store, statement), after=after)
        monkeypatch.setattr(store, statement, held)
        await shards.append(events(shards, 30))
        waiting = asyncio.create_task(flushed(shards))
        await held.reached.wait()
        cancel("flusher")
        await waiting
        await is_whole(shards, store, 30)
        [line] = lines_of(caplog, "task ended")
        assert (line["level"], line["task"], line["where"], line["reason"]) == (
            *("error", "flusher", "shard 0"),
            "cancelled",
        )
        await shards.append(events(shards, 5))
        await flushed(shards)
        await is_whole(shards, store, 35)


class Abyss(BaseException):
    """What no handler of errors catches."""


@pytest.mark.parametrize("error", [RuntimeError, Abyss, asyncio.CancelledError])
async def test_whatever_ends_a_flusher_is_counted_told_and_made_good(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    observer, wait_for_work, ends = Ends(), Flusher._wait_for_work, 0

    async def failing(self: Flusher) -> None:
        nonlocal ends
        if ends < 3:
            ends += 1
            raise error
        await wait_for_work(self)

    monkeypatch.setattr(Flusher, "_wait_for_work", failing)
    shards = ShardSet(settings, store, observer=observer)
    await shards.start()
    try:
        await shards.append(events(shards, 10))
        await until(lambda: bool(shards.snapshot().ended))
        [ended] = shards.snapshot().ended
        assert (ended.task, ended.where) == ("flusher", "shard 0")
        assert ended.reason == ("cancelled" if error is asyncio.CancelledError else error.__name__)
        await flushed(shards)
        await until(lambda: not shards.snapshot().ended)
        await is_whole(shards, store, 10)
        assert observer.tasks == ["flusher"] * 3
    finally:
        await shards.close()


async def test_a_successor_waits_for_the_thread_that_its_predecessor_left(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with up(settings, store) as shards:
        held = HeldThread(ShardLog.truncate)
        monkeypatch.setattr(ShardLog, "truncate", held)
        await shards.append(events(shards, 10))
        await held.reached.wait()
        cancel("flusher")
        await until(lambda: bool(shards.snapshot().ended))
        await shards.append(events(shards, 10))
        waiting = asyncio.create_task(flushed(shards))
        await starts_anew("flusher")
        assert shards.snapshot().ended, "it does not run before the thread is done"
        assert (waiting.done(), held.calls) == (False, 1)
        held.go_on.set()
        await waiting
        assert held.most_at_once == 1
        await is_whole(shards, store, 20)
        assert read_checkpoint(shards._logs[0].directory).upto == 20


async def test_the_end_waits_for_the_thread_of_a_cancelled_flusher(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would write to a directory that another process may have locked by then."""
    monkeypatch.setattr(shardset, "LAST_STATEMENT_S", 0.01)
    async with up(settings, store) as shards:
        held = HeldThread(ShardLog.truncate)
        monkeypatch.setattr(ShardLog, "truncate", held)
        await shards.append(events(shards, 10))
        await held.reached.wait()
        closing = asyncio.create_task(shards.close())
        await until(lambda: all(not task.get_name().startswith("flusher") for task in asyncio.all_tasks()))
        assert not closing.done()
        held.go_on.set()
        await closing
        assert held.at_once == 0
        assert shards.snapshot().ended == (), "nothing is restarted at the end"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_letter_that_was_written_as_its_flusher_was_cancelled_counts_once(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    await store.open()
    await refuse_bad(store)
    held = HeldThread(DeadLetterFile._put_aside, after=after)
    monkeypatch.setattr(DeadLetterFile, "_put_aside", held)
    async with up(settings, store) as shards:
        await shards.append([*events(shards, 5), *events(shards, 1, metadata=BAD), *events(shards, 5)])
        await held.reached.wait()
        cancel("flusher")
        await until(lambda: bool(shards.snapshot().ended))
        assert (shards.snapshot().dead_lettered, shards.snapshot().unaccounted) == (0, 0)
        await starts_anew("flusher")
        held.go_on.set()
        await flushed(shards)
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.dead_lettered, now.unaccounted) == (10, 0, 1, 0)
        assert held.calls == 1, "it was not refused a second time"
        assert read_checkpoint(shards._logs[0].directory).dead_lettered == 1
    async with up(settings, store) as shards:
        now = shards.snapshot()
        assert (now.confirmed, now.pending, now.dead_lettered, now.unaccounted) == (10, 0, 1, 0)


async def test_a_dead_letter_is_in_one_checkpoint_if_the_flusher_is_cancelled_as_it_is_written(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.open()
    await refuse_bad(store)
    async with up(settings, store) as shards:
        held = HeldThread(ShardLog.truncate, after=True, when=lambda _, checkpoint: checkpoint.dead_lettered)
        monkeypatch.setattr(ShardLog, "truncate", held)
        await shards.append([*events(shards, 1, metadata=BAD), *events(shards, 5)])
        await held.reached.wait()
        cancel("flusher")
        held.go_on.set()
        await shards.append(events(shards, 5))
        await flushed(shards)
        saved = read_checkpoint(shards._logs[0].directory)
        assert (saved.upto, saved.confirmed, saved.dead_lettered) == (11, 10, 1)


async def test_rows_that_a_failing_read_of_the_log_has_passed_are_not_damaged(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = attrs.evolve(settings, memory_max_rows=20, flush_max_rows=10)
    read, failures = LogReader.read, 0

    def failing(self: LogReader, **limits: Any) -> Any:
        nonlocal failures
        records = read(self, **limits)
        if records and failures < 3:
            failures += 1
            raise MemoryError
        return records

    async with up(settings, store) as shards:
        shards.pause(0)
        await shards.append(events(shards, 100))
        assert shards.pending(["m"]).unread == {"m": 80}
        monkeypatch.setattr(LogReader, "read", failing)
        shards.resume(0)
        await flushed(shards)
        assert failures == 3
        await is_whole(shards, store, 100)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_rows_that_were_read_for_a_cancelled_flusher_are_read_again(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    settings = attrs.evolve(settings, memory_max_rows=20, flush_max_rows=10)
    async with up(settings, store) as shards:
        shards.pause(0)
        await shards.append(events(shards, 100))
        held = HeldThread(LogReader.read, after=after)
        monkeypatch.setattr(LogReader, "read", held)
        shards.resume(0)
        await held.reached.wait()
        cancel("flusher")
        held.go_on.set()
        await flushed(shards)
        assert held.most_at_once == 1
        await is_whole(shards, store, 100)


async def test_an_insert_into_the_buffer_table_that_is_refused_is_sent_again(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, refused = store.insert_buffered, 0

    async def refuse_once(batch: Any) -> None:
        nonlocal refused
        refused += 1
        if refused == 1:
            raise RowsRefused("refused", code=469)
        await insert(batch)

    monkeypatch.setattr(store, "insert_buffered", refuse_once)
    async with up(settings, store) as shards:
        await shards.append(events(shards, 10))
        await flushed(shards)
        assert refused == 1
        await is_whole(shards, store, 10)
        assert not shards.watch.ended


async def test_rows_that_a_buffer_table_cannot_flush_are_taken_out_of_it(
    settings: ShardSettings, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Stuck there, they would fail each later flush, and so everything that comes by this table."""
    async with up(settings, store) as shards:
        await refuse_bad(store)
        await shards.append([*events(shards, 1, metadata=BAD), *events(shards, 9)])
        await flushed(shards)
        [(seen,)] = await execute(store, "SELECT count() FROM {db}.events_buffer_0")
        assert seen == await count(store), "a read of a Buffer table has its rows and those of events"
        [line] = lines_of(caplog, "rows sent again")
        assert (line["shard"], line["rows"]) == (0, 10)
        assert "469" in line["reason"] or "constraint" in line["reason"].lower()


async def test_rows_that_a_changed_column_refuses_are_no_dead_letters(settings: ShardSettings, store: Store) -> None:
    """Some fit into the column as it is now: without a look at the schema the others would be at fault."""
    async with up(attrs.evolve(settings, flush_max_rows=6), store) as shards:
        await execute(store, "ALTER TABLE {db}.events MODIFY COLUMN player_id FixedString(2)")
        [first, *others] = events(shards, 6)
        await shards.append([attrs.evolve(first, player_id="too long"), *others])
        await until(lambda: "player_id" in shards.snapshot().store.error)
        assert shards.snapshot().dead_lettered == 0
        await execute(store, "ALTER TABLE {db}.events MODIFY COLUMN player_id String")
        await flushed(shards)
        assert (shards.snapshot().dead_lettered, shards.snapshot().confirmed) == (0, 6)


async def test_a_resumed_shard_goes_on_by_itself(settings: ShardSettings, store: Store) -> None:
    async with up(settings, store) as shards:
        flusher = shards._shards[0].flusher
        shards.pause(0)
        await shards.append(events(shards, 5))
        await until(lambda: not flusher._wake.is_set())
        shards.resume(0)
        await until(lambda: shards.snapshot().confirmed == 5)


async def test_a_clickhouse_that_hangs_is_noticed_without_an_insert(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "CHECK_INTERVAL_S", 0.05)
    monkeypatch.setattr(gate, "CHECK_TIMEOUT_S", 0.2)
    async with up(settings, store) as shards:
        hanging = Held(store.check, after=False)
        monkeypatch.setattr(store, "check", hanging)
        await until(lambda: not shards.snapshot().store.up)
        assert shards.snapshot().store.error == "no answer within 0.2 s"
        assert shards.store_is_away


async def test_a_gate_that_is_cancelled_opens_all_the_same(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(store.open, after=False)
    monkeypatch.setattr(store, "open", held)
    async with running(settings, store) as shards:
        await held.reached.wait()
        cancel("store-gate")
        await shards.append(events(shards, 5))
        await flushed(shards)
        await is_whole(shards, store, 5)


async def test_rows_that_nobody_confirms_show_as_stalled_until_somebody_does(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with up(settings, store) as shards:
        held = Held(store.insert_buffered, after=False)
        monkeypatch.setattr(store, "insert_buffered", held)
        await shards.append(events(shards, 5))
        await held.reached.wait()
        assert shards.snapshot().shards[0].stalled_s == 0
        await until(lambda: shards.snapshot().shards[0].stalled_s > 0)
        assert shards.snapshot().shards[0].stalled_s > 0.6, "six checkpoints"
        assert [one.index for one in shards.snapshot().stuck] == [0]
        shards.pause(0)
        assert shards.snapshot().shards[0].stalled_s == 0, "an operator wanted it"
        shards.resume(0)
        assert shards.snapshot().shards[0].stalled_s == 0, "it has just begun"
        cancel("flusher")
        await flushed(shards)
        assert shards.snapshot().stuck == ()


async def test_a_catch_up_that_takes_long_is_not_stalled(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = store.insert_direct

    async def slowly(batch: Any) -> None:
        await asyncio.sleep(0.25)
        await insert(batch)

    monkeypatch.setattr(store, "insert_direct", slowly)
    async with up(attrs.evolve(settings, flush_max_rows=5, checkpoint_interval_ms=1000), store) as shards:
        await shards.append(events(shards, 150))
        longest_s = oldest_s = 0.0
        async with asyncio.timeout(60):
            while shards.snapshot().pending:
                [shard] = shards.snapshot().shards
                longest_s, oldest_s = max(longest_s, shard.stalled_s), max(oldest_s, shard.oldest_unconfirmed_s)
                await asyncio.sleep(0.02)
        assert oldest_s > 6.2
        assert longest_s == 0


async def test_a_recovery_that_is_cancelled_begins_again(
    settings: ShardSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings, store) as shards:
        await shards.append(events(shards, 10))
    monkeypatch.setattr(shardset, "RECOVERY_HEAD_START_S", 0.0)
    held = HeldThread(ShardLog.recover, after=True)
    monkeypatch.setattr(ShardLog, "recover", held)
    async with running(settings, store) as shards:
        await held.reached.wait()
        cancel("wal-recovery")
        await until(lambda: bool(shards.snapshot().ended))
        assert (shards.snapshot().recovered, shards.snapshot().recovery_error) == (False, "")
        await starts_anew("wal-recovery")
        held.go_on.set()
        await until(lambda: shards.snapshot().accepting)
        assert (held.calls, held.most_at_once) == (2, 1)
        await flushed(shards)
        await is_whole(shards, store, 10)


def test_an_older_checkpoint_counts_only_what_lies_behind_it(settings: ShardSettings) -> None:
    """What it counts already must not be added again, whether or not the tally was told that it was written."""
    tally = Tally()
    tally.note_dead(1)
    tally.note_damaged(((2, 3),))
    first = tally.checkpoint(Checkpoint(), upto=3)
    tally.note_dead(4)
    second = tally.checkpoint(first, upto=4)
    assert (first.dead_lettered, first.damaged, second.dead_lettered, second.damaged) == (1, 2, 2, 2)
