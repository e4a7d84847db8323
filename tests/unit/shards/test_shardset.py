"""An append over several shards: it returns when all of them are durable, and its receipt names the rows of each."""

import asyncio
import errno
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shards import lookups, shardset
from shards.audit.evidence import Evidence, ShardAttempts, gather
from shards.deadletters.file import DeadLetterFile
from shards.errors import DataDirectoryLocked, NotAccepting, Saturated, WalFailed
from shards.events import Event, encode_row
from shards.receipts import Outcome, Receipt, Stretch
from shards.settings import ShardSettings
from shards.shard import Shard, shard_of
from shards.shardset import ShardSet
from shards.stores.base import Store
from shards.stores.server import ServerStore
from shards.tasks import watch
from shards.wal.committer import Committer
from tests.clickhouse import free_port
from tests.logged import lines_of
from tests.unit.shards.outage import events, in_an_outage

SHARDS = 3
MATCHES = [next(f"m{n}" for n in range(100) if shard_of(f"m{n}", SHARDS) == index) for index in range(SHARDS)]
"""A match of each shard."""
DEADLINE_S = 60


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardSettings:
    monkeypatch.setattr(shardset, "STORE_HEAD_START_S", 0.0)
    return ShardSettings(data_dir=tmp_path, shard_count=SHARDS, wal_min_free_bytes=0)


def mixed(shards: ShardSet, *counts: int) -> list[Event]:
    """So many events of each shard, one shard after the other again and again."""
    of_shard = [events(shards, count, match_id=match) for count, match in zip(counts, MATCHES, strict=True)]
    return [event for number in range(max(counts)) for part in of_shard for event in part[number : number + 1]]


def hold_back(shards: ShardSet, index: int, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Make a shard slow: what is appended to it waits for the event."""
    shard, free = shards._shards[index], asyncio.Event()
    append: Callable[[Sequence[Event], Committer], asyncio.Future[int]] = partial(Shard.append, shard)

    async def later(part: Sequence[Event], committer: Committer) -> int:
        await free.wait()
        return await append(part, committer)

    monkeypatch.setattr(shard, "append", lambda part, committer: asyncio.ensure_future(later(part, committer)))
    return free


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


async def everybody_had_a_turn() -> None:
    """Let the event loop go round often enough for whatever is ready to run."""
    for _ in range(20):
        await asyncio.sleep(0)


def rows_of(shards: ShardSet, receipt: Receipt) -> set[bytes]:
    """The rows that a receipt names, which are in memory."""
    return {
        row
        for stretch in receipt.stretches
        for row in shards._shards[stretch.shard].pending.rows(range(stretch.first, stretch.last + 1))
    }


@pytest.mark.parametrize("slow", range(SHARDS))
async def test_a_slow_shard_among_several_is_waited_for(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch, slow: int
) -> None:
    async with in_an_outage(settings) as shards:
        free = hold_back(shards, slow, monkeypatch)
        sent = mixed(shards, 4, 4, 4)
        appending = asyncio.create_task(shards.append(sent))
        await until(lambda: shards.snapshot().appended == 8)
        await everybody_had_a_turn()
        assert not appending.done(), "the rows of one shard are not durable"
        free.set()
        receipt = await appending
        assert shards.snapshot().appended == 12
        assert rows_of(shards, receipt) == {encode_row(event) for event in sent}


async def test_a_receipt_names_the_rows_of_each_shard(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        first = await shards.append(mixed(shards, 2, 1, 3))
        assert str(first).split(".")[1:] == ["0-1-2-2", "1-1-1-1", "2-1-3-3"]
        sent = mixed(shards, 4, 3, 5)
        second = await shards.append(sent)
        assert str(second).split(".")[1:] == ["0-3-6-4", "1-2-4-3", "2-4-8-5"]
        assert rows_of(shards, second) == {encode_row(event) for event in sent}
        assert str(await shards.append(events(shards, 1, match_id=MATCHES[1]))).split(".")[1:] == ["1-5-5-1"]
        assert shards.outcome(second) == Outcome(durable=12, stored=0, dead_lettered=0)
        assert shards.outcome(Receipt("0" * 8, second.stretches)) is None, "a receipt of another directory"


async def test_an_append_that_fails_in_one_shard_ends_when_the_fate_of_the_others_is_known(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_an_outage(settings) as shards:
        free = hold_back(shards, 2, monkeypatch)

        failures = 0

        def full(_: Any) -> int:
            nonlocal failures
            failures += 1
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(shards._logs[0], "append", full)
        appending = asyncio.create_task(shards.append(mixed(shards, 2, 2, 2)))
        await until(lambda: failures > 0 and shards.snapshot().appended == 2)
        await everybody_had_a_turn()
        assert not appending.done(), "one shard is still at it"
        free.set()
        with pytest.raises(WalFailed):
            await appending
        assert [shard.appended for shard in shards.snapshot().shards] == [0, 2, 2]


async def test_what_is_refused_is_in_no_shard(settings: ShardSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_an_outage(settings) as shards:
        monkeypatch.setattr(shards._committer._reports, "queued_bytes", settings.queue_max_bytes)
        with pytest.raises(Saturated):
            await shards.append(mixed(shards, 1, 1, 1))
        assert shards.snapshot().appended == 0


async def test_who_waits_for_what_several_shards_hold_waits_for_each(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        receipt = await shards.append(mixed(shards, 1, 1, 1))
        waiting = asyncio.create_task(shards.wait_stored(receipt, timeout_s=DEADLINE_S))
        await everybody_had_a_turn()
        for index, shard in enumerate(shards._shards):
            shard.flusher._answer_waiters()
            await everybody_had_a_turn()
            assert not waiting.done(), f"rows from shard {index} on are not stored"
            shard.pending.remove([1])
            shard.flusher._answer_waiters()
        assert await waiting


async def test_what_is_queued_is_committed_before_a_drain_ends(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_an_outage(settings) as shards:
        disk_is_free, append = threading.Event(), shards._logs[0].append

        def slowly(payloads: Sequence[bytes]) -> int:
            disk_is_free.wait()
            return append(payloads)

        monkeypatch.setattr(shards._logs[0], "append", slowly)
        appending = asyncio.create_task(shards.append(mixed(shards, 2, 0, 0)))
        await asyncio.sleep(0)
        draining = asyncio.create_task(shards.drain(timeout_s=0.05))
        await everybody_had_a_turn()
        assert not draining.done(), "an append is under way"
        disk_is_free.set()
        assert not await draining, "its rows are durable, and the store is away"
        assert str(await appending).split(".")[1:] == ["0-1-2-2"]
        assert shards.snapshot().pending == 2


async def test_before_the_recovery_nothing_is_answered_that_would_lack_its_rows(settings: ShardSettings) -> None:
    shards = ShardSet(settings, ServerStore("clickhouse://default@127.0.0.1:1/away", shard_count=SHARDS))
    with pytest.raises(NotAccepting):
        shards.pending(["m"])
    with pytest.raises(NotAccepting):
        shards.pending_matches()
    with pytest.raises(NotAccepting):
        shards.check_room()
    for answer in (
        shards.append(mixed(shards, 1, 1, 1)),
        shards.dead_letters(limit=1),
        shards.dead_letter("0-1"),
        shards.requeue("0-1"),
        shards.discard("0-1"),
        shards.audit(),
    ):
        with pytest.raises(NotAccepting, match="recovered"):
            await answer
    assert not shards.snapshot().recovered


async def test_the_matches_with_rows_that_are_not_confirmed_are_those_of_all_shards(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        assert shards.pending_matches() == frozenset()
        await shards.append(mixed(shards, 1, 1, 2))
        assert shards.pending_matches() == set(MATCHES)
        shards._shards[1].pending.remove([1])
        assert shards.pending_matches() == {MATCHES[0], MATCHES[2]}
        assert len(shards.pending([MATCHES[0], MATCHES[2]]).rows) == 3


async def test_two_audits_do_not_run_at_once(settings: ShardSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reads a journal whole, and asks ClickHouse for as much."""
    inside = most = audits = 0

    async def watched(store: Store, attempts: Sequence[ShardAttempts]) -> Evidence:
        nonlocal inside, most, audits
        inside, audits = inside + 1, audits + 1
        most = max(most, inside)
        await everybody_had_a_turn()
        inside -= 1
        return await gather(store, attempts)

    monkeypatch.setattr(lookups, "gather", watched)
    async with in_an_outage(settings) as shards:
        found = await asyncio.gather(*(shards.audit() for _ in range(3)))
    assert (audits, most) == (3, 1)
    assert {one.verdict for one in found} == {"whole"}


async def test_a_shutdown_refuses_what_comes_after_it(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        await shards.append(events(shards, 1))
        shards.stop_accepting()
        assert not shards.snapshot().accepting
        with pytest.raises(NotAccepting, match="shutting down"):
            await shards.append(events(shards, 1))
        assert shards.snapshot().appended == 1


@pytest.mark.parametrize("name", ["flusher", "store-gate", "order-start", "wal-committer"])
async def test_whatever_ends_is_told_until_it_runs_again(
    settings: ShardSettings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STEADY_S", 0.01)
    async with in_an_outage(settings) as shards:
        assert shards.snapshot().ended == ()
        next(task for task in asyncio.all_tasks() if task.get_name().startswith(name)).cancel()
        await until(lambda: shards.snapshot().ended)
        assert [(end.task, end.reason) for end in shards.snapshot().ended] == [(name, "cancelled")]
        await until(lambda: not shards.snapshot().ended)


async def test_a_set_that_could_not_be_started_can_be_closed_and_leaves_the_other_alone(
    settings: ShardSettings,
) -> None:
    async with in_an_outage(settings) as shards:
        second = ShardSet(settings, shards._store)
        with pytest.raises(DataDirectoryLocked):
            await second.start()
        await second.close()
        await shards.append(events(shards, 1))
        assert shards.snapshot().appended == 1


async def test_a_recovery_is_broken_off_by_a_shutdown_and_says_so(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shardset, "RECOVERY_HEAD_START_S", 0.0)
    recovering, recover = threading.Event(), shardset.recovered_shards

    def slowly(*args: Any, stopping: Callable[[], bool], **options: Any) -> Any:
        while not stopping():
            recovering.wait(0.001)
        return recover(*args, stopping=stopping, **options)

    monkeypatch.setattr(shardset, "recovered_shards", slowly)
    caplog.set_level("INFO")
    async with in_an_outage(settings) as shards:
        assert not shards.snapshot().recovered
        assert not await shards.drain(timeout_s=DEADLINE_S)
    [line] = lines_of(caplog, "write-ahead log recovery broken off")
    assert (line["level"], line["reason"]) == ("info", "the service is shutting down")
    assert lines_of(caplog, "write-ahead log not readable") == []
    assert shards.snapshot().recovery_error == ""


async def test_a_receipt_of_no_request_has_no_outcome(settings: ShardSettings) -> None:
    async with in_an_outage(settings) as shards:
        receipt = await shards.append(mixed(shards, 2, 0, 0))
        [stretch] = receipt.stretches
        for shard, last, known in ((0, 1, True), (0, 2, True), (0, 3, False), (1, 1, False), (SHARDS, 1, False)):
            asked = Receipt(receipt.directory, (Stretch(shard, 1, last, 1),))
            assert (shards.outcome(asked) is not None) == known
        assert stretch == Stretch(0, 1, 2, 2)


async def test_a_letter_that_is_being_settled_is_settled_before_the_files_are_closed(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, begun, free = list[str](), asyncio.Event(), asyncio.Event()
    settle, close, end = DeadLetterFile.settle, Shard.close, Committer.close

    async def slowly(*args: Any, **options: Any) -> None:
        begun.set()
        await free.wait()
        await settle(*args, **options)
        order.append("settled")

    def noted(shard: Shard) -> None:
        order.append("closed")
        close(shard)

    async def ended(committer: Committer) -> None:
        await end(committer)
        asyncio.get_running_loop().call_later(0.2, free.set)

    monkeypatch.setattr(DeadLetterFile, "settle", slowly)
    monkeypatch.setattr(Committer, "close", ended)
    monkeypatch.setattr(Shard, "close", noted)
    async with in_an_outage(settings) as shards:
        [row] = events(shards, 1)
        await shards._shards[0].dead_letters.put_aside(seq=1, row=encode_row(row), code=469, error="Constraint c")
        discarding = asyncio.create_task(shards.discard("0-1"))
        await asyncio.wait_for(begun.wait(), DEADLINE_S)
    assert order == ["settled", *["closed"] * SHARDS]
    await asyncio.wait_for(discarding, DEADLINE_S)


async def test_a_recovery_that_fails_is_told_and_tried_again(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk, or what failed inside, may be well again; nobody restarts a service that answers."""
    monkeypatch.setattr(shardset, "RECOVERY_HEAD_START_S", 0.0)
    recover, refusals = shardset.recovered_shards, list[object]()
    failures = iter([OSError(errno.EIO, "Input/output error"), MemoryError(), MemoryError()])

    def fails(*arguments: Any, **options: Any) -> Any:
        for failure in failures:
            raise failure
        refusals.append(shards.snapshot().refusal)
        return recover(*arguments, **options)

    monkeypatch.setattr(shardset, "recovered_shards", fails)
    store = ServerStore(f"clickhouse://default@127.0.0.1:{free_port()}/away", shard_count=settings.shard_count)
    shards = ShardSet(settings, store)
    await shards.start()
    async with asyncio.timeout(DEADLINE_S):
        while not shards.snapshot().accepting:
            await asyncio.sleep(0.01)
    assert refusals == ["unreadable"]
    assert shards.snapshot().recovery_error == ""
    told = lines_of(caplog, "write-ahead log not readable")
    assert [line["error"] for line in told] == ["Input/output error", "MemoryError"]
    await shards.append(events(shards, 1))
    await shards.close()
    await store.close()


async def test_a_start_fails_where_the_log_cannot_be_read_at_once(
    settings: ShardSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shardset, "RECOVERY_HEAD_START_S", DEADLINE_S)

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shardset, "recovered_shards", fails)
    store = ServerStore(f"clickhouse://default@127.0.0.1:{free_port()}/away", shard_count=settings.shard_count)
    shards = ShardSet(settings, store)
    with pytest.raises(OSError, match="Input/output error"):
        await shards.start()
    await shards.close()
    await store.close()
