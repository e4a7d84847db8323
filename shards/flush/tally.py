"""What a shard has sent, and what became of its rows."""

from collections.abc import Sequence

import attrs

from shards.runs import Run


@attrs.frozen
class Attempt:
    """Rows that were sent under one batch number; ``sample`` is one of them."""

    number: int
    seqs: Sequence[int]
    sample: bytes


@attrs.define
class Tally:
    """What became of a shard's rows so far; ``dead`` are all its dead letters.

    ``beyond`` are the confirmed rows, and ``dead_beyond`` the dead letters, that are behind the checkpoint, so that the
    log still holds them. A dead letter stays one here when it is settled by hand; its file tells of that.
    """

    confirmed: int
    beyond: tuple[Run, ...]
    dead_lettered: int
    dead: set[int]
    dead_beyond: set[int]
