"""The calls that reach the disk, in their order, each carried out; and disks that fail at one of them."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.syscalls import Operation, Recorder

Call = tuple[str, str]
"""Name of the call, and the path that it is about, of a rename the new one, relative to a directory."""

_CALLS = ("write", "fsync", "truncate", "fdatasync", "rename")


@contextmanager
def calls_below(directory: Path, *, fail: Callable[[Call], bool] = lambda call: False) -> Iterator[list[Call]]:
    """Record the calls on files below a directory, itself included as ``.``.

    Args:
        directory: what else is called, for other files, is carried out and not recorded.
        fail: whether a call ends with EIO instead of being carried out. It is recorded all the same.
    """
    made: list[Call] = []

    def note(operation: Operation) -> None:
        if operation.call in _CALLS:
            made.append((operation.call, operation.target or operation.path))
            if fail(made[-1]):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Recorder(directory, inject=note):
        yield made


def first(failing: Call, *, after: Call | None = None) -> Callable[[Call], bool]:
    """Have the first such call fail, and no other; ``after``: the first one behind the first call of that kind."""
    awaited = [call for call in (failing, after) if call is not None]

    def fails(call: Call) -> bool:
        return bool(awaited) and call == awaited[-1] and awaited.pop() == failing and not awaited

    return fails
