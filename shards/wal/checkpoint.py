"""The checkpoint of a shard's log: what is done with, kept in one small file beside the segments."""

from pathlib import Path

import attrs
import msgspec

from shards.runs import Run
from shards.wal.files import keep_file, replace_file

FILE_NAME = "checkpoint.json"


@attrs.frozen(kw_only=True)
class Checkpoint:
    """Every number up to ``upto`` is done with: it was confirmed, put aside as a dead letter, or damaged.

    Attributes:
        upto: the last of these numbers.
        confirmed: count of the confirmed ones; None if unknown: then all but the dead letters and the damaged.
        dead_lettered: count of the dead letters, including those settled by hand, which only their own file tells.
        damaged: count of those that the disk has lost.
        beyond: confirmed numbers behind ``upto``, because one before them still waits.
    """

    upto: int = 0
    confirmed: int | None = None
    dead_lettered: int = 0
    damaged: int = 0
    beyond: tuple[Run, ...] = ()


def read_checkpoint(directory: Path) -> Checkpoint:
    """Return the checkpoint, made durable as it is found; a fresh one if there is none or it cannot be decoded.

    Without a checkpoint rows are sent again, and still count once. Raises OSError.
    """
    path = directory / FILE_NAME
    try:
        keep_file(path)
        return msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except (FileNotFoundError, msgspec.DecodeError):
        return Checkpoint()


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint, durably and all or nothing. Raises OSError."""
    replace_file(directory / FILE_NAME, msgspec.json.encode(checkpoint))
