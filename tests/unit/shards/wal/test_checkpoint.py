"""The checkpoint on the disk: durable before it counts, whole or not there."""

from pathlib import Path

import pytest

from shards.wal.checkpoint import FILE_NAME, Checkpoint, read_checkpoint, write_checkpoint
from tests.unit.shards.wal.disk_calls import Call, calls_below


def test_it_is_synced_before_it_has_its_name_and_the_name_before_it_counts_as_written(tmp_path: Path) -> None:
    with calls_below(tmp_path) as calls:
        write_checkpoint(tmp_path, Checkpoint(upto=7))
    new = f"{FILE_NAME}.new"
    assert calls == [("write", new), ("fsync", new), ("rename", FILE_NAME), ("fsync", ".")]
    assert read_checkpoint(tmp_path) == Checkpoint(upto=7)


def test_one_that_a_killed_process_left_is_made_durable_before_it_counts(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, Checkpoint(upto=7))
    with calls_below(tmp_path) as calls:
        assert read_checkpoint(tmp_path).upto == 7
    assert calls == [("fsync", FILE_NAME), ("fsync", ".")]


@pytest.mark.parametrize("failing", [("fsync", FILE_NAME), ("fsync", ".")])
def test_one_that_cannot_be_made_durable_does_not_count(tmp_path: Path, failing: Call) -> None:
    write_checkpoint(tmp_path, Checkpoint(upto=7))
    with calls_below(tmp_path, fail=lambda call: call == failing), pytest.raises(OSError, match="Input/output"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"upto":"x"}', b"\xff"])
def test_one_that_is_damaged_is_as_none(tmp_path: Path, content: bytes) -> None:
    assert read_checkpoint(tmp_path) == Checkpoint()
    (tmp_path / FILE_NAME).write_bytes(content)
    assert read_checkpoint(tmp_path) == Checkpoint()
