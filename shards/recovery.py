"""Recovery of the logs and shards that a data directory holds: at a start, and to be given to the release before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress

import attrs

from shards.clock import ReceiptClock
from shards.deadletters.downgrade import downgrade_letters
from shards.deadletters.file import DIRECTORY as LETTERS_DIRECTORY
from shards.deadletters.file import letters_index, letters_path
from shards.erasure.records import ErasureFile
from shards.errors import ErasuresUnderWay, NotAccepting, public_text
from shards.logger import get_logger
from shards.settings import ShardSettings
from shards.shard import Shard, wal_directory
from shards.tasks.backoff import backoff_s
from shards.tasks.threads import Threads
from shards.wal.admission import Room
from shards.wal.checkpoint import write_checkpoint
from shards.wal.directory import ID_FILE, WAL_DIRECTORY, DataDirectory, shard_index, shards_in
from shards.wal.downgrade import RewrittenLog, downgrade_log
from shards.wal.files import report_foreign
from shards.wal.log import ShardLog

_log = get_logger(__name__)


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


@attrs.frozen(kw_only=True)
class DowngradedShard:
    """What the release before reads of a shard now.

    Attributes:
        log: what was written.
        pending: count of rows that the log still has to store.
        letters: count of dead letters, settled ones included.
        order_upto: no order that the shard's events have is above it, ns since the epoch. While the wall clock is not
            above it, the release before can let a later copy of an event win over the first one.
    """

    index: int
    log: RewrittenLog
    pending: int
    letters: int
    order_upto: int


def downgrade(settings: ShardSettings) -> list[DowngradedShard]:
    """Have the release before read the logs and dead letters of a stopped service; this one reads them too. Blocking.

    Done or broken off, it can be called again. Raises :class:`~shards.errors.DataDirectoryLocked` while a service
    runs, :class:`~shards.errors.ErasuresUnderWay`, and OSError; then that release must not be started yet.
    """
    with closing(DataDirectory(settings.data_dir)) as directory:
        directory.lock()
        if under_way := [erasure for erasure in ErasureFile(settings.data_dir).read() if not erasure.done]:
            raise ErasuresUnderWay(len(under_way))
        recovered = recovered_shards(settings, directory, clock=ReceiptClock(), stopping=lambda: False)
        for log, _ in recovered:
            log.seal()
            log.close()
            # The recovery reserved more orders, and none of them was given out.
            write_checkpoint(log.directory, attrs.evolve(log.checkpoint, order_upto=log.found_order))
        return [
            DowngradedShard(
                index=shard.index,
                log=downgrade_log(log),
                pending=len(shard.pending),
                letters=downgrade_letters(letters_path(settings.data_dir, shard.index)),
                order_upto=log.found_order,
            )
            for log, shard in recovered
        ]


class Recovering:
    """Recovers until that has succeeded. What fails is told, and tried again: a disk may be well again."""

    def __init__(
        self, recover: Callable[[], Awaitable[None]], *, threads: Threads, room: Room, stopping: Callable[[], bool]
    ) -> None:
        self._recover = recover
        self._threads = threads
        self._room = room
        self._stopping = stopping
        self._tried = asyncio.Event()
        self._error: Exception | None = None

    async def first_try(self, *, timeout_s: float) -> bool:
        """Say whether it has succeeded within some seconds; raise the error of the first try if that failed by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._tried.wait()
        if self._error is not None:
            raise self._error
        return self._tried.is_set()

    async def run(self) -> None:
        """Recover, or go on until :class:`~shards.errors.NotAccepting` says that the service shuts down."""
        tries = 0
        while not self._stopping():
            try:
                await self._threads.settled()  # no thread of a try before may still be at work
                await self._recover()
                self._error = None
                return
            except NotAccepting:
                _log.info("write-ahead log recovery broken off", reason="the service is shutting down")
                return
            except Exception as error:  # noqa: BLE001 - of any kind: nobody may be waiting for this any more
                self._note(error)
            finally:
                self._tried.set()
            tries += 1
            await asyncio.sleep(backoff_s(tries))

    def _note(self, error: Exception) -> None:
        is_news = self._error is None or public_text(error) != public_text(self._error)
        self._error = error
        if not self._stopping():
            self._room.shut("unreadable", f"the write-ahead log cannot be read: {public_text(error)}")
        if is_news:
            _log.critical("write-ahead log not readable", error=public_text(error), exc_info=error)


async def preload(
    shards: Sequence[Shard], hold_back: Callable[[], Awaitable[None]], check_stopping: Callable[[], None]
) -> None:
    """Load each shard's oldest rows before anybody reads. If that fails, all of them are closed.

    Raises OSError, and what ``check_stopping`` raises. ``hold_back`` comes first: what it drops is not loaded.
    """
    try:
        await hold_back()
        for shard in shards:
            await shard.flusher.preload()
            check_stopping()
    except BaseException:
        for shard in shards:
            shard.close()
        raise
