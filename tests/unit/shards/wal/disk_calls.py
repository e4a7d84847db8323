"""The calls that reach the disk, in their order, each carried out; and disks that fail at one of them."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Call = tuple[str, str]
"""Name of the call, and the path that it is about, relative to a directory."""

_CALLS = ("write", "fsync", "ftruncate", "fdatasync")


@contextmanager
def calls_below(directory: Path, *, fail: Callable[[Call], bool] = lambda call: False) -> Iterator[list[Call]]:
    """Record the calls on files below a directory, itself included as ``.``.

    Args:
        directory: what else is called, for other files and by other threads too, is carried out and not recorded.
        fail: whether a call ends with EIO instead of being carried out. It is recorded all the same.
    """
    made: list[Call] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, _noting(name, getattr(os, name), directory, made, fail))
        rename = os.replace

        def replace(source: Path, target: Path) -> None:
            if Path(target).is_relative_to(directory):
                _note(("replace", str(Path(target).relative_to(directory))), made, fail)
            rename(source, target)

        patch.setattr(os, "replace", replace)
        yield made


def first(failing: Call, *, after: Call | None = None) -> Callable[[Call], bool]:
    """Have the first such call fail, and no other; ``after``: the first one behind the first call of that kind."""
    awaited = [call for call in (failing, after) if call is not None]

    def fails(call: Call) -> bool:
        return bool(awaited) and call == awaited[-1] and awaited.pop() == failing and not awaited

    return fails


def _noting(
    name: str, call: Callable[..., Any], directory: Path, made: list[Call], fail: Callable[[Call], bool]
) -> Callable[..., Any]:
    def noting(fd: int, *arguments: Any) -> Any:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.is_relative_to(directory):
            _note((name, str(path.relative_to(directory))), made, fail)
        return call(fd, *arguments)

    return noting


def _note(call: Call, made: list[Call], fail: Callable[[Call], bool]) -> None:
    made.append(call)
    if fail(call):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
