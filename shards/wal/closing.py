"""The data directory is for its owner only, because it holds what fans wrote, and the token of operators."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shards.logger import get_logger

_log = get_logger(__name__)

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

LOG_AND_LETTERS: Final = frozenset({"wal", "deadletters"})
_OF_ALL_STARTS: Final = frozenset({"clickhouse", "id", "id.new", "lock"})
_OF_OPERATORS: Final = frozenset({"admin-token", "admin-token.new", "signing-key", "signing-key.new"})
_ACTS: Final = frozenset({"acts.ndjson", "acts.1.ndjson"})
OURS: Final = LOG_AND_LETTERS | _OF_ALL_STARTS | _OF_OPERATORS | _ACTS
"""The names that the service gives in its directory, those of the application too."""

_HARMLESS: Final = frozenset({"lost+found", ".gitkeep", ".gitignore"})
"""Names that may be in a directory which is there for the service alone."""


def close_to_others(directory: Path) -> None:
    """Take all rights from everybody but the owner: on a data directory, and on what the service keeps in it.

    Below a directory that others could get into until now, everything is looked at, however much that is; below one
    that they could not, its own entries. Where the directory holds what is not the service's (it may be ``/tmp``), only
    log and dead letters are closed, and what belongs to another user is left as it is: a line of the log says so.
    """
    directory = Path(os.path.realpath(directory))
    foreign = {path.name for path in directory.iterdir()} - OURS - _HARMLESS
    paths = [] if foreign else [directory]
    for name in sorted(LOG_AND_LETTERS if foreign else OURS):
        paths += _to_close(directory / name)
    left = [path for path in paths if not _close(path)]
    if left:
        _warn(left[0], "it belongs to another user")
    elif foreign and _is_open(directory):
        _warn(directory, f"it holds other files, too, as {min(foreign)!a}")


def _warn(path: Path, reason: str) -> None:
    remedy = "give the service a directory of its own, which it may close (chmod -R go=)"
    _log.warning("data directory open to others", path=str(path), reason=reason, remedy=remedy)


def _to_close(top: Path) -> Iterator[Path]:
    """Yield what is to be closed of one of the service's directories or files: itself first, then what is in it."""
    if top.is_symlink() or not top.exists():
        return
    was_open = _is_open(top)
    yield top
    for root, directories, files in os.walk(top):
        yield from (Path(root, name) for name in (*directories, *files))
        if not was_open:
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
