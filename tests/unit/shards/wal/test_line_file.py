"""Files of lines: when a line is durable, and what becomes of one whose write failed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.wal.files import LineFile
from tests.logged import lines_of
from tests.unit.shards.wal.disk_calls import Call, calls_below, first

PAGE = 1 << 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d" / "lines"


def recovered(path: Path) -> LineFile:
    file = LineFile(path)
    file.recover()
    return file


def killed_after(path: Path, lines: bytes) -> None:
    """Leave what a process leaves that is killed after it wrote: no file and no directory is synced."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(lines)


def test_a_line_is_synced_and_its_name_before_the_append_returns(tmp_path: Path, path: Path) -> None:
    file = recovered(path)
    with calls_below(tmp_path) as calls:
        assert file.append(b"a\n") == 0
    assert calls == [
        ("fsync", "d"),  # the way to the new directory
        ("fsync", "."),
        ("write", "d/lines"),
        ("fsync", "d/lines"),
        ("fsync", "d"),  # the name of the new file
    ]
    with calls_below(tmp_path) as calls:
        assert file.append(b"b\n") == 2
    assert calls == [("write", "d/lines"), ("fsync", "d/lines")]
    assert file.read() == b"a\nb\n"


def test_what_a_start_finds_is_made_durable_before_it_counts(tmp_path: Path, path: Path) -> None:
    killed_after(path, b"a\n")
    with calls_below(tmp_path) as calls:
        recovered(path)
    assert calls == [("write", "d/lines"), ("fsync", "d/lines"), ("fsync", "d"), ("fsync", ".")]


@pytest.mark.parametrize("failing", [("write", "d/lines"), ("fsync", "d/lines"), ("fsync", "d"), ("fsync", ".")])
def test_a_start_fails_where_it_cannot_be(tmp_path: Path, path: Path, failing: Call) -> None:
    killed_after(path, b"a\n")
    with calls_below(tmp_path, fail=lambda call: call == failing), pytest.raises(OSError, match="Input/output"):
        recovered(path)


@pytest.mark.parametrize("length", [0, 1, PAGE, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
@pytest.mark.parametrize("whole", [b"", b"a\nb\n"])
def test_a_torn_end_is_cut_off_and_named(
    path: Path, whole: bytes, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    killed_after(path, whole + b"x" * length)
    file = recovered(path)
    assert path.read_bytes() == file.read() == whole
    lines = lines_of(caplog, "torn line cut off")
    assert [(line["offset"], line["bytes"]) for line in lines] == ([(len(whole), length)] if length else [])
    assert file.append(b"c\n") == len(whole)
    assert path.read_bytes() == whole + b"c\n"


@pytest.mark.parametrize(
    ("whole", "failing"),
    [
        (whole, failing)
        for whole in (b"", b"a\n")
        for failing in (("write", "d/lines"), ("fsync", "d/lines"), ("fsync", "d"))
        if (whole, failing) != (b"a\n", ("fsync", "d"))  # the directory is synced with the first line only
    ],
)
def test_a_line_whose_append_failed_is_cut_off_at_once(
    tmp_path: Path, path: Path, whole: bytes, failing: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recovered(path)
    if whole:
        file.append(whole)
    fails = first(failing, after=("write", "d/lines"))
    with monkeypatch.context() as almost_full:
        almost_full.setattr(os, "write", _in_halves(os.write))
        with calls_below(tmp_path, fail=fails) as calls, pytest.raises(OSError, match="Input/output"):
            file.append(b"failed\n")
    assert path.read_bytes() == whole
    assert calls[-1] == ("fsync", "d/lines"), "and stays so after a power failure"

    with calls_below(tmp_path) as calls:
        assert file.append(b"b\n") == len(whole)
    assert (calls[-1] == ("fsync", "d")) != bool(whole), "the name is synced with the first line that is written"
    assert recovered(path).read() == whole + b"b\n"


def _in_halves(write: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
    return lambda fd, data: write(fd, data[: (len(data) + 1) // 2])


@pytest.mark.parametrize("failing", [("truncate", "d/lines"), ("fsync", "d/lines")])
def test_nothing_is_appended_before_a_failed_line_is_cut_off(tmp_path: Path, path: Path, failing: Call) -> None:
    file = recovered(path)
    file.append(b"a\n")
    with calls_below(tmp_path, fail=lambda call: call in (("fsync", "d/lines"), failing)) as calls:
        for line in (b"failed\n", b"failed too\n"):
            with pytest.raises(OSError, match="Input/output"):
                file.append(line)
            assert b"too" not in path.read_bytes()
            assert file.read() == b"a\n", "a line whose fate is unknown is not read"
    assert calls.count(("write", "d/lines")) == 1 + (2 if failing[0] == "fsync" else 0)
    assert file.append(b"b\n") == 2
    assert path.read_bytes() == b"a\nb\n"


def test_the_page_that_a_failed_line_shared_is_written_again(tmp_path: Path, path: Path) -> None:
    """The kernel may have dropped the whole page when it could not be written."""
    whole = b"x" * (3 * PAGE) + b"\n"
    file = recovered(path)
    file.append(whole)
    written: list[bytes] = []
    with calls_below(tmp_path, fail=first(("fsync", "d/lines"))), pytest.MonkeyPatch.context() as patch:
        write = os.write

        def noting(fd: int, data: bytes) -> int:
            written.append(bytes(data))
            return write(fd, data)

        patch.setattr(os, "write", noting)
        with pytest.raises(OSError, match="Input/output"):
            file.append(b"failed\n")
    assert written == [b"failed\n", whole[-PAGE:]]


def test_a_file_that_somebody_changed_meanwhile_is_recovered_before_more_is_appended(
    tmp_path: Path, path: Path
) -> None:
    file = recovered(path)
    file.append(b"a\n")
    path.write_bytes(b"a\nby hand\ntorn")
    with calls_below(tmp_path) as calls:
        assert file.append(b"b\n") == 10
    assert calls.index(("fsync", "d")) < len(calls) - 2
    assert path.read_bytes() == b"a\nby hand\nb\n"
    path.unlink()
    with calls_below(tmp_path) as calls:
        assert file.append(b"c\n") == 0
    assert calls[-1] == ("fsync", "d")


def test_lines_are_replaced_all_or_none(tmp_path: Path, path: Path) -> None:
    file = recovered(path)
    file.append(b"a\nb\n")
    with calls_below(tmp_path, fail=lambda call: call[0] == "rename"), pytest.raises(OSError, match="Input/output"):
        file.replace(b"c\n")
    assert file.read() == path.read_bytes() == b"a\nb\n"
    with calls_below(tmp_path, fail=lambda call: call == ("fsync", "d")), pytest.raises(OSError, match="Input/output"):
        file.replace(b"A\nB\n")
    with calls_below(tmp_path) as calls:
        file.append(b"C\n")
    assert ("fsync", "d") in calls, "the new file has its name, but maybe not on the disk"
    assert file.read() == b"A\nB\nC\n"
    file.replace(b"c\n")
    assert file.append(b"d\n") == 2
    assert file.read() == path.read_bytes() == b"c\nd\n"
