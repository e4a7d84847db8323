"""Settings of the shard set."""

from pathlib import Path
from typing import Literal

import attrs

SHARDS_MAX = 256
"""Most shards that a data directory may have; each has three digits in the names of its files."""

WalSync = Literal["always", "interval", "off"]


@attrs.frozen(kw_only=True)
class ShardSettings:
    """Settings of the buffering; sizes are in bytes, times in ms."""

    data_dir: Path
    shard_count: int = attrs.field(default=4, validator=attrs.validators.in_(range(1, SHARDS_MAX + 1)))
    flush_interval_ms: int = 200
    flush_max_rows: int = 10_000
    checkpoint_interval_ms: int = 5_000
    wal_sync: WalSync = "always"
    wal_max_bytes: int = 8 << 30
    wal_min_free_bytes: int = 512 << 20
    segment_max_bytes: int = 64 << 20
    memory_max_rows: int = 32_000
    memory_max_bytes: int = 12 << 20
    queue_max_bytes: int = 32 << 20
