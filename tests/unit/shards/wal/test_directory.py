"""The data directory's id: in which order it is written, and what is made of one that does not fit the log."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shards.settings import SHARDS_MAX
from shards.wal.directory import DataDirectory, shard_index, shard_name
from tests.logged import lines_of
from tests.unit.shards.wal.disk_calls import Call, calls_below

ANOTHER = "write-ahead log is another"


@contextmanager
def locked(path: Path) -> Iterator[DataDirectory]:
    directory = DataDirectory(path)
    directory.lock()
    try:
        yield directory
    finally:
        directory.close()


def started(path: Path) -> str:
    """The id after a start that recovered its log, which has one shard."""
    with locked(path) as directory:
        (path / "wal" / "shard-000").mkdir(exist_ok=True)
        directory.keep_id()
        return directory.id


def ids(path: Path) -> tuple[str, str]:
    return (path / "id").read_text(), (path / "wal" / "id").read_text()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_the_first_use_makes_an_id_which_stays(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = started(data)
    assert re.fullmatch("[0-9a-f]{8}", first)
    assert started(data) == first
    assert ids(data) == (first, first)
    assert lines_of(caplog) == []


def test_each_id_is_synced_before_it_has_its_name_the_logs_first(data: Path) -> None:
    data.mkdir()
    with calls_below(data) as calls, locked(data):
        pass
    assert calls[-8:] == [
        ("write", "wal/id.new"),
        ("fsync", "wal/id.new"),
        ("rename", "wal/id"),
        ("fsync", "wal"),
        ("write", "id.new"),
        ("fsync", "id.new"),
        ("rename", "id"),
        ("fsync", "."),
    ]


def test_ids_that_a_killed_process_left_are_made_durable_before_they_count(data: Path) -> None:
    first = started(data)
    with calls_below(data.parent) as calls, locked(data) as directory:
        assert directory.id == first
    for name, folder in (("data/id", "data"), ("data/wal/id", "data/wal")):
        assert ("fsync", folder) in calls[calls.index(("fsync", name)) :]
    assert ("fsync", ".") in calls, "the name of the directory, too"
    assert {call for call, _ in calls} == {"fsync"}


@pytest.mark.parametrize("failing", [("fsync", "id"), ("fsync", "."), ("fsync", "wal/id"), ("fsync", "wal")])
def test_an_id_that_cannot_be_made_durable_does_not_count(data: Path, failing: Call) -> None:
    started(data)
    with (
        calls_below(data, fail=lambda call: call == failing),
        pytest.raises(OSError, match="Input/output"),
        locked(data),
    ):
        pass


@pytest.mark.parametrize("missing", ["id", "wal/id"])
@pytest.mark.parametrize("content", [None, b"", b"0123abc", b"0123abcd\n", b"\xff" * 8])
def test_an_id_that_is_lost_is_taken_from_the_other_file(
    data: Path, missing: str, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory of an older release has none in ``wal``; its log is taken for its own."""
    first = started(data)
    (data / missing).unlink()
    if content is not None:
        (data / missing).write_bytes(content)
    assert started(data) == first
    assert ids(data) == (first, first)
    assert lines_of(caplog) == []


def test_without_any_a_new_one_is_made(data: Path) -> None:
    first = started(data)
    (data / "id").unlink()
    (data / "wal" / "id").write_bytes(b"damaged")
    assert started(data) != first
    assert len(set(ids(data))) == 1


def lose(data: Path) -> None:
    shutil.rmtree(data / "wal")


def empty(data: Path) -> None:
    lose(data)
    (data / "wal").mkdir()


def replace(data: Path) -> None:
    lose(data)
    started(data.parent / "other")
    (data.parent / "other" / "wal").rename(data / "wal")


@pytest.mark.parametrize(
    ("happens", "reason"),
    [(lose, "the log of before is missing"), (empty, "the log of before is missing"), (replace, "its id is another")],
)
def test_another_log_is_reported_and_has_another_id(
    data: Path, happens: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = started(data)
    assert callable(happens)
    happens(data)
    found = (data / "wal" / "id").read_text() if happens is replace else ""
    for start in (1, 2):  # the first one is killed before anything else was made of it
        with locked(data) as directory:
            assert directory.log_is_another
            assert directory.id not in (first, found), "receipts of neither are its own"
            lines = lines_of(caplog, ANOTHER)
            assert [line["level"] for line in lines] == ["error"] * start
            assert lines[-1]["reason"].startswith(reason) or start == 2
            assert (lines[-1]["former"], lines[-1]["id"]) == (first, directory.id)
            (data / "wal" / "shard-000").mkdir(exist_ok=True)
            if start == 2:
                directory.keep_id()
                second = directory.id
    with locked(data) as directory:
        assert not directory.log_is_another
        assert directory.id == second
    assert ids(data) == (second, second)
    assert len(lines_of(caplog, ANOTHER)) == 2


def test_names_of_shards_are_those_that_we_give() -> None:
    assert [shard_index(shard_name(index)) for index in range(SHARDS_MAX)] == [*range(SHARDS_MAX)]
    foreign = ["shard-000.bak", "shard-999999", "shard-0000", "shard-00", "shard-999", "shard-\u0660\u0660\u0660"]
    for name in [*foreign, "", "shard-", "shard--01", " shard-000", "shard-000\n", "copy.wal", shard_name(SHARDS_MAX)]:
        assert shard_index(name) is None, name


def test_a_directory_is_made_with_all_that_is_missing_above_it(tmp_path: Path) -> None:
    with locked(tmp_path / "not" / "there" / "yet") as directory:
        assert ids(tmp_path / "not" / "there" / "yet") == (directory.id, directory.id)
