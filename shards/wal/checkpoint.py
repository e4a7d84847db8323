"""How far a shard's log is done with, kept in one small file beside its segments."""

import os
from pathlib import Path

import attrs
import msgspec

from shards.runs import Run
from shards.wal.files import sync_directory, write_all

FILE_NAME = "checkpoint.json"


@attrs.frozen(kw_only=True)
class Checkpoint:
    """Every number up to ``upto`` is done with; ``dead_lettered`` and ``damaged`` of them were not confirmed.

    Those in ``beyond`` were confirmed, too, while one before them still waits. A dead letter stays counted in
    ``dead_lettered`` when it is settled by hand: that is in its own file.
    """

    upto: int = 0
    dead_lettered: int = 0
    damaged: int = 0
    beyond: tuple[Run, ...] = ()


def read_checkpoint(directory: Path) -> Checkpoint:
    """Return the checkpoint; a fresh one where there is none or it is not readable.

    Without it rows are only sent again, and counted once all the same.
    """
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=Checkpoint)
    except (FileNotFoundError, msgspec.DecodeError):
        return Checkpoint()


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint, durably and all or nothing. Raises OSError."""
    temporary = directory / f"{FILE_NAME}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        write_all(fd, msgspec.json.encode(checkpoint))
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(directory / FILE_NAME)
    sync_directory(directory)
