"""Recovery of all that a data directory holds: what it was before another log came is forgotten last."""

import shutil
from pathlib import Path

import pytest

from shards.clock import ReceiptClock
from shards.recovery import recovered_shards
from shards.settings import ShardSettings
from shards.wal.directory import DataDirectory
from tests.logged import lines_of


def started(settings: ShardSettings, *, recovers: bool = True) -> tuple[str, bool]:
    """Start once; return the id, and whether the log was another one."""
    directory = DataDirectory(settings.data_dir)
    directory.lock()
    if recovers:
        for log, _ in recovered_shards(settings, directory, clock=ReceiptClock(), stopping=lambda: False):
            assert log.is_saved
            log.close()
    directory.close()
    return directory.id, directory.log_is_another


def test_another_log_is_seen_until_a_start_has_recovered_it_whole(tmp_path: Path) -> None:
    settings = ShardSettings(data_dir=tmp_path, shard_count=2)
    first, another = started(settings)
    assert not another
    shutil.rmtree(tmp_path / "wal")
    second, another = started(settings, recovers=False)
    assert another
    assert second != first
    third, another = started(settings)
    assert another, "the start before was killed before it had disowned all letters"
    fourth, another = started(settings)
    assert (fourth, another) == (third, False)


def test_what_is_in_the_log_or_with_the_letters_and_not_ours_is_named_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ShardSettings(data_dir=tmp_path, shard_count=2)
    started(settings)
    assert lines_of(caplog, "unknown files passed over") == []
    (tmp_path / "deadletters").mkdir(exist_ok=True)
    for name in ("wal/id.new", "wal/odd", "wal/shard-256", "deadletters/shard-001.jsonl", "deadletters/shard-1.jsonl"):
        (tmp_path / name).touch()
    started(settings)
    said = {line["path"]: line["names"] for line in lines_of(caplog, "unknown files passed over")}
    assert said == {str(tmp_path / "wal"): ["odd", "shard-256"], str(tmp_path / "deadletters"): ["shard-1.jsonl"]}
