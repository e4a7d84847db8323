"""How far a shard's log is done with, kept in one small file beside its segments."""

from pathlib import Path

import attrs
import msgspec

from shards.runs import Run
from shards.wal.files import replace_file

FILE_NAME = "checkpoint.json"


@attrs.frozen(kw_only=True)
class Checkpoint:
    """Every number up to ``upto`` is done with: it was confirmed, put aside as a dead letter, or damaged.

    Attributes:
        upto: the last of these numbers.
        confirmed: how many of them were confirmed; None where nothing says so: it is what the others leave then.
        dead_lettered: how many are dead letters, also those that were settled by hand: their own file tells of that.
        damaged: how many the disk has lost.
        beyond: numbers that were confirmed while one before them still waits.
    """

    upto: int = 0
    confirmed: int | None = None
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
    replace_file(directory / FILE_NAME, msgspec.json.encode(checkpoint))
