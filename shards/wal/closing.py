"""The data directory is for its owner only, because it holds what fans wrote, and the token of operators."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from shards.logger import get_logger

_log = get_logger(__name__)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_LEVELS = 2
"""Levels that are looked at on each start: all of ours, and the uppermost ones of the embedded engine."""


def close_to_others(directory: Path) -> None:
    """Take all rights from everybody but the owner of a directory, of those in it, and of their files.

    Where others could get into the directory until now, everything below it is looked at, however much that is; else
    the upper levels. What belongs to somebody else is left as it is, and counted in a line of the log.
    """
    directory = Path(os.path.realpath(directory))
    was_open = _is_open(directory)
    refused = [path for path in (directory, *_below(directory, None if was_open else _LEVELS)) if not _close(path)]
    if refused:
        _log.warning(
            "data directory open to others",
            path=str(refused[0]),
            count=len(refused),
            reason="it belongs to another user",
            remedy="take the rights of group and others from it (chmod -R go=)",
        )


def _below(directory: Path, levels: int | None) -> Iterator[Path]:
    """Yield directories and files below one, a directory before what is in it."""
    for root, directories, files in os.walk(directory):
        at = Path(root)
        yield from (at / name for name in (*directories, *files))
        if levels is not None and len(at.relative_to(directory).parts) + 1 >= levels:
            directories.clear()


def _close(path: Path) -> bool:
    """Close one file or directory; say whether it is closed. One that is gone, or a link, is."""
    try:
        if not path.is_symlink() and _is_open(path):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_OTHERS)
    except FileNotFoundError:
        return True
    except PermissionError:
        return False
    return True


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & _OTHERS)
