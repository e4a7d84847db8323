"""The records of erasures: one file of the data directory, which a start reads and goes on with.

Each line has a checksum. A record is fsynced before its request is answered, and removed when nothing of its match is
left anywhere. One whose match is refused for a while stays as long as that.
"""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from shards.logger import get_logger
from shards.wal.files import LineFile, checked_line, text_of_line

_log = get_logger(__name__)

FILE_NAME: Final = "erasures"


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure: everything of a match that came before its cut-off goes, everything after it stays.

    Attributes:
        id: random, as text.
        match_id: the match.
        at_ms: when it was asked for, ms since the epoch.
        order_ns: cut-off in ClickHouse: rows with an order up to this go.
        cut_offs: cut-off in the log of each shard, by its index: rows with a number up to this go.
        refuse_until_ms: events of the match are refused until then, ms since the epoch; 0: they are not.
        done: nothing is left of the match.
    """

    id: str
    match_id: str
    at_ms: int
    order_ns: int
    cut_offs: Mapping[int, int]
    refuse_until_ms: int = 0
    done: bool = False

    def upto(self, shard: int) -> int:
        """Return the last number that goes in a shard's log; 0: none."""
        return self.cut_offs.get(shard, 0)

    def bounded(self, last_seqs: Mapping[int, int]) -> "Erasure":
        """Return the erasure for logs that end at these numbers: later ones will be given out to other rows."""
        found = {shard: min(seq, last_seqs.get(shard, 0)) for shard, seq in self.cut_offs.items()}
        return msgspec.structs.replace(self, cut_offs=found)


_decode = msgspec.json.Decoder(Erasure).decode


class ErasureFile:
    """The file. Any thread may use it."""

    def __init__(self, data_dir: Path) -> None:
        self._file = LineFile(data_dir / FILE_NAME)
        self._lock = threading.Lock()

    def read(self) -> list[Erasure]:
        """Return all records, durable as they are found. Blocking; raises OSError."""
        found = []
        with self._lock:
            lines = self._file.read().splitlines()
        for number, line in enumerate(lines, 1):
            text = text_of_line(line)
            try:
                found.append(_decode(text or b""))
            except msgspec.DecodeError:
                path, effect = str(self._file.path), "its match is not erased: ask for that again"
                _log.error("erasure record damaged", path=path, line=number, effect=effect)
        return found

    def add(self, erasures: Iterable[Erasure]) -> None:
        """Make records durable. Blocking; raises OSError: then none of them counts."""
        with self._lock:
            self._file.append(b"".join(map(_line, erasures)))

    def replace(self, erasures: Iterable[Erasure]) -> None:
        """Put these records in place of all. Blocking; raises OSError."""
        with self._lock:
            self._file.replace(b"".join(map(_line, erasures)))


def _line(erasure: Erasure) -> bytes:
    return checked_line(msgspec.json.encode(erasure))
