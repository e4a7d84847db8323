"""The settings of the buffering, as the documents name them."""

from pathlib import Path

import attrs
import pytest

from shards.settings import ShardSettings


def test_the_defaults_are_those_that_the_documents_name(tmp_path: Path) -> None:
    """README, SYSTEM_DESIGN and DATA_DIRECTORY tell operators what these cost: memory, disk and waiting."""
    assert attrs.asdict(ShardSettings(data_dir=tmp_path)) == {
        "data_dir": tmp_path,
        "shard_count": 4,
        "flush_interval_ms": 200,
        "flush_max_rows": 10_000,
        "checkpoint_interval_ms": 5_000,
        "wal_sync": "always",
        "wal_max_bytes": 8_589_934_592,
        "wal_min_free_bytes": 536_870_912,
        "segment_max_bytes": 67_108_864,
        "memory_max_rows": 32_000,
        "memory_max_bytes": 12_582_912,
        "queue_max_bytes": 33_554_432,
    }


def test_a_data_directory_has_one_to_256_shards(tmp_path: Path) -> None:
    for count in (1, 256):
        assert ShardSettings(data_dir=tmp_path, shard_count=count).shard_count == count
    for count in (0, 257):
        with pytest.raises(ValueError, match="shard_count"):
            ShardSettings(data_dir=tmp_path, shard_count=count)
