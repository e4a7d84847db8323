"""The data directory: locked by one process at a time, with an id that tells its receipts from other directories'.

The id is in two files, ``id`` and ``wal/id``, because receipts hold places in the log, and so go with it: a log that
was lost or replaced does not have the id of its directory.
"""

import fcntl
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from shards.errors import DataDirectoryLocked
from shards.logger import get_logger
from shards.settings import SHARDS_MAX
from shards.wal.closing import close_to_others
from shards.wal.files import DIRECTORY_MODE, FILE_MODE, keep_file, make_directory, replace_file

_log = get_logger(__name__)

WAL_DIRECTORY = "wal"
ID_FILE = "id"

_ID = re.compile("[0-9a-f]{8}")
_SHARD = re.compile("shard-([0-9]{3})")


def shard_name(index: int) -> str:
    """Return the name of a shard in the names of its files."""
    return f"shard-{index:03d}"


def shard_index(name: str) -> int | None:
    """Return the index of the shard that has this name; None if none can have it."""
    found = _SHARD.fullmatch(name)
    return int(found[1]) if found and int(found[1]) < SHARDS_MAX else None


def shards_in(logs_path: Path) -> set[int]:
    """Return the indexes of the shards that have a directory in ``wal/``."""
    found = (shard_index(path.name) for path in logs_path.glob("*") if path.is_dir())
    return {index for index in found if index is not None}


class DataDirectory:
    """The data directory, locked from :meth:`lock` to :meth:`close`.

    Attributes:
        id: what it is told from other directories by; empty before it is locked.
        log_is_another: whether the log is not the one that the directory had: a new one, or another directory's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_fd = -1
        self.id = ""
        self.log_is_another = False

    def lock(self) -> None:
        """Make the directory if it is missing, lock it, and close it to others.

        Its first use, or another log, gives it a random id.

        Raises :class:`DataDirectoryLocked`, and OSError if it cannot be used.
        """
        logs_path = self._path / WAL_DIRECTORY
        with suppress(FileExistsError):  # what is no directory is told by the next line
            self._path.mkdir(DIRECTORY_MODE, parents=True)
        make_directory(logs_path)  # makes the way to both durable
        self._lock_fd = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise DataDirectoryLocked(self._path) from None
        close_to_others(self._path)
        self._identify(logs_path)

    def _identify(self, logs_path: Path) -> None:
        former, of_log = _found_id(self._path / ID_FILE), _found_id(logs_path / ID_FILE)
        if of_log is None and shards_in(logs_path):
            of_log = former  # the log of a release that did not write it
        self.log_is_another = former is not None and of_log != former
        self.id = secrets.token_hex(4) if self.log_is_another or of_log is None else of_log
        # The log's comes first: if a crash comes in between, the next start still sees that it is another log.
        _write_id(logs_path / ID_FILE, self.id)
        if self.log_is_another:
            _log.error(
                "write-ahead log is another",
                path=str(logs_path),
                reason="its id is another directory's" if of_log else "the log of before is missing",
                effect="events of the log of before that ClickHouse has not got are lost, and its receipts unknown",
                former=former,
                id=self.id,
            )
        else:
            self.keep_id()

    def keep_id(self) -> None:
        """Write the directory's id. After another log was found: once nothing counts that belongs to the one of before.

        Raises OSError.
        """
        _write_id(self._path / ID_FILE, self.id)

    def close(self) -> None:
        """Unlock it. Idempotent."""
        fd, self._lock_fd = self._lock_fd, -1
        if fd != -1:
            os.close(fd)


def _found_id(path: Path) -> str | None:
    """Return the id that a file holds, made durable as it is found; None if it is missing or holds anything else."""
    found = path.read_text(errors="replace") if path.exists() else ""
    if not _ID.fullmatch(found):
        return None
    keep_file(path)
    return found


def _write_id(path: Path, id_: str) -> None:
    if _found_id(path) != id_:
        replace_file(path, id_.encode())
