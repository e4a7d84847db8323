"""The flusher's task and the gate: nothing is sent while the store is away, and no failure ends either of them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shards.errors import RowsRefused, SchemaMismatch, ShardPaused, StoreError, StoreFailed, StoreUnavailable
from shards.flush import flusher, gate
from shards.flush.gate import StoreGate
from shards.flush.steps import Step
from shards.observer import Observer
from shards.tasks.watch import Watch
from shards.wal.checkpoint import Checkpoint, read_checkpoint
from shards.wal.record import Record
from tests.logged import lines_of
from tests.unit.shards.flush.memory_store import MemoryStore, OneShard

DEADLINE_S = 60


class Errors(Observer):
    """Notes the codes of errors, and how often the store came back."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.returns = 0

    def store_error(self, *, code: int) -> None:
        self.codes.append(code)

    def reconnected(self) -> None:
        self.returns += 1


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


async def everybody_had_a_turn() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(data_dir: Path, **settings: Any) -> AsyncIterator[OneShard]:
    """A shard whose flusher runs, in front of a gate that is open and that nobody watches."""
    one = OneShard(data_dir, observer=Errors(), **settings)
    one.gate._note_opened()
    task = asyncio.create_task(one.flusher.run())
    try:
        yield one
    finally:
        one.flusher.stop()
        one.gate._up.set()
        await asyncio.wait_for(task, DEADLINE_S)
        one.shard.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tries after which a flusher has paused, in their order; each pause is none."""
    asked: list[int] = []

    def no_pause(tries: int) -> float:
        asked.append(tries)
        return 0.0

    monkeypatch.setattr(flusher, "backoff_s", no_pause)
    return asked


async def test_nothing_is_sent_while_the_store_is_away(tmp_path: Path) -> None:
    async with running(tmp_path, flush_max_rows=1) as one:
        await everybody_had_a_turn()
        one.gate.report(StoreUnavailable("away"))
        one.accept(1)
        await everybody_had_a_turn()
        assert one.store.calls == []
        one.gate._note_opened()
        await until(lambda: one.tally.confirmed == 1)


@pytest.mark.parametrize("error", [StoreUnavailable("gone", code=0), SchemaMismatch(["gone"], code=60)])
async def test_an_error_that_the_gate_waits_out_closes_it_and_is_told(
    tmp_path: Path, pauses: list[int], error: StoreError
) -> None:
    async with running(tmp_path, flush_max_rows=1) as one:
        one.store.errors["insert_direct"].append(error)
        one.accept(1)
        await until(lambda: not one.gate.state.up)
        assert (one.flusher.last_error, one.gate.state.error) == ("gone", "gone")
        assert one.gate.is_away == isinstance(error, StoreUnavailable)
        assert pauses == []
        one.gate._note_opened()
        await until(lambda: one.tally.confirmed == 1)
        await until(lambda: one.flusher.last_error == "")


async def test_each_failure_in_a_row_pauses_longer_until_a_step_succeeds(tmp_path: Path, pauses: list[int]) -> None:
    async with running(tmp_path, flush_max_rows=1000, flush_interval_ms=0, checkpoint_interval_ms=0) as one:
        errors: list[StoreError | ValueError] = [StoreFailed("odd", code=7), StoreFailed("odd"), ValueError("ours")]
        one.store.errors["landed"] += errors  # type: ignore[arg-type]
        one.accept(1)
        await until(lambda: one.tally.confirmed == 1)
        await until(lambda: one.flusher.last_error == "")
        assert pauses == [1, 2, 3]
        assert isinstance(one.observer, Errors)
        assert one.observer.codes == [7, 0]
        one.store.errors["landed"].append(StoreFailed("again"))
        one.accept(1)
        await until(lambda: one.tally.confirmed == 2)
        assert pauses == [1, 2, 3, 1]


async def test_who_waits_is_answered_when_all_up_to_there_is_done_with_and_not_before(tmp_path: Path) -> None:
    async with running(tmp_path, checkpoint_interval_ms=600_000, flush_interval_ms=600_000) as one:
        await asyncio.wait_for(one.flusher.flush(), DEADLINE_S)
        one.flusher.pause("a test")
        one.accept(2)
        first, both = asyncio.create_task(one.flusher.flush(1)), asyncio.create_task(one.flusher.flush(2))
        await everybody_had_a_turn()
        assert one.store.calls == []
        one.pending.remove([1])
        one.flusher._answer_waiters()
        await everybody_had_a_turn()
        assert first.done()
        assert not both.done()
        one.flusher.resume()
        await asyncio.wait_for(both, DEADLINE_S)
        assert one.tally.confirmed == 1
        assert not one.flusher._flush_waiters


async def test_a_checkpoint_is_written_whatever_a_step_ends_with(tmp_path: Path, pauses: list[int]) -> None:
    async with running(tmp_path, flush_max_rows=2) as one:
        rows = one.accept(1)
        bad = one.accept(1)
        answers: list[StoreError | None] = [RowsRefused("bad"), None, StoreFailed("odd")]
        one.store.refused = lambda batch: answers.pop(0) if answers else None
        await until(lambda: pauses == [1])
        assert rows
        assert bad
        await until(lambda: one.tally.confirmed == 2)
        await until(lambda: read_checkpoint(one.log.directory).upto == 2)


async def test_a_flusher_that_starts_anew_sends_what_is_in_memory_again_and_answers_who_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = OneShard(tmp_path)
    one.accept(3)
    await one.steps.sender.send_buffered([1, 2, 3])
    one.pending.remove([1])
    waiting = asyncio.create_task(one.flusher.flush(1))
    await everybody_had_a_turn()
    one.flusher._flush_waiters[asyncio.get_running_loop().create_future()] = 1
    before = one.steps
    await one.flusher.start_anew()
    assert one.steps is not before
    assert (one.to_replay, one.steps.in_flight, one.steps.unsent) == ([2, 3], 0, 0)
    assert read_checkpoint(one.log.directory).upto == 1
    assert one.flusher._flush_waiters == {}
    await asyncio.wait_for(waiting, DEADLINE_S)
    [line] = lines_of(caplog, "flusher starts anew")
    assert (line["shard"], line["rows"]) == (0, 2)
    one.shard.close()


async def test_a_step_that_is_due_does_not_hurry_the_others(tmp_path: Path) -> None:
    one = OneShard(tmp_path, flush_interval_ms=900, checkpoint_interval_ms=0)
    one.accept(1)
    await one.steps.take(Step.SEND)
    one.accept(1)
    one.store.calls.clear()
    await one.flusher._work()
    assert one.store.calls == ["flush_buffer", "landed"]
    assert one.steps.unsent == 1
    one.shard.close()


async def test_a_flusher_that_ended_is_made_ready_and_sends_all_in_memory_again(tmp_path: Path) -> None:
    one = OneShard(tmp_path)
    one.gate._note_opened()
    task = one.flusher.start(Watch(Observer()))
    await everybody_had_a_turn()
    one.flusher.pause("a test")
    one.accept(2)
    await one.steps.sender.send_buffered([1, 2])
    one.steps._sent_seq = 2
    task._task.cancel()
    one.flusher.resume()
    await until(lambda: one.tally.confirmed == 2)
    assert [batch.number for batch in one.store.direct] == [2], "as a replay, under another number"
    one.flusher.stop()
    await task.close(timeout_s=None)
    one.shard.close()


async def test_a_cancel_that_an_error_behind_it_hides_ends_the_flusher_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next load goes on with a reader that is ahead, and takes the rows that it passes over for damaged."""
    one = OneShard(tmp_path, flush_max_rows=2)
    one.gate._note_opened()
    reading, may_return = threading.Event(), threading.Event()
    read = one.steps.loader._reader.read

    def slowly(**limits: Any) -> list[Record]:
        found = read(**limits)
        reading.set()
        may_return.wait(DEADLINE_S)
        return found

    def failing(*_: object, **__: object) -> Checkpoint:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr(one.steps.loader._reader, "read", slowly)
    monkeypatch.setattr(type(one.tally), "checkpoint", failing)
    one.accept(2, first_is_missed=True)
    task = one.flusher.start(Watch(Observer()))
    await asyncio.to_thread(reading.wait, DEADLINE_S)
    task._task.cancel()
    await until(lambda: one.flusher.last_error)
    may_return.set()
    await until(lambda: len(one.pending) == 0)
    assert (one.tally.confirmed, one.tally.damaged) == (2, 0)
    one.flusher.stop()
    await task.close(timeout_s=None)
    one.shard.close()


async def test_a_flusher_that_starts_anew_waits_for_the_threads_that_the_one_before_left(tmp_path: Path) -> None:
    """They write checkpoints and letters."""
    one = OneShard(tmp_path)
    may_end = threading.Event()
    left = asyncio.create_task(one.flusher._threads.run(lambda: may_end.wait(DEADLINE_S)))
    await everybody_had_a_turn()
    left.cancel()
    starting, before = asyncio.create_task(one.flusher.start_anew()), one.steps
    await everybody_had_a_turn()
    assert not starting.done()
    assert one.steps is before
    may_end.set()
    await asyncio.wait_for(starting, DEADLINE_S)
    assert one.steps is not before
    one.shard.close()


async def test_a_shard_stands_still_if_rows_wait_and_nothing_is_done_with_although_the_store_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the reasons not to say so holds by itself."""
    one = OneShard(tmp_path, checkpoint_interval_ms=1000, flush_interval_ms=500)
    now, age_s, up_s = 1000.0, 100.0, 100.0
    monkeypatch.setattr(flusher, "monotonic", lambda: now)
    monkeypatch.setattr(type(one.pending), "oldest_age_s", property(lambda _: age_s))
    monkeypatch.setattr(StoreGate, "up_s", property(lambda _: up_s))
    one.tally.moved_at = now - 100
    assert one.flusher.stalled_s == 0, "no row waits"
    one.accept(1)
    assert one.flusher.stalled_s == 100
    assert one.shard.snapshot().stalled_s == 100
    for limit_s, expected in ((6.5, 0), (6.6, 6.6)):
        age_s = limit_s
        assert one.flusher.stalled_s == expected, "it came a moment ago"
        age_s, up_s = 100.0, limit_s
        assert one.flusher.stalled_s == expected, "the store came back a moment ago"
        up_s, one.tally.moved_at = 100.0, now - limit_s
        assert one.flusher.stalled_s == pytest.approx(expected), "another row was done with a moment ago"
        one.tally.moved_at = now - 100
    one.flusher.pause("a test")
    assert one.flusher.stalled_s == 0
    one.flusher.resume()
    assert one.flusher.stalled_s == 0, "it went on a moment ago"
    now += 50
    assert one.flusher.stalled_s == 50
    one.shard.close()


async def test_a_resumed_flusher_wakes_up_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, flush_max_rows=1) as one:
        one.flusher.pause("a test")
        one.accept(1)
        await everybody_had_a_turn()
        assert one.store.calls == []
        one.flusher.resume()
        await until(lambda: one.tally.confirmed == 1)


@asynccontextmanager
async def watched(store: MemoryStore) -> AsyncIterator[StoreGate]:
    """A gate whose watcher runs."""
    watching = StoreGate(store, Errors())
    task = asyncio.create_task(watching.run())
    try:
        yield watching
    finally:
        watching.stop()
        await asyncio.wait_for(task, DEADLINE_S)


@pytest.fixture
def quick_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(gate, "CHECK_TIMEOUT_S", 0.02)
    monkeypatch.setattr(gate, "backoff_s", lambda tries: 0.0)


@pytest.mark.usefixtures("quick_gate")
async def test_a_store_that_hangs_is_noticed_and_closes_the_gate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, hanging = MemoryStore(), asyncio.Event()

    async def hang() -> None:
        await hanging.wait()

    async with watched(store) as watching:
        await asyncio.wait_for(watching.wait_up(), DEADLINE_S)
        monkeypatch.setattr(store, "open", hang)
        monkeypatch.setattr(store, "check", hang)
        await until(lambda: not watching.state.up)
        assert watching.state.error == "no answer within 0.02 s"
        assert watching.is_away
        assert watching.up_s == 0
        hanging.set()
        await until(lambda: watching.state.up)
        assert watching.state.error == ""
    assert len(lines_of(caplog, "clickhouse not usable")) == 1


async def test_a_gate_tells_since_when_it_is_as_it_is() -> None:
    observer = Errors()
    watching = StoreGate(MemoryStore(), observer)
    made = watching.state.since
    watching.report(StoreUnavailable("not there yet", code=210))
    assert watching.state.since == made, "it was closed before"
    watching._note_opened()
    opened = watching.state.since
    assert opened > made
    assert observer.returns == 0, "it came for the first time"
    watching.report(StoreFailed("odd", code=7))
    closed = watching.state.since
    assert closed > opened
    assert not watching.is_away, "it answers"
    watching.report(StoreUnavailable("away", code=210))
    assert watching.state.since == closed
    assert watching.is_away
    watching._note_opened()
    assert (observer.returns, watching.is_away) == (1, False)
    assert observer.codes == [210, 7, 210]


async def test_who_waits_for_the_store_waits_while_it_is_away() -> None:
    watching = StoreGate(MemoryStore(), Errors())
    watching._note_opened()
    watching.report(StoreUnavailable("away"))
    waiting = asyncio.create_task(watching.wait_up())
    await everybody_had_a_turn()
    assert not waiting.done()
    watching._note_opened()
    await asyncio.wait_for(waiting, DEADLINE_S)


@pytest.mark.usefixtures("quick_gate")
async def test_a_store_that_opens_and_then_fails_is_tried_at_growing_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, tries = MemoryStore(), []

    def no_pause(number: int) -> float:
        tries.append(number)
        return 0.0

    monkeypatch.setattr(gate, "backoff_s", no_pause)
    monkeypatch.setattr(gate, "CHECK_INTERVAL_S", DEADLINE_S)  # so that no check comes in between
    store.errors["open"] += [StoreUnavailable("away")] * 3
    async with watched(store) as watching:
        await asyncio.wait_for(watching.wait_up(), DEADLINE_S)
        assert tries == [0, 1, 2]
        watching.report(StoreFailed("odd"))
        await until(lambda: watching.state.up)
        assert tries == [0, 1, 2, 3]
        monkeypatch.setattr(gate, "CHECK_INTERVAL_S", 0.01)
        watching.report(StoreFailed("odd"))
        await until(lambda: store.calls.count("check") >= 2)
        watching.report(StoreFailed("odd"))
        await until(lambda: len(tries) == 6)
        assert tries == [0, 1, 2, 3, 4, 0], "a check went well"


async def test_a_paused_flusher_says_by_whom_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    async with running(tmp_path, checkpoint_interval_ms=600_000, flush_interval_ms=600_000) as one:
        one.flusher.pause("somebody")
        one.flusher.pause("somebody else")
        with pytest.raises(ShardPaused, match=r"shard 0 is paused by somebody$"):
            await one.flusher.flush()
        one.flusher.resume()
        await asyncio.wait_for(one.flusher.flush(), DEADLINE_S)


async def test_who_waits_for_a_flush_is_told_at_once_when_the_shard_is_paused(tmp_path: Path) -> None:
    async with running(tmp_path, checkpoint_interval_ms=600_000, flush_interval_ms=600_000) as one:
        one.gate.report(StoreUnavailable("away"))
        one.accept(1)
        for_all, for_some = asyncio.create_task(one.flusher.flush()), asyncio.create_task(one.flusher.flush(1))
        left_out = asyncio.create_task(one.flusher.flush_unless_paused())
        await everybody_had_a_turn()
        one.flusher.pause("somebody")
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(ShardPaused, match=r"shard 0 is paused by somebody$"):
                await for_all
            await left_out
        assert not for_some.done(), "what a request waits for may be stored in time, if somebody resumes the shard"
        one.flusher.resume()
        one.gate._note_opened()
        await asyncio.wait_for(for_some, DEADLINE_S)


async def test_what_a_checkpoint_covers_is_not_kept_in_memory_besides(tmp_path: Path) -> None:
    one = OneShard(tmp_path, flush_max_rows=3)
    one.accept(3)
    await one.steps.take(Step.SEND)
    assert one.tally.confirmed_beyond == ((1, 3),)
    await one.flusher._save()
    assert one.log.checkpoint.upto == 3
    assert one.tally.confirmed_beyond == ()
    one.shard.close()


async def test_a_gate_tells_how_long_the_store_is_up_and_before_that_not_that_it_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(gate, "monotonic", lambda: now)
    fresh = StoreGate(MemoryStore(), Errors())
    assert (fresh.is_away, fresh.up_s, fresh.state.up) == (False, 0.0, False)
    fresh._note_opened()
    now += 7
    assert (fresh.is_away, fresh.up_s, fresh.state.up) == (False, 7.0, True)
    fresh.report(StoreUnavailable("away"))
    assert (fresh.is_away, fresh.up_s, fresh.state.up) == (True, 0.0, False)


@pytest.mark.usefixtures("quick_gate")
async def test_a_watch_that_fails_by_a_fault_of_ours_closes_the_gate_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    async with watched(store) as watching:
        await asyncio.wait_for(watching.wait_up(), DEADLINE_S)
        store.errors["check"].append(ValueError("ours"))  # type: ignore[arg-type]
        await until(lambda: store.calls.count("open") == 2 and watching.state.up)
        assert isinstance(watching._observer, Errors)
        assert (watching._observer.codes, watching._observer.returns) == ([0], 1)
    [line] = lines_of(caplog, "clickhouse watch failed")
    assert (line["level"], line["error"]) == ("error", "ValueError")


async def test_a_fault_of_ours_is_told_before_the_pause_that_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, flush_max_rows=1) as one:
        told: list[str] = []

        def pause(_: int) -> float:
            told.append(one.flusher.last_error)
            return 0.0

        monkeypatch.setattr(flusher, "backoff_s", pause)
        one.store.errors["insert_direct"].append(ValueError("ours"))  # type: ignore[arg-type]
        one.accept(1)
        await until(lambda: one.tally.confirmed == 1)
        assert told == ["ValueError"]
