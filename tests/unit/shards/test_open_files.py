"""Open files before and after: a service runs for months, and a file a minute that stays open ends it within hours."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shards import shardset
from shards.deadletters.file import DeadLetterFile
from shards.errors import DataDirectoryLocked
from shards.events import Event, encode_row
from shards.settings import ShardSettings
from shards.wal import files, segment
from shards.wal.checkpoint import Checkpoint
from shards.wal.directory import DataDirectory
from shards.wal.journal import Unprovable
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from tests.unit.shards.flush.memory_store import OneShard
from tests.unit.shards.outage import events, in_an_outage

OPEN = Path("/proc/self/fd")

pytestmark = pytest.mark.skipif(not OPEN.is_dir(), reason="only Linux lists the open files of a process")


def opened() -> list[str]:
    """The files that are open now, as often as they are."""
    found = []
    for name in OPEN.iterdir():
        try:
            found.append(str(name.readlink()))
        except FileNotFoundError:  # the list itself
            continue
    return sorted(found)


@pytest.fixture
def left_open(tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """Names the files of this test that are open; at its end none may be."""

    def of_this_test() -> list[str]:
        return [path for path in opened() if path.startswith(str(tmp_path))]

    yield of_this_test
    assert of_this_test() == []


def row(number: int) -> bytes:
    return encode_row(Event("m", f"id-{number}", "pass", 1, "1", "", "{}", number, number))


def open_log(directory: Path) -> ShardLog:
    log = ShardLog(directory, shard=0, segment_max_bytes=1)
    log.recover()
    return log


def append(log: ShardLog, number: int) -> None:
    log.append([row(number)])
    log.sync()
    log.acknowledge()


def test_a_log_has_one_file_open_however_many_segments_there_were(
    tmp_path: Path, left_open: Callable[[], list[str]]
) -> None:
    log = open_log(tmp_path)
    for number in range(1, 20):
        append(log, number)
        assert left_open() == [str(log.segments.last.path)]
    log.close()
    assert left_open() == []
    again = open_log(tmp_path)
    assert left_open() == [], "what recovery has read is closed"
    again.close()


def test_a_reader_has_one_file_open_however_many_segments_there_are(
    tmp_path: Path, left_open: Callable[[], list[str]]
) -> None:
    log = open_log(tmp_path)
    for number in range(1, 20):
        append(log, number)
    log.close()
    reader = LogReader(log, after_seq=0)
    for number in range(1, 20):
        assert [record.seq for record in reader.read(upto_seq=number, max_rows=9, max_bytes=1 << 20)] == [number]
        assert len(left_open()) == 1
    reader.skip_to(30)
    assert left_open() == []


def test_an_abandoned_segment_is_closed(tmp_path: Path, left_open: Callable[[], list[str]]) -> None:
    log = open_log(tmp_path)
    append(log, 1)
    log.append([row(2)])
    log.abandon()
    assert left_open() == []
    log.reopen()
    assert len(left_open()) == 1
    log.close()


async def test_a_flusher_that_starts_anew_closes_what_the_one_before_was_reading(
    tmp_path: Path, left_open: Callable[[], list[str]]
) -> None:
    one = OneShard(tmp_path, memory_max_rows=2)
    one.accept(6)
    one.shard.close()
    one = OneShard(tmp_path, memory_max_rows=2)
    await one.flusher.preload()
    assert len(left_open()) == 1
    for _ in range(3):
        await one.flusher.start_anew()
        assert left_open() == []
        one.pending.remove(one.pending.seqs())
        one.pending.note_saved()
        await one.steps.load()
    assert len(left_open()) == 1
    one.shard.close()


@pytest.mark.parametrize("failing", ["write_all", "sync_directory"])
def test_a_segment_that_cannot_be_begun_leaves_no_file_and_none_open(
    tmp_path: Path, left_open: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    log = open_log(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(segment, failing, full)
    with pytest.raises(OSError, match="No space"):
        log.append([row(1)])
    assert (left_open(), list(tmp_path.glob("*.wal"))) == ([], [])
    monkeypatch.undo()
    append(log, 1)
    log.close()


def test_checkpoints_and_the_journal_leave_none_open(tmp_path: Path, left_open: Callable[[], list[str]]) -> None:
    log = open_log(tmp_path)
    for number in range(1, 6):
        append(log, number)
        log.journal.note(Unprovable.noted_now("not_noted", ((number, number),)))
        log.truncate(Checkpoint(upto=number))
        assert len(log.journal.entries()) == number
        assert left_open() == [str(log.segments.last.path)]
    log.close()


def test_a_segment_that_is_set_aside_leaves_none_open(tmp_path: Path, left_open: Callable[[], list[str]]) -> None:
    log = open_log(tmp_path)
    for number in range(1, 4):
        append(log, number)
    for ordinal in (1, 2):
        log.segments.mark_damaged(ordinal)
    log.truncate(Checkpoint(upto=3))
    log.close()
    assert len(list((tmp_path / "damaged").iterdir())) == 2
    assert left_open() == []


async def test_dead_letters_leave_none_open(tmp_path: Path, left_open: Callable[[], list[str]]) -> None:
    file = DeadLetterFile(tmp_path / "letters" / "shard-000.jsonl", shard=0)
    for seq in range(1, 4):
        await file.put_aside(seq=seq, row=row(seq), code=1, error="")
    await file.settle("0-2", "discarded")
    assert len(file.newest(limit=9, before=None, settled=True)) == 3
    assert file.read("0-2").settlement is not None
    file.recover()
    assert left_open() == []


def test_files_that_fail_are_closed(
    tmp_path: Path, left_open: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    (tmp_path / "there").touch()
    for work in (
        lambda: files.sync_directory(tmp_path),
        lambda: files.sync_file(tmp_path / "there"),
        lambda: files.replace_file(tmp_path / "there", b"new"),
        lambda: files.LineFile(tmp_path / "lines").append(b"line\n"),
    ):
        with pytest.raises(OSError, match="Input/output"):
            work()
        assert left_open() == []
    assert (tmp_path / "there").read_bytes() == b""
    assert list(tmp_path.glob("*.new")) == []


def test_the_data_directory_is_let_go_also_by_who_did_not_get_it(
    tmp_path: Path, left_open: Callable[[], list[str]]
) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    for _ in range(3):
        first.lock()
        with pytest.raises(DataDirectoryLocked):
            second.lock()
        assert left_open() == [str(tmp_path / "lock")]
        first.close()
        first.close()
        assert left_open() == []


async def test_a_service_that_ended_has_closed_all(
    tmp_path: Path, left_open: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shardset, "STORE_HEAD_START_S", 0.0)
    settings = ShardSettings(data_dir=tmp_path, shard_count=2, memory_max_rows=2, wal_min_free_bytes=0)
    before = len(opened())
    for _ in range(3):
        async with in_an_outage(settings) as shards:
            await shards.append(
                [event for match in ("a", "b", "c", "d") for event in events(shards, 2, match_id=match)]
            )
            await shards._shards[0].flusher._steps.load()
        assert left_open() == []
    assert len(opened()) <= before + 2, "the executor of the event loop may have begun in between"
