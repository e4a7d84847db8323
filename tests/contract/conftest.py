from pathlib import Path

import pytest

from shards import shardset
from shards.settings import ShardSettings
from tests.contract.shardsets import DEADLINE_S


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardSettings:
    """Two shards that flush and write their checkpoints at once. A start waits for the recovery, however slow."""
    monkeypatch.setattr(shardset, "RECOVERY_HEAD_START_S", DEADLINE_S)
    return ShardSettings(
        data_dir=tmp_path / "data",
        shard_count=2,
        flush_interval_ms=20,
        checkpoint_interval_ms=100,
        wal_min_free_bytes=0,
    )
