from pathlib import Path

import pytest

from shards.settings import ShardSettings


@pytest.fixture
def settings(tmp_path: Path) -> ShardSettings:
    """Two shards that flush and write their checkpoints at once."""
    return ShardSettings(
        data_dir=tmp_path / "data",
        shard_count=2,
        flush_interval_ms=20,
        checkpoint_interval_ms=100,
        wal_min_free_bytes=0,
    )
