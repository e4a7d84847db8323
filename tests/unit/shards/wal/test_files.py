"""Files and names on the disk: what is made durable, in which order, and what is passed over."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shards.wal.files import foreign_names, make_directory, replace_file, report_foreign, rewrite_file, sync_path
from tests.logged import lines_of
from tests.unit.shards.wal.disk_calls import calls_below

SHARED_MEMORY = Path("/dev/shm")


@pytest.mark.parametrize(("start", "end", "left"), [(0, None, 5_000_000), (4_999_999, None, 5_000_000), (0, 3, 3)])
def test_a_file_is_written_again_in_its_place_and_then_synced(
    tmp_path: Path, start: int, end: int | None, left: int
) -> None:
    data = os.urandom(5_000_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    inode = path.stat().st_ino
    with calls_below(tmp_path) as calls:
        rewrite_file(path, start=start, end=end)
    assert path.read_bytes() == data[:left]
    assert path.stat().st_ino == inode
    assert calls[0][0] == ("write" if end is None else "truncate")
    assert ("write", "file") in calls
    assert calls[-1] == ("fsync", "file")


def test_what_is_written_again_is_what_the_disk_gets_anew(tmp_path: Path) -> None:
    """Each byte from ``start`` on is handed to the kernel, and none before it."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)))
    written: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        write = os.write

        def noting(fd: int, data: bytes) -> int:
            written.append(bytes(data[:100]))  # a disk may take less than it is given
            return write(fd, data[:100])

        patch.setattr(os, "write", noting)
        rewrite_file(path, start=6)
    assert b"".join(written) == bytes(range(6, 256))
    assert path.read_bytes() == bytes(range(256))


def test_the_names_of_all_directories_above_are_synced(tmp_path: Path) -> None:
    (tmp_path / "data" / "wal").mkdir(parents=True)
    with calls_below(Path("/")) as calls:
        sync_path(tmp_path / "data" / "wal")
    below = [name for _, name in calls]
    device = tmp_path.stat().st_dev
    above = [place for place in tmp_path.parents if place.stat().st_dev == device]
    expected = [tmp_path / "data" / "wal", tmp_path / "data", tmp_path, *above]
    assert below == [str(place.relative_to("/")) for place in expected]
    assert {call for call, _ in calls} == {"fsync"}


def test_the_way_to_a_directory_behind_a_link_is_synced_where_it_really_is(tmp_path: Path) -> None:
    (tmp_path / "real" / "data").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with calls_below(tmp_path) as calls:
        sync_path(tmp_path / "link" / "data")
    assert [name for _, name in calls] == ["real/data", "real", "."]


@pytest.mark.skipif(not SHARED_MEMORY.is_mount(), reason="needs a second file system, as /dev/shm is one")
def test_the_way_ends_where_the_file_system_does() -> None:
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as name, calls_below(Path("/")) as calls:
        sync_path(Path(name))
    assert [f"/{path}" for _, path in calls] == [name, str(SHARED_MEMORY)]


@pytest.fixture
def closed_directory() -> Iterator[Path]:
    """A directory inside one that may be passed through and not read."""
    with tempfile.TemporaryDirectory() as name:
        outer = Path(name) / "closed"
        (outer / "open").mkdir(parents=True)
        Path(name).chmod(0o755)
        outer.chmod(0o111)
        (outer / "open").chmod(0o777)
        yield outer / "open"
        outer.chmod(0o755)


@contextmanager
def without_rights() -> Iterator[None]:
    """Be a user who is not root, for no longer than it takes, because nobody else can write files then either."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


def test_a_parent_that_may_not_be_opened_is_passed_over(closed_directory: Path) -> None:
    with calls_below(Path("/")) as calls, without_rights():
        make_directory(closed_directory / "data")
    names = [f"/{name}" for _, name in calls]
    assert names[:2] == [str(closed_directory / "data"), str(closed_directory)]
    assert str(closed_directory.parent) not in names
    assert str(closed_directory.parent.parent) in names, "those above it are synced"


def test_a_directory_that_a_killed_process_made_is_synced_like_one_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "data" / "wal" / "shard-000"
    for _ in ("missing", "there"):
        with calls_below(tmp_path) as calls:
            make_directory(path)
        names = [name for _, name in calls]
        assert names == ["data/wal/shard-000", "data/wal", "data", "."]


def test_a_directory_that_cannot_be_synced_is_an_error(tmp_path: Path) -> None:
    fails = calls_below(tmp_path, fail=lambda call: call == ("fsync", "."))
    with fails, pytest.raises(OSError, match="Input/output"):
        make_directory(tmp_path / "data")


def test_a_file_is_replaced_by_one_that_is_whole_and_synced_before_it_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with calls_below(tmp_path) as calls:
        replace_file(path, b"new")
    assert calls == [("write", "file.new"), ("fsync", "file.new"), ("rename", "file"), ("fsync", ".")]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("failing", [("write", "file.new"), ("fsync", "file.new"), ("rename", "file")])
def test_a_replacement_that_fails_leaves_the_old_file(tmp_path: Path, failing: tuple[str, str]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    fails = calls_below(tmp_path, fail=lambda call: call == failing)
    with fails, pytest.raises(OSError, match="Input/output"):
        replace_file(path, b"new")
    assert [(child.name, child.read_bytes()) for child in tmp_path.iterdir()] == [("file", b"old")]


def test_names_that_are_not_ours_are_told_apart_and_named_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ours-2", "ours-1", "b.bak", "a copy", os.fsdecode(b"\xff")):
        (tmp_path / name).touch()
    ours = lambda name: name.startswith("ours-")  # noqa: E731
    assert foreign_names(tmp_path, ours) == ["a copy", "b.bak", "\udcff"]
    report_foreign(tmp_path, ours)
    [line] = lines_of(caplog, "unknown files passed over")
    assert line["level"] == "warning"
    assert (line["path"], line["count"], line["names"]) == (str(tmp_path), 3, ["a copy", "b.bak", r"\udcff"])


def test_where_all_is_ours_or_no_directory_is_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report_foreign(tmp_path, bool)
    report_foreign(tmp_path / "missing", bool)
    (tmp_path / "ours").touch()
    report_foreign(tmp_path, bool)
    assert foreign_names(tmp_path / "missing", bool) == []
    assert lines_of(caplog) == []


def test_a_disk_that_takes_no_byte_and_reports_no_error_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"before")
    monkeypatch.setattr(os, "write", lambda fd, data: 0)
    with pytest.raises(OSError, match="No space left on device") as failure:
        replace_file(tmp_path / "file", b"after")
    assert failure.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"
