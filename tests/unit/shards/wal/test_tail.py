"""The end of a log at a start: what counts is durable first, what was torn is cut off, what was damaged is counted."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from shards.wal import files, segment, segments
from shards.wal import log as log_module
from shards.wal.checkpoint import Checkpoint, read_checkpoint
from shards.wal.files import sync_directory
from shards.wal.record import HEADER_BYTES, encode_records
from tests.logged import lines_of
from tests.unit.shards.wal.logs import append, lost, open_log, read_all, reopened, row, segment_files


def record_bytes(number: int) -> int:
    return len(encode_records(number, [row(number)]))


def spoil(path: Path, number: int) -> None:
    """Flip one bit of a row."""
    content = bytearray(path.read_bytes())
    content[content.index(b"id-%d" % number)] ^= 1
    path.write_bytes(content)


def crashed(directory: Path, *, acknowledged: int, written: int) -> Path:
    """Leave a log whose last group, of ``written`` rows, was never synced; return its segment."""
    log = open_log(directory)
    append(log, *(row(number) for number in range(1, acknowledged + 1)))
    log.append([row(number) for number in range(acknowledged + 1, acknowledged + written + 1)])
    log.close()
    [path] = segment_files(directory)
    return path


def test_a_hole_in_a_group_that_was_never_acknowledged_is_a_torn_end_and_no_damage(tmp_path: Path) -> None:
    """A power failure may leave the second half of a write and not the first."""
    path = crashed(tmp_path, acknowledged=3, written=4)
    spoil(path, 5)

    log, recovery = reopened(tmp_path)

    assert lost(log, recovery) == 0
    assert [payload for _, payload in read_all(log)] == [row(1), row(2), row(3), row(4), row(6), row(7)]
    assert [seq for seq, _ in read_all(log)] == [1, 2, 3, 4, 5, 6], "without a gap"
    assert not (tmp_path / "damaged").exists()
    assert append(log, row(8)) == 7
    log.close()
    again, recovery = reopened(tmp_path)
    assert lost(again, recovery) == 0
    assert [payload for _, payload in read_all(again)][-3:] == [row(6), row(7), row(8)]


def test_the_same_hole_is_damage_once_a_later_group_tells_that_it_was_durable(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2), row(3))
    append(log, row(4))
    log.close()
    spoil(segment_files(tmp_path)[0], 2)
    log, recovery = reopened(tmp_path)
    assert recovery.damaged == ((2, 2),)
    assert [seq for seq, _ in read_all(log)] == [1, 3, 4]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_log_that_was_ended_in_order_tells_a_damaged_end_from_a_torn_one(tmp_path: Path, number: int) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2), row(3))
    log.seal()
    log.close()
    spoil(segment_files(tmp_path)[0], number)
    log, recovery = reopened(tmp_path)
    assert lost(log, recovery) == 1
    assert append(log, row(4)) == 4, "an acknowledged number is not given out again"


def test_a_checkpoint_tells_how_far_the_log_was_durable(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2), row(3))
    log.truncate(Checkpoint())
    append(log, row(4))
    log.close()
    assert read_checkpoint(tmp_path).durable == 3
    [path] = segment_files(tmp_path)
    os.truncate(path, HEADER_BYTES + record_bytes(1))
    log, recovery = reopened(tmp_path)
    assert recovery.damaged == ((2, 3),)
    assert append(log, row(5)) == 4


def test_what_no_sync_is_known_to_cover_is_written_again_and_synced_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync that failed leaves pages that the kernel takes for written: syncing them again proves nothing."""
    path = crashed(tmp_path, acknowledged=3, written=2)
    calls: list[tuple[str, int]] = []
    real_write, real_fsync = os.write, os.fsync

    def write(fd: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{fd}").readlink() == path:
            calls.append(("write", os.lseek(fd, 0, os.SEEK_CUR)))
        return real_write(fd, data)

    def fsync(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == path:
            calls.append(("fsync", 0))
        real_fsync(fd)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", fsync)
    log, recovery = reopened(tmp_path)
    assert calls == [("write", HEADER_BYTES + 3 * record_bytes(1)), ("fsync", 0)]
    assert recovery.pending.total() == 5
    log.close()
    calls.clear()
    reopened(tmp_path)
    assert calls == [], "the checkpoint of the start before tells that it is durable"


def test_a_torn_end_is_cut_off_for_every_later_start(tmp_path: Path) -> None:
    path = crashed(tmp_path, acknowledged=3, written=0)
    whole = path.read_bytes()
    path.write_bytes(whole + encode_records(4, [row(4)])[:-5])
    reopened(tmp_path)
    assert path.read_bytes() == whole


def failing(monkeypatch: pytest.MonkeyPatch, module: object, name: str, *, when: Callable[[Path], bool]) -> None:
    real = getattr(module, name)

    def fail(path: Path, *rest: object, **named: object) -> object:
        if when(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *rest, **named)

    monkeypatch.setattr(module, name, fail)


def test_a_damaged_segment_whose_move_could_not_be_synced_does_not_keep_the_log_from_shrinking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path, segment_max_bytes=400)
    for number in range(1, 8):
        append(log, row(number))
    log.segments.mark_damaged(1)
    with monkeypatch.context() as patch:
        failing(patch, files, "sync_directory", when=lambda path: path.name == "damaged")
        failing(patch, segments, "sync_directory", when=lambda _: True)
        with pytest.raises(OSError, match="Input/output"):
            log.truncate(Checkpoint(upto=7))
    log.truncate(attrs.evolve(log.checkpoint, upto=7))
    assert len(segment_files(tmp_path)) == 1
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def test_without_a_checkpoint_each_removal_is_durable_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power failure could bring back the first of three segments and not the second, which would be damage."""
    log = open_log(tmp_path, segment_max_bytes=400)
    for number in range(1, 8):
        append(log, row(number))
    before = segment_files(tmp_path)
    gone: list[int] = []

    def note(path: Path) -> None:
        sync_directory(path)
        gone.append(len(before) - len(segment_files(tmp_path)))

    monkeypatch.setattr(segments, "sync_directory", note)
    failing(monkeypatch, log_module, "write_checkpoint", when=lambda _: True)
    with pytest.raises(OSError, match="Input/output"):
        log.truncate(Checkpoint(upto=7))
    assert gone == list(range(1, len(before)))
    assert len(before) > 2


def test_a_file_that_never_became_a_segment_is_removed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path, segment_max_bytes=200)
    append(log, row(1))
    with monkeypatch.context() as patch:
        failing(patch, segment, "sync_directory", when=lambda _: True)
        failing(patch, Path, "unlink", when=lambda path: path.suffix == ".wal")
        with pytest.raises(OSError, match="Input/output"):
            append(log, row(2))
    log.abandon()
    left = [path for path in segment_files(tmp_path) if path.stat().st_size == HEADER_BYTES]
    assert len(left) == 1
    append(log, row(9))
    log.truncate(Checkpoint(upto=1))
    assert left[0] not in segment_files(tmp_path)


def test_an_older_checkpoint_that_comes_late_changes_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2))
    older = attrs.evolve(log.checkpoint, upto=1)
    log.truncate(attrs.evolve(log.checkpoint, upto=2))
    log.truncate(older)
    assert read_checkpoint(tmp_path).upto == log.checkpoint.upto == 2


def test_files_that_are_not_ours_are_passed_over_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2))
    log.close()
    [path] = segment_files(tmp_path)
    for name in ("copy.wal", "000000000009.wal.bak", "9.wal", "notes.txt"):
        (tmp_path / name).write_bytes(path.read_bytes())
    with caplog.at_level("WARNING"):
        again, recovery = reopened(tmp_path)
    assert (recovery.pending.total(), append(again, row(3))) == (2, 3)
    [line] = lines_of(caplog, "unknown files passed over")
    assert line["names"] == ["000000000009.wal.bak", "9.wal", "copy.wal", "notes.txt"]
    assert len(list(tmp_path.glob("[0-9]" * 12 + ".wal"))) == 2


def test_a_damaged_end_that_is_known_to_have_been_durable_is_no_torn_end_and_stays_as_it_is(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2))
    log.seal()
    log.close()
    [path] = segment_files(tmp_path)
    spoil(path, 2)
    content = path.read_bytes()
    log, recovery = reopened(tmp_path)
    assert lost(log, recovery) == 1
    assert path.read_bytes() == content
    assert append(log, row(3)) == 3
