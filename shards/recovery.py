"""Recovery of the logs and shards that a data directory holds at a start."""

from collections.abc import Callable, Sequence

from shards.clock import ReceiptClock
from shards.deadletters.file import DIRECTORY as LETTERS_DIRECTORY
from shards.deadletters.file import letters_index
from shards.settings import ShardSettings
from shards.shard import Shard, wal_directory
from shards.wal.directory import ID_FILE, WAL_DIRECTORY, DataDirectory, shard_index, shards_in
from shards.wal.files import report_foreign
from shards.wal.log import ShardLog


def recovered_shards(
    settings: ShardSettings, directory: DataDirectory, *, clock: ReceiptClock, stopping: Callable[[], bool]
) -> list[tuple[ShardLog, Shard]]:
    """Recover and return every shard that has left a log or letters, or is to have them, in the order of their indexes.

    Blocking. What is not ours is passed over and named in the log. Afterwards ``clock`` gives out no order that one of
    the logs has seen. Raises OSError, and :class:`~shards.errors.NotAccepting` once ``stopping()``.
    """
    logs, letters = settings.data_dir / WAL_DIRECTORY, settings.data_dir / LETTERS_DIRECTORY
    found = shards_in(logs)
    report_foreign(logs, lambda name: name in (ID_FILE, f"{ID_FILE}.new") or shard_index(name) in found)
    report_foreign(letters, lambda name: letters_index(name) is not None)
    found |= {index for path in letters.glob("*") if (index := letters_index(path.name)) is not None}
    recovered = []
    for index in range(max(settings.shard_count, 1 + max(found, default=0))):
        log = ShardLog(
            wal_directory(settings.data_dir, index),
            shard=index,
            segment_max_bytes=_segment_max_bytes(settings),
            clock=clock,
        )
        shard = Shard(index, settings, log=log, log_is_another=directory.log_is_another, stopping=stopping)
        recovered.append((log, shard))
    directory.keep_id()
    return recovered


def _segment_max_bytes(settings: ShardSettings) -> int:
    """Return the size that keeps all open segments, which cannot be deleted, to a quarter of what the log may use."""
    return min(settings.segment_max_bytes, settings.wal_max_bytes // (4 * settings.shard_count))


async def preload(shards: Sequence[Shard], check_stopping: Callable[[], None]) -> None:
    """Load each shard's oldest rows before anybody reads. If that fails, all of them are closed.

    Raises OSError, and what ``check_stopping`` raises.
    """
    try:
        for shard in shards:
            await shard.flusher.preload()
            check_stopping()
    except BaseException:
        for shard in shards:
            shard.close()
        raise
