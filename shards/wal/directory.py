"""The data directory: locked by one process at a time, with an id that tells its receipts from other directories'."""

import fcntl
import os
import re
import secrets
from pathlib import Path

from shards.errors import DataDirectoryLocked
from shards.wal.files import make_directory, replace_file

_ID = re.compile("[0-9a-f]{8}")


class DataDirectory:
    """The data directory, locked from :meth:`lock` to :meth:`close`; ``id`` is empty before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_fd = -1
        self.id = ""

    def lock(self) -> None:
        """Make the directory if it is missing, and lock it; its first use gives it a random id.

        Raises :class:`DataDirectoryLocked`, and OSError if it cannot be used.
        """
        make_directory(self._path)
        self._lock_fd = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise DataDirectoryLocked(self._path) from None
        self.id = self._read_id()

    def _read_id(self) -> str:
        path = self._path / "id"
        found = path.read_text(errors="replace") if path.exists() else ""
        if _ID.fullmatch(found):
            return found
        made = secrets.token_hex(4)
        replace_file(path, made.encode())
        return made

    def close(self) -> None:
        """Unlock it. Idempotent."""
        fd, self._lock_fd = self._lock_fd, -1
        if fd != -1:
            os.close(fd)
