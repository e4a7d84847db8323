"""Known parts of a table: those that hold only rows that were looked at before.

ClickHouse names a part ``<partition>_<first block>_<last block>_<level>``, with ``_<mutation>`` behind it if rows were
altered or deleted. Every INSERT gets a new block. A merged part holds the rows of its parts and is named by their
blocks. So a part whose blocks were all seen before has no new row. Blocks may appear out of order.

A table counts its blocks anew after it was emptied, detached and attached again, and after its files were replaced by
those of a backup. Then the newest blocks are gone, which merges alone never cause
(:meth:`KnownParts.has_lost_blocks`).
"""

import re
from collections.abc import Iterable

_NAME = re.compile(r"([^_]+)_(\d+)_(\d+)_\d+(?:_\d+)?", re.ASCII)


class KnownParts:
    """Blocks that were seen, as intervals by partition."""

    def __init__(self) -> None:
        self._intervals: dict[str, list[tuple[int, int]]] = {}

    def covers(self, part: str) -> bool:
        """Say whether all blocks of a part were seen; False for a part that is not named as above."""
        match = _NAME.fullmatch(part)
        if match is None:
            return False
        first, last = int(match[2]), int(match[3])
        return any(start <= first and last <= end for start, end in self._intervals.get(match[1], ()))

    def has_lost_blocks(self, parts: Iterable[str]) -> bool:
        """Say whether the newest blocks seen of some partition are gone; ``parts`` are all that there are now."""
        newest: dict[str, int] = {}
        for match in filter(None, map(_NAME.fullmatch, parts)):
            newest[match[1]] = max(newest.get(match[1], 0), int(match[3]))
        return any(seen[-1][1] > newest.get(partition, -1) for partition, seen in self._intervals.items())

    @property
    def intervals(self) -> list[tuple[str, int, int]]:
        """Blocks that were seen, as runs: partition, first block, last block."""
        return [(partition, *run) for partition, runs in self._intervals.items() for run in runs]

    def add(self, parts: Iterable[str]) -> None:
        """Note that these parts were seen."""
        for match in filter(None, map(_NAME.fullmatch, parts)):
            intervals = sorted([*self._intervals.get(match[1], ()), (int(match[2]), int(match[3]))])
            joined = intervals[:1]
            for start, end in intervals[1:]:
                if start <= joined[-1][1] + 1:
                    joined[-1] = (joined[-1][0], max(joined[-1][1], end))
                else:
                    joined.append((start, end))
            self._intervals[match[1]] = joined
