"""Who may read the data directory."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.wal.closing import close_to_others
from shards.wal.directory import DataDirectory
from tests.logged import lines_of


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes_below(path: Path) -> set[str]:
    return {f"{entry.is_dir()} {mode(entry):o}" for entry in (path, *path.rglob("*"))}


def test_what_a_start_makes_is_for_the_owner_whatever_the_umask(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    directory.lock()
    directory.close()
    assert modes_below(tmp_path / "data") == {"True 700", "False 600"}


def test_what_was_open_to_others_is_closed_to_the_last_file(tmp_path: Path) -> None:
    deep = tmp_path / "data" / "clickhouse" / "store" / "abc" / "all_1_1_0"
    deep.mkdir(parents=True)
    (deep / "data.bin").write_text("what a fan wrote")
    (tmp_path / "data" / "wal").mkdir()
    (tmp_path / "data" / "wal" / "script").touch(0o755)
    outside = tmp_path / "outside"
    outside.mkdir()
    links = [tmp_path / "data" / "wal" / "link", tmp_path / "data" / "deadletters", tmp_path / "data" / "wal" / "no"]
    for link, target in zip(links, (outside, outside, tmp_path / "none"), strict=True):
        link.symlink_to(target)
    close_to_others(tmp_path / "data")
    for link in links:
        link.unlink()
    assert modes_below(tmp_path / "data") == {"True 700", "False 600", "False 700"}
    assert mode(outside) == 0o777


def test_a_link_to_the_directory_closes_the_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "real")
    close_to_others(tmp_path / "data")
    assert mode(tmp_path / "real") == 0o700


def test_below_a_directory_that_is_closed_only_its_own_entries_are_looked_at(tmp_path: Path) -> None:
    shard = tmp_path / "data" / "wal" / "shard-000"
    (shard / "deep").mkdir(parents=True)
    shard.parent.chmod(0o700)
    close_to_others(tmp_path / "data")
    assert [mode(path) for path in (tmp_path / "data", shard, shard / "deep")] == [0o700, 0o700, 0o777]


def test_of_a_directory_that_others_use_too_only_log_and_letters_are_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("wal", "deadletters", "clickhouse", "somebody"):
        (tmp_path / "data" / name / "below").mkdir(parents=True)
    close_to_others(tmp_path / "data")
    shared = [mode(tmp_path / "data" / name) for name in (".", "clickhouse", "somebody", "somebody/below")]
    assert shared == [0o777] * 4
    assert [mode(tmp_path / "data" / name) for name in ("wal", "wal/below", "deadletters/below")] == [0o700] * 3
    [line] = lines_of(caplog, "data directory open to others")
    assert "'somebody'" in line["reason"]


def test_a_directory_of_a_volume_is_the_services_own(tmp_path: Path) -> None:
    (tmp_path / "data" / "lost+found").mkdir(parents=True)
    close_to_others(tmp_path / "data")
    assert [mode(tmp_path / "data" / name) for name in (".", "lost+found")] == [0o700, 0o777]


def test_what_belongs_to_others_is_told_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path, _mode: int) -> None:
        raise PermissionError

    (tmp_path / "data").mkdir()
    monkeypatch.setattr(Path, "chmod", refuse)
    close_to_others(tmp_path / "data")
    [line] = lines_of(caplog, "data directory open to others")
    assert (line["path"], line["reason"]) == (str(tmp_path / "data"), "it belongs to another user")


def test_a_start_closes_what_others_could_read(tmp_path: Path) -> None:
    """An administrator has made the directory, or a release before that did not close it."""
    data = tmp_path / "data"
    (data / "deadletters").mkdir(parents=True)
    (data / "deadletters" / "shard-000.jsonl").write_text("")
    assert modes_below(data) == {"True 777", "False 666"}
    directory = DataDirectory(data)
    directory.lock()
    directory.close()
    assert modes_below(data) == {"True 700", "False 600"}
