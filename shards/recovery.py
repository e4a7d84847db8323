"""Recovery of the logs and shards that a data directory holds at a start."""

from collections.abc import Callable
from pathlib import Path

from shards.clock import ReceiptClock
from shards.settings import ShardSettings
from shards.shard import WAL_DIRECTORY, Shard, wal_directory
from shards.wal.log import ShardLog


def recovered_shards(
    settings: ShardSettings, *, clock: ReceiptClock, stopping: Callable[[], bool]
) -> list[tuple[ShardLog, Shard]]:
    """Recover and return every shard that has a log or is to have one, in the order of their indexes. Blocking.

    Afterwards ``clock`` gives out no order that one of them has seen.

    Raises OSError, and :class:`~shards.errors.NotAccepting` once ``stopping()``.
    """
    recovered = []
    for index in range(max(settings.shard_count, 1 + max(_found_indexes(settings.data_dir), default=0))):
        log = ShardLog(
            wal_directory(settings.data_dir, index),
            shard=index,
            segment_max_bytes=_segment_max_bytes(settings),
            clock=clock,
        )
        recovered.append((log, Shard(index, settings, log=log, stopping=stopping)))
    return recovered


def _found_indexes(data_dir: Path) -> set[int]:
    """Return the indexes of the shards that have left a log, whatever ``shard_count`` is now."""
    return {int(path.name.removeprefix("shard-")) for path in (data_dir / WAL_DIRECTORY).glob("shard-[0-9]*")}


def _segment_max_bytes(settings: ShardSettings) -> int:
    """Return the size that keeps all open segments, which cannot be deleted, to a quarter of what the log may use."""
    return min(settings.segment_max_bytes, settings.wal_max_bytes // (4 * settings.shard_count))
