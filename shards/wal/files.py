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
from zlib import crc32

from shards.logger import get_logger

_log = get_logger(__name__)

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
"""Nobody but the owner gets in, because events hold what fans wrote."""

_PIECE_BYTES = 1 << 20
_PAGE_BYTES_MAX = 1 << 16
"""Size of the largest pages that Linux is built with."""
_NAMES_LOGGED = 20
_UNKNOWN = -1


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
    path.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
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


def keep_file(path: Path) -> None:
    """Make a file that a start has found durable, and its name; for one that :func:`replace_file` made.

    It is not written again, because it had its name only after a sync that did not fail. So it needs no room.
    """
    sync_file(path)
    sync_directory(path.parent)


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


def checked_line(text: bytes) -> bytes:
    """Return a line that holds a text without newlines, and tells by a checksum whether it is whole."""
    return b"%08x %s\n" % (crc32(text), text)


def text_of_line(line: bytes) -> bytes | None:
    """Return the text of such a line, with or without its newline; None for one that is torn or damaged."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    return text if checksum == b"%08x" % crc32(text) else None


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file's contents by ``data``, durably and all or nothing.

    After OSError the old file is there, or, if only the directory could not be synced, one of the two.
    """
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

    A line whose append raised is cut off again, at once or, if the disk does not let it, before the next append.
    Otherwise it could be durable all the same, and count after a restart before a line that was reported as written.

    Not safe for several threads at once: its owner holds a lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = _UNKNOWN
        """Bytes that are known to be durable."""
        self._has_leftover = False
        self._name_is_durable = False

    def recover(self) -> None:
        """Make the file durable as it is found, but for a torn line at its end, which is cut off.

        Blocking; raises OSError. No line counts before, because the process that wrote it may have been killed before
        it was synced.
        """
        self._size, self._name_is_durable = _UNKNOWN, False
        found = self._found_size()
        if found:
            end = _end_of_last_line(self.path)
            if end < found:
                _log.warning("torn line cut off", path=str(self.path), offset=end, bytes=found - end)
            rewrite_file(self.path, end=end if end < found else None)
            make_directory(self.path.parent)
            self._name_is_durable = True
            found = end
        self._size, self._has_leftover = found, False

    def append(self, lines: bytes) -> int:
        """Add whole lines; return the offset of the first, in bytes. Blocking.

        Raises OSError; then none of the lines is read again by this process, nor counts beside a later one.
        """
        self._mend()
        if not self._name_is_durable:
            make_directory(self.path.parent)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        self._has_leftover = True  # until all of it is durable, whatever comes in between
        try:
            write_all(fd, lines)
            os.fsync(fd)
            if not self._name_is_durable:
                sync_directory(self.path.parent)
        except OSError:
            with suppress(OSError):
                self._mend()
            raise
        finally:
            os.close(fd)
        self._has_leftover, self._name_is_durable = False, True
        offset, self._size = self._size, self._size + len(lines)
        return offset

    def read(self) -> bytes:
        """Return all lines that are durable. Blocking; raises OSError."""
        if self._size == _UNKNOWN:
            self.recover()
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            return file.read(self._size)
        return b""

    def replace(self, lines: bytes) -> None:
        """Put other lines in place of all, durably and all or nothing. Blocking; raises OSError."""
        self._size, self._name_is_durable = _UNKNOWN, False  # if it fails, either file may be there
        replace_file(self.path, lines)
        self._size, self._has_leftover, self._name_is_durable = len(lines), False, True

    def _mend(self) -> None:
        """Cut off what a failed append left; a file that somebody else changed is recovered as at a start."""
        found = self._found_size()
        if self._has_leftover and found >= self._size:
            # The page that the durable bytes share with the leftover was written with it, and may have failed with it.
            rewrite_file(self.path, start=max(0, self._size - _PAGE_BYTES_MAX), end=self._size)
            self._has_leftover = False
        elif found != self._size:
            self.recover()

    def _found_size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


def _end_of_last_line(path: Path) -> int:
    """Return the offset behind the last newline, in bytes; 0: there is none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _PIECE_BYTES)
            newline = os.pread(file.fileno(), end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
