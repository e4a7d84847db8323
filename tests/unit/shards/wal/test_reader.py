"""A reader at the end of a segment, while the log goes on to the next one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards.events import Event, encode_row
from shards.wal.checkpoint import Checkpoint
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from shards.wal.record import HEADER_BYTES
from shards.wal.segment import SegmentReader
from shards.wal.segments import SegmentList
from tests.logged import lines_of

SEGMENT_MAX_BYTES = 700


def row(number: int) -> bytes:
    return encode_row(Event("m", f"id-{number}", "pass", 1, "1", "", "{}", number, number))


def append(log: ShardLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        log.append([row(number)])
        log.sync()
        log.acknowledge()


def open_log(directory: Path) -> ShardLog:
    log = ShardLog(directory, shard=0, segment_max_bytes=SEGMENT_MAX_BYTES)
    log.recover()
    return log


def numbers(reader: LogReader) -> list[int]:
    return [record.seq for record in reader.read(upto_seq=None, max_rows=100, max_bytes=1 << 20)]


def once(work: Callable[[], None], before_or_after: str, called: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, but at its next call something happens right before it, or right after."""
    happened = False

    def with_work(*arguments: Any) -> Any:
        nonlocal happened
        is_now, happened = not happened, True
        if is_now and before_or_after == "before":
            work()
        found = called(*arguments)
        if is_now and before_or_after == "after":
            work()
        return found

    return with_work


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "question"), [(SegmentReader, "piece"), (SegmentList, "following")])
def test_rows_that_come_with_the_next_segment_are_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, owner: type, question: str
) -> None:
    """Between the end of the file and the question for its follower the file gets its last rows, and the follower."""
    log = open_log(tmp_path)
    append(log, 1, 2)
    reader = LogReader(log, after_seq=0)
    assert numbers(reader) == [1, 2]
    assert len(log.segments) == 1
    monkeypatch.setattr(owner, question, once(lambda: append(log, 3, 9), when, getattr(owner, question)))
    found = numbers(reader)
    assert len(log.segments) > 1
    monkeypatch.undo()
    assert [*found, *numbers(reader)] == [3, 4, 5, 6, 7, 8, 9]
    assert not any(segment.damaged for segment in log.segments._segments)
    reader.close()


def test_a_reader_goes_on_behind_a_number_that_lies_ahead_and_never_back(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, 1, 9)
    reader = LogReader(log, after_seq=0)
    assert [record.seq for record in reader.read(upto_seq=None, max_rows=2, max_bytes=1 << 20)] == [1, 2]
    reader.skip_to(7)
    assert numbers(reader) == [8, 9]
    reader.skip_to(3)
    append(log, 10, 10)
    assert numbers(reader) == [10]
    assert not any(segment.damaged for segment in log.segments._segments)
    reader.close()


def test_limits_of_rows_bytes_and_numbers_cut_a_read_and_lose_none(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, 1, 9)
    reader = LogReader(log, after_seq=0)

    def read(upto: int = 9, rows: int = 100, bytes_: int = 1 << 20) -> list[int]:
        return [record.seq for record in reader.read(upto_seq=upto, max_rows=rows, max_bytes=bytes_)]

    assert read(upto=3) == [1, 2, 3]
    assert read(upto=3) == []
    assert read(rows=1) == [4]
    assert read(bytes_=len(row(5)) + 1) == [5, 6], "the row that reaches the limit is the last"
    assert read(bytes_=len(row(7))) == [7]
    assert read(rows=0) == []
    assert read(bytes_=0) == []
    assert read() == [8, 9]
    reader.close()


def test_a_segment_in_which_a_reader_finds_damage_is_kept_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log(tmp_path)
    append(log, 1, 17)
    first, second, *others = log.segments._segments
    assert len(others) > 1
    data = bytearray(second.path.read_bytes())
    data[data.index(row(second.first_seq)) + 1] ^= 1
    second.path.write_bytes(data)
    reader = LogReader(log, after_seq=0)
    assert numbers(reader) == [number for number in range(1, 18) if number != second.first_seq]
    reader.close()
    assert [segment.damaged for segment in log.segments._segments] == [False, True, *(False for _ in others)]
    [said] = lines_of(caplog, "segment damaged")
    assert (said["path"], said["offset_bytes"], said["level"]) == (str(second.path), HEADER_BYTES, "error")
    log.truncate(Checkpoint(upto=17))
    log.close()
    [kept] = (tmp_path / "damaged").iterdir()
    assert kept.read_bytes() == data
    assert kept.name.startswith(second.path.stem)
    assert not first.path.exists()


def test_a_segment_whose_header_is_damaged_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = open_log(tmp_path)
    append(log, 1, 2)
    log.close()
    path = log.segments.last.path
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert open_log(tmp_path).durable_seq == 2
    [said] = lines_of(caplog, "segment header damaged")
    assert (said["path"], said["level"]) == (str(path), "error")


def test_a_reader_that_has_forgotten_what_was_abandoned_stays_in_its_segment(tmp_path: Path) -> None:
    """It would read each segment from its start again otherwise, for every group of rows."""
    log = open_log(tmp_path)
    append(log, 1, 2)
    reader = LogReader(log, after_seq=0)
    log.abandon()
    append(log, 3, 4)
    assert numbers(reader) == [1, 2, 3, 4]
    held = reader._reader
    append(log, 5, 5)
    assert numbers(reader) == [5]
    assert reader._reader is held
    reader.close()
    log.close()
