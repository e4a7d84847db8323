"""The checkpoint of a shard's log: what is done with, kept in one small file beside the segments."""

from pathlib import Path

import attrs
import msgspec

from shards.runs import Run
from shards.wal.files import keep_file, replace_file

FILE_NAME = "checkpoint.json"


@attrs.frozen(kw_only=True)
class Checkpoint:
    """Every number up to ``upto`` is done with: it was confirmed, put aside as a dead letter, damaged, or erased.

    Attributes:
        upto: the last of these numbers.
        confirmed: count of the confirmed ones; None if unknown: then all but the others that are counted.
        dead_lettered: count of the dead letters, including those settled by hand, which only their own file tells.
        damaged: count of those that the disk has lost.
        beyond: confirmed numbers behind ``upto``, because one before them still waits.
        erased: count of those that were erased with their match before they were stored.
        durable: last number that was durable when this was written, so its loss is damage and no torn end.
        order_upto: number, ns since the epoch, that no order given out by then exceeds; 0: none was reserved.
    """

    upto: int = 0
    confirmed: int | None = None
    dead_lettered: int = 0
    damaged: int = 0
    beyond: tuple[Run, ...] = ()
    erased: int = 0
    durable: int = 0
    order_upto: int = 0

    @property
    def proven(self) -> int:
        """Last number that this checkpoint shows to be durable."""
        return max(self.upto, self.durable, self.beyond[-1][1] if self.beyond else 0)


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
