"""Truncations of one log: whatever comes at once or too late, no record goes that is still needed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shards.wal import log as log_module
from shards.wal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from tests.unit.shards.wal.logs import append, essence, open_log, row


def log_of(directory: Path, records: int) -> ShardLog:
    """A log whose segments hold a record each."""
    log = open_log(directory, segment_max_bytes=1)
    for number in range(records):
        append(log, row(number))
    return log


def numbers(log: ShardLog) -> list[int]:
    reader = LogReader(log, after_seq=log.checkpoint.upto)
    records = reader.read(upto_seq=None, max_rows=100, max_bytes=1 << 20)
    reader.close()
    return [record.seq for record in records]


def test_two_at_once_remove_each_segment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(tmp_path / "log", 4)
    unlink, both, entered = Path.unlink, threading.Barrier(2), threading.Semaphore(0)
    inside = most = 0

    def slowly(self: Path, missing_ok: bool = False) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        entered.release()
        entered.acquire(timeout=0.2)  # gives the other one time to come in, if it can
        entered.acquire(timeout=0.2)
        unlink(self, missing_ok=missing_ok)
        inside -= 1

    def truncate() -> None:
        both.wait()
        log.truncate(Checkpoint(upto=1))

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(Path, "unlink", slowly)
        for done in [pool.submit(truncate) for _ in range(2)]:
            done.result()
    monkeypatch.undo()
    assert most == 1
    assert numbers(log) == [2, 3, 4]
    assert sorted(path.name for path in log.directory.glob("*.wal")) == [f"{n:012d}.wal" for n in (2, 3, 4)]
    log.close()


def test_a_checkpoint_is_not_written_again_while_another_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(tmp_path / "log", 3)
    both, entered, counting = threading.Barrier(2), threading.Semaphore(0), threading.Lock()
    inside = most = 0

    def slowly(directory: Path, checkpoint: Checkpoint) -> None:
        nonlocal inside, most
        with counting:
            inside += 1
            most = max(most, inside)
        entered.release()
        entered.acquire(timeout=0.2)  # gives the other one time to come in, if it can
        entered.acquire(timeout=0.2)
        write_checkpoint(directory, checkpoint)
        with counting:
            inside -= 1

    def truncate() -> None:
        both.wait()
        log.truncate(Checkpoint(upto=2))

    def save() -> None:
        both.wait()
        log.save()

    monkeypatch.setattr(log_module, "write_checkpoint", slowly)
    with ThreadPoolExecutor(2) as pool:
        for done in (pool.submit(truncate), pool.submit(save)):
            done.result()
    assert most == 1
    assert read_checkpoint(log.directory).upto == 2
    log.close()


@pytest.mark.parametrize(
    "late",
    [Checkpoint(upto=1), Checkpoint(upto=2, beyond=((4, 4),)), Checkpoint(upto=3)],
    ids=["behind", "behind with rows beyond", "without what is done beyond"],
)
def test_one_that_comes_too_late_moves_nothing_back(tmp_path: Path, late: Checkpoint) -> None:
    log = log_of(tmp_path / "log", 6)
    newest = Checkpoint(upto=3, confirmed=4, beyond=((5, 5),))
    log.truncate(newest)
    log.truncate(late)
    assert essence(log.checkpoint) == essence(read_checkpoint(log.directory)) == newest
    assert log.is_saved
    log.truncate(Checkpoint(upto=5, confirmed=5))
    assert read_checkpoint(log.directory).upto == 5
    log.close()


def test_one_that_cannot_be_written_is_written_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(tmp_path / "log", 3)

    def full(directory: Path, checkpoint: Checkpoint) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_module, "write_checkpoint", full)
    with pytest.raises(OSError, match="No space"):
        log.truncate(Checkpoint(upto=2))
    monkeypatch.undo()
    assert not log.is_saved
    assert numbers(log) == [3], "a full disk has to become empty"
    log.truncate(Checkpoint(upto=1))
    assert read_checkpoint(log.directory).upto == 2
    log.close()
