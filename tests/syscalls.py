"""A recorder of the system calls that change files, for tests of order and of what a power failure leaves.

::

    with Recorder(tmp_path) as calls:
        ...  # code of ours runs, in any thread of this process
    assert calls.short() == ["create a.new", "write a.new", "fsync a.new", "close a.new", "rename a.new a", "fsync ."]

The recorder takes the place of functions of `os` and calls the real ones, one at a time. What lies outside its root is
passed through unseen. Reads are not noted, but a file of the root that is opened for writing by `open` is refused,
because such writes go past `os`. ``tests/power/test_recorder.py`` holds all of it against strace.

**Faults.** ``inject`` is asked before each call. It may raise OSError (the call fails, the real one is not made),
return how many bytes a write takes (a disk that is almost full), or raise :class:`Killed`. After that every call that
would change a file raises it again, as a process that was killed writes no more; closing goes on, unseen.
"""

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import attrs

Call = Literal[
    "create", "open", "write", "truncate", "fsync", "fdatasync", "close", "rename", "link", "unlink", "mkdir", "rmdir"
]
ONE_PATH: dict[str, Call] = {"unlink": "unlink", "remove": "unlink", "rmdir": "rmdir", "mkdir": "mkdir"}
TWO_PATHS: dict[str, Call] = {"rename": "rename", "replace": "rename", "link": "link"}
REFUSED = ("writev", "pwritev", "posix_fallocate", "sendfile", "copy_file_range", "splice", "symlink", "mknod")
"""Functions of `os` that would change a file unseen; the code does not use them."""


class Killed(BaseException):
    """The process was killed here; nothing of ours may catch this."""


@attrs.frozen(kw_only=True)
class Operation:
    """One system call.

    Attributes:
        path: of the file, from the root (``.``); of an open file the path by which it was opened.
        target: the other path of a rename or link.
        file: number of the file; other names of it, and later opens, have the same.
        offset: of a write, in bytes.
        data: bytes that were written.
        size: of a file that is truncated.
        mode: of an open: to read only, to write, or to write with the former contents cut off.
        is_directory: whether it is a directory that is opened, synced or closed.
        error: errno of a call that failed; 0: it did not.
    """

    call: Call
    path: str
    target: str = ""
    file: int = 0
    offset: int = 0
    data: bytes = b""
    size: int = 0
    mode: Literal["", "read", "write", "cut"] = ""
    is_directory: bool = False
    error: int = 0

    def __str__(self) -> str:
        failed = f" ({errno.errorcode[self.error]})" if self.error else ""
        return f"{self.call} {self.path}{' ' + self.target if self.target else ''}{failed}"


Inject = Callable[[Operation], int | None]


@attrs.define
class _OpenFile:
    """A file or directory that is open through `os`."""

    path: str
    file: int
    is_directory: bool
    appends: bool


class Recorder:
    """Notes the calls of this process under ``root`` while it is entered; one at a time may be."""

    def __init__(self, root: Path, *, inject: Inject | None = None, operations: Iterable[Operation] = ()) -> None:
        """Begin with ``operations`` of earlier lives, if any: a new recorder goes on behind them."""
        self.root = os.path.abspath(root)  # noqa: PTH100 - pathlib is what is observed here
        self.operations = list(operations)
        self.killed = False
        self._inject = inject
        self._lock = threading.RLock()
        self._open: dict[int, _OpenFile] = {}
        self._files: dict[int, int] = {}
        self._next_file = 1 + max((operation.file for operation in self.operations), default=0)
        self._real: dict[str, Any] = {}

    def __enter__(self) -> Self:
        wrapped: dict[str, Any] = {
            "open": self._os_open,
            "close": self._os_close,
            "write": self._os_write,
            "pwrite": self._os_pwrite,
            "fsync": partial(self._sync, "fsync"),
            "fdatasync": partial(self._sync, "fdatasync"),
            "chmod": self._os_chmod,
            "truncate": self._os_truncate,
            "ftruncate": self._os_truncate,
            **{name: partial(self._two, name, call) for name, call in TWO_PATHS.items()},
            **{name: partial(self._one, name, call) for name, call in ONE_PATH.items()},
            **{name: partial(self._refused, name) for name in REFUSED},
        }
        for name, function in wrapped.items():
            self._real[name] = getattr(os, name)
            setattr(os, name, function)
        self._real_open = io.open
        io.open = builtins.open = self._io_open  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        for name, function in self._real.items():
            setattr(os, name, function)
        io.open = builtins.open = self._real_open

    def short(self, *, but: Iterable[Call] = ()) -> list[str]:
        """Return the operations as text, call and path, without some calls."""
        left_out = set(but)
        return [str(operation) for operation in self.operations if operation.call not in left_out]

    @property
    def open_paths(self) -> list[str]:
        """Paths that are open now, as they were opened."""
        return sorted(file.path for file in self._open.values())

    def _path(self, path: Any) -> str | None:
        """Return a path from the root; None: it is not there."""
        full = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        if full == self.root:
            return "."
        above = self.root.rstrip("/") + "/"
        return full.removeprefix(above) if full.startswith(above) else None

    def _file_number(self, inode: int) -> int:
        if inode not in self._files:
            self._files[inode] = self._next_file
            self._next_file += 1
        return self._files[inode]

    def _number_of(self, path: Any) -> int:
        """Return the number of the file of this name; 0: there is none."""
        try:
            return self._file_number(os.lstat(path).st_ino)
        except OSError:
            return 0

    @staticmethod
    def _last_name(path: Any) -> int:
        """Return the inode of a file whose last name this is; 0: it has others, or there is none."""
        try:
            found = os.lstat(path)
        except OSError:
            return 0
        return found.st_ino if found.st_nlink == 1 or os.path.isdir(path) else 0  # noqa: PTH112

    def _do(self, planned: Operation, real: Callable[[int | None], Any], done: Callable[[Any], Operation]) -> Any:
        """Make one call, and note it as ``done`` tells; the caller holds the lock."""
        if self.killed:
            raise Killed
        try:
            limit = self._inject(planned) if self._inject else None
            result = real(limit)
        except OSError as error:
            self.operations.append(attrs.evolve(planned, data=b"", error=error.errno or errno.EIO))
            raise
        except Killed:
            self.killed = True
            raise
        self.operations.append(done(result))
        return result

    def _os_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = self._path(path) if dir_fd is None else None
        if name is None:
            return int(self._real["open"](path, flags, mode, dir_fd=dir_fd))
        with self._lock:
            is_new = bool(flags & os.O_CREAT) and not os.path.lexists(path)
            reads_only = not flags & (os.O_WRONLY | os.O_RDWR)
            planned = Operation(
                call="create" if is_new else "open",
                path=name,
                mode="read" if reads_only else "cut" if flags & os.O_TRUNC and not is_new else "write",
                is_directory=os.path.isdir(path),  # noqa: PTH112
            )

            def done(fd: int) -> Operation:
                file = self._file_number(os.fstat(fd).st_ino)
                self._open[fd] = _OpenFile(name, file, planned.is_directory, bool(flags & os.O_APPEND))
                return attrs.evolve(planned, file=file)

            if self.killed and reads_only and not is_new:
                return int(self._real["open"](path, flags, mode))
            return int(self._do(planned, lambda _: self._real["open"](path, flags, mode), done))

    def _os_close(self, fd: int) -> None:
        with self._lock:
            file = self._open.pop(fd, None)
            self._real["close"](fd)
            if file is not None and not self.killed:
                operation = Operation(call="close", path=file.path, file=file.file, is_directory=file.is_directory)
                self.operations.append(operation)

    def _os_write(self, fd: int, data: Any) -> int:
        file = self._open.get(fd)
        if file is None:
            return int(self._real["write"](fd, data))
        with self._lock:
            offset = os.fstat(fd).st_size if file.appends else os.lseek(fd, 0, os.SEEK_CUR)
            return self._write(file, data, offset, lambda part: self._real["write"](fd, part))

    def _os_pwrite(self, fd: int, data: Any, offset: int) -> int:
        file = self._open.get(fd)
        if file is None:
            return int(self._real["pwrite"](fd, data, offset))
        with self._lock:
            return self._write(file, data, offset, lambda part: self._real["pwrite"](fd, part, offset))

    def _write(self, file: _OpenFile, data: Any, offset: int, real: Callable[[Any], Any]) -> int:
        view = bytes(data)
        planned = Operation(call="write", path=file.path, file=file.file, offset=offset, data=view)
        written = self._do(
            planned,
            lambda limit: real(view if limit is None else view[:limit]),
            lambda written: attrs.evolve(planned, data=view[:written]),
        )
        return int(written)

    def _sync(self, call: Call, fd: Any) -> None:
        file = self._open.get(fd if isinstance(fd, int) else fd.fileno())
        if file is None:
            self._real[call](fd)
            return
        with self._lock:
            planned = Operation(call=call, path=file.path, file=file.file, is_directory=file.is_directory)
            self._do(planned, lambda _: self._real[call](fd), lambda _: planned)

    def _os_truncate(self, path: Any, length: int) -> None:
        file = self._open.get(path) if isinstance(path, int) else None
        name = file.path if file else None if isinstance(path, int) else self._path(path)
        if name is None:
            self._real["truncate"](path, length)
            return
        with self._lock:
            number = file.file if file else self._number_of(path)
            planned = Operation(call="truncate", path=name, file=number, size=length)
            self._do(planned, lambda _: self._real["truncate"](path, length), lambda _: planned)

    def _os_chmod(self, path: Any, *arguments: Any, **options: Any) -> None:
        """Pass it through unseen, because nothing counts by the rights of a file."""
        if self.killed and self._path(path) is not None:
            raise Killed
        self._real["chmod"](path, *arguments, **options)

    def _one(self, function: str, call: Call, path: Any, *arguments: Any, **options: Any) -> None:
        name = self._path(path) if options.get("dir_fd") is None else None
        if name is None:
            self._real[function](path, *arguments, **options)
            return
        with self._lock:
            planned = Operation(call=call, path=name, file=self._number_of(path) if call != "mkdir" else 0)
            goes = self._last_name(path) if call != "mkdir" else 0

            def done(_: None) -> Operation:
                self._files.pop(goes, None)  # because another file may get its inode
                return attrs.evolve(planned, file=planned.file or self._number_of(path))

            self._do(planned, lambda _: self._real[function](path, *arguments, **options), done)

    def _two(self, function: str, call: Call, source: Any, target: Any, **options: Any) -> None:
        names = self._path(source), self._path(target)
        if names == (None, None):
            self._real[function](source, target, **options)
            return
        assert None not in names, f"{call} across the root: {source} {target}"
        with self._lock:
            planned = Operation(call=call, path=str(names[0]), target=str(names[1]), file=self._number_of(source))
            goes = self._last_name(target)

            def done(_: None) -> Operation:
                self._files.pop(goes, None)
                return planned

            self._do(planned, lambda _: self._real[function](source, target, **options), done)

    def _refused(self, name: str, path: Any, *arguments: Any, **options: Any) -> Any:
        named = [given for given in (path, *arguments) if isinstance(given, str | bytes | os.PathLike)]
        inside = path in self._open or any(self._path(given) is not None for given in named)
        assert not inside, f"os.{name} is not recorded: have tests/syscalls.py take it in"
        return self._real[name](path, *arguments, **options)

    def _io_open(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        inside = file in self._open if isinstance(file, int) else self._path(file) is not None
        assert not inside or not set(mode) & set("wax+"), f"{file} is opened for writing past os.open"
        return self._real_open(file, mode, *arguments, **options)
