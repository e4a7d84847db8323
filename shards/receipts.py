"""Receipts: the places of a request's events in the write-ahead log, and what became of them.

A receipt is text that holds all it needs, so none has to be kept: ``<directory>.<shard>-<first>-<last>-<count>…``. It
names the data directory by its id and, per shard, the first and the last sequence number, and how many from first to
last are the request's. All of them are, unless the request was appended in several steps (``/bulk``).
"""

import re
from collections.abc import Iterable
from typing import Literal

import attrs

_FORM = re.compile(
    r"(?P<directory>[0-9a-f]{8})(?P<stretches>(?:\.[0-9]{1,4}-[0-9]{1,18}-[0-9]{1,18}-[0-9]{1,18})+)", re.ASCII
)


@attrs.frozen
class Stretch:
    """``count`` rows of one shard between two sequence numbers, both included."""

    shard: int
    first: int
    last: int
    count: int

    def joined(self, other: "Stretch") -> "Stretch":
        """Return the stretch that covers both, of the same shard."""
        first, last = min(self.first, other.first), max(self.last, other.last)
        return Stretch(self.shard, first, last, self.count + other.count)


@attrs.frozen
class Receipt:
    """The rows appended for one request; ``directory`` is the id of the data directory."""

    directory: str
    stretches: tuple[Stretch, ...]

    @property
    def count(self) -> int:
        """Events of the request."""
        return sum(stretch.count for stretch in self.stretches)

    def joined(self, other: "Receipt") -> "Receipt":
        """Return the receipt for both."""
        return Receipt(self.directory, joined((*self.stretches, *other.stretches)))

    def __str__(self) -> str:
        parts = (f"{s.shard}-{s.first}-{s.last}-{s.count}" for s in self.stretches)
        return ".".join((self.directory, *parts))

    @classmethod
    def parse(cls, text: str) -> "Receipt":
        """Return the receipt that a text holds. Raises ValueError for any other text."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError("not a receipt")
        stretches = []
        for part in match["stretches"][1:].split("."):
            shard, first, last, count = map(int, part.split("-"))
            if not 1 <= first <= last or not 1 <= count <= last - first + 1:
                raise ValueError("not a receipt")
            stretches.append(Stretch(shard, first, last, count))
        if len({stretch.shard for stretch in stretches}) != len(stretches):
            raise ValueError("not a receipt")
        return cls(match["directory"], tuple(stretches))


def joined(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """Return one stretch a shard."""
    by_shard: dict[int, Stretch] = {}
    for stretch in stretches:
        known = by_shard.get(stretch.shard)
        by_shard[stretch.shard] = known.joined(stretch) if known else stretch
    return tuple(by_shard[shard] for shard in sorted(by_shard))


@attrs.frozen(kw_only=True)
class Outcome:
    """Counts of what became of a request's events; each event is in one of the four.

    ``erased`` are those that were erased with their match before they were stored; of others that were erased nobody
    can say any more which they were, so they stay in ``stored``.
    """

    durable: int
    stored: int
    dead_lettered: int
    erased: int = 0

    @property
    def status(self) -> Literal["durable", "stored", "dead_lettered", "erased"]:
        """``durable`` while any waits to be stored, then ``dead_lettered`` if any is, ``erased``, else ``stored``."""
        if self.durable:
            return "durable"
        if self.dead_lettered:
            return "dead_lettered"
        return "erased" if self.erased else "stored"
