"""Files that several threads work on: one thread at a time, and nothing is lost or written twice."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards.clock import ReceiptClock
from shards.deadletters.file import DeadLetterFile
from shards.wal.checkpoint import Checkpoint
from shards.wal.files import LineFile
from shards.wal.journal import Confirmed, Journal
from shards.wal.log import ShardLog
from shards.wal.segment import Tail
from tests.unit.shards.wal.logs import append, open_log, row


class OneAtATime:
    """Methods in which no two threads may be at once; each stays long enough for others to come in."""

    def __init__(self) -> None:
        self.calls = self.most = 0
        self._inside = 0
        self._counting = threading.Lock()

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that counts who is in it."""

        def counted(*args: Any) -> Any:
            with self._counting:
                self.calls += 1
                self._inside += 1
                self.most = max(self.most, self._inside)
            time.sleep(0.02)
            try:
                return call(*args)
            finally:
                with self._counting:
                    self._inside -= 1

        return counted


def attempt(batch: int) -> Confirmed:
    return Confirmed(
        writer="w",
        first_batch=batch,
        last_batch=batch,
        rows=1,
        runs=((batch, batch),),
        at_s=int(time.time()),
        event_id="e",
        received_s=0,
    )


async def test_letters_and_settlements_are_written_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, watched = DeadLetterFile(tmp_path / "letters", shard=0), OneAtATime()
    await file.put_aside(seq=99, row=b"{}", code=1, error="refused")
    monkeypatch.setattr(LineFile, "append", watched.around(LineFile.append))
    await asyncio.gather(
        *(file.put_aside(seq=seq, row=b"{}", code=1, error="refused") for seq in range(4)),
        file.settle("0-99", "discarded"),
        file.settle("0-99", "requeued", again=(0, 1)),
    )
    monkeypatch.undo()
    assert (watched.calls, watched.most) == (6, 1)
    again = DeadLetterFile(tmp_path / "letters", shard=0)
    again.recover()
    assert again.seqs() == {0, 1, 2, 3, 99}
    assert (again.requeued, again.discarded) == (file.requeued, file.discarded)


async def test_the_journal_is_written_and_read_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, watched = Journal(tmp_path, shard=0), OneAtATime()
    for batch in (1, 3, 5):
        journal.note(attempt(batch))
    monkeypatch.setattr(LineFile, "append", watched.around(LineFile.append))
    monkeypatch.setattr(Journal, "_read", watched.around(Journal._read))
    await asyncio.gather(
        asyncio.to_thread(journal.write), asyncio.to_thread(journal.write), asyncio.to_thread(journal.entries)
    )
    monkeypatch.undo()
    assert watched.most == 1
    assert journal.is_written
    assert (tmp_path / "confirmed").read_bytes().count(b"\n") == 3, "each was written once"
    assert sorted(entry.rows for entry in journal.entries() if isinstance(entry, Confirmed)) == [1, 1, 1]


def waits_for(lock: threading.Lock, work: Callable[[], Any]) -> bool:
    """Say whether work in another thread waits while a lock is held; it has ended after that."""
    thread = threading.Thread(target=work, daemon=True)
    with lock:
        thread.start()
        thread.join(0.05)
        waited = thread.is_alive()
    thread.join()
    return waited


@pytest.mark.parametrize(
    "work",
    [ReceiptClock.order_ns, lambda clock: clock.reserve(1), lambda clock: clock.raise_to(1)],
    ids=["order_ns", "reserve", "raise_to"],
)
def test_orders_are_given_out_and_moved_by_one_thread_at_a_time(work: Callable[[ReceiptClock], Any]) -> None:
    clock = ReceiptClock()
    assert waits_for(clock._lock, lambda: work(clock))


@pytest.mark.parametrize(
    "work",
    [
        lambda log: list(log.segments),
        lambda log: log.segments.size_bytes,
        lambda log: log.segments.add(log.segments.next_path(), first_seq=9, size=0),
        lambda log: log.segments.segment_of(1),
        lambda log: log.segments.following(1),
        lambda log: log.segments.mark_damaged(1),
        lambda log: log.segments.mark_holding(((1, 1),)),
        lambda log: log.segments.remove_done(9, one_by_one=False),
        lambda log: log.segments.settle(Tail(path=log.segments.last.path, start=0, end=9, size=10, last_seq=2)),
    ],
    ids=[
        "iter",
        "size_bytes",
        "add",
        "segment_of",
        "following",
        "mark_damaged",
        "mark_holding",
        "remove_done",
        "settle",
    ],
)
def test_the_list_of_segments_is_read_and_changed_by_one_thread_at_a_time(
    tmp_path: Path, work: Callable[[ShardLog], Any]
) -> None:
    """The committer's thread adds to it while the flusher's reads and removes."""
    log = open_log(tmp_path, segment_max_bytes=1)
    for number in (1, 2, 3):
        append(log, row(number))
    assert len(log.segments) == 3
    assert waits_for(log.segments._lock, lambda: work(log))
    log.close()


@pytest.mark.parametrize(
    "work", [lambda log: log.truncate(Checkpoint(upto=1)), ShardLog.save], ids=["truncate", "save"]
)
def test_the_checkpoint_is_written_by_one_thread_at_a_time(tmp_path: Path, work: Callable[[ShardLog], Any]) -> None:
    log = open_log(tmp_path)
    append(log, row(1))
    assert waits_for(log._truncating, lambda: work(log))
    log.close()
