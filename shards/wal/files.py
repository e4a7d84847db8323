"""Files whose contents and names survive a power failure.

A file is durable when its bytes were synced *and* the directory that holds its name was, and all directories above it.
Every function here raises OSError if the disk refuses; then nothing that it was to write counts.

**What is seen is not durable yet.** A start may read what a killed process wrote and never synced. And a sync that
failed may have left pages in memory that the kernel takes for written, so that the next sync proves nothing of them.
Therefore a start writes what it found once more, in its place, and syncs that, before it counts.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shards.logger import get_logger

_log = get_logger(__name__)

FILE_MODE = 0o640
_PIECE_BYTES = 1 << 20
_NAMES_LOGGED = 20


def sync_directory(path: Path) -> None:
    """Make new, renamed and removed names of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_path(directory: Path) -> None:
    """Make a directory's names durable, its own, and those of its parents up to the root of its file system.

    Whoever made them: a process that was killed in between may have. A parent that this process may not open is passed
    over, because it can have made no name there.
    """
    real = directory.resolve()
    device = real.stat().st_dev
    sync_directory(real)
    for parent in real.parents:
        try:
            if parent.stat().st_dev != device:
                break
            sync_directory(parent)
        except PermissionError:
            continue


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, and their names durable even if none was missing: :func:`sync_path`."""
    path.mkdir(parents=True, exist_ok=True)
    sync_path(path)


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


def rewrite_file(path: Path, *, start: int = 0, end: int | None = None) -> None:
    """Make a file's bytes from ``start`` on durable, whoever wrote them and whatever became of an earlier sync.

    The file is cut to ``end`` bytes first, if that is given. Then the bytes are read and written again in their place,
    so that the kernel has to bring them to the disk anew, and synced. The file's name is not: see :func:`sync_path`.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if end is not None:
            os.ftruncate(fd, end)
        offset = os.lseek(fd, start, os.SEEK_SET)
        while piece := os.pread(fd, _PIECE_BYTES, offset):
            write_all(fd, piece)
            offset += len(piece)
        os.fsync(fd)
    finally:
        os.close(fd)


def foreign_names(directory: Path, ours: Callable[[str], bool]) -> list[str]:
    """Return the names in a directory that are not ``ours``, sorted; none if there is no such directory."""
    try:
        return sorted(path.name for path in directory.iterdir() if not ours(path.name))
    except FileNotFoundError:
        return []


def report_foreign(directory: Path, ours: Callable[[str], bool]) -> None:
    """Name what is in a directory and not ``ours``, in one line of the log; a start passes it over."""
    if names := foreign_names(directory, ours):
        named = [name.encode(errors="backslashreplace").decode() for name in names[:_NAMES_LOGGED]]
        _log.warning("unknown files passed over", path=str(directory), count=len(names), names=named)


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
