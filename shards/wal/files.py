"""Files whose contents and names survive a power failure.

A file is durable when its bytes were synced *and* the directory that holds its name was. Every function here raises
OSError if the disk refuses; then nothing that it was to write counts.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

FILE_MODE = 0o640


def sync_directory(path: Path) -> None:
    """Make new, renamed and removed names of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents durably, because a file is only as durable as its path."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for directory in missing:
        sync_directory(directory.parent)


def sync_file(path: Path) -> None:
    """Make a file's contents durable, whoever wrote them."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes or raise OSError, because a disk that is almost full takes a part and reports no error."""
    view = memoryview(data)
    while view:
        written = os.write(fd, view)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file's contents by ``data``, durably and all or nothing: a failure leaves the old file."""
    temporary = path.with_name(f"{path.name}.new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


class LineFile:
    """A file of lines that only grows; each line is durable once :meth:`append` has returned.

    Not safe for several threads at once: its owner holds a lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name_is_durable = False

    def append(self, lines: bytes) -> int:
        """Add whole lines; return the offset of the first, in bytes. Blocking; raises OSError.

        A line that a crash or a full disk tore off is ended first.
        """
        if not self._name_is_durable:
            make_directory(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            write_all(fd, b"\n" + lines if torn else lines)
            os.fsync(fd)
        finally:
            os.close(fd)
        if not self._name_is_durable:
            sync_directory(self.path.parent)
            self._name_is_durable = True
        return size + torn
