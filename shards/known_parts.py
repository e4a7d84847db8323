"""Which parts of a table hold nothing but rows that were looked at before.

ClickHouse names a part ``<partition>_<first block>_<last block>_<level>``, with ``_<mutation>`` behind it where rows
were altered or deleted. Every INSERT gets a new block; a merge holds the rows of its parts and is named by their
blocks. So a part whose blocks were all seen before has no row that was not. Blocks may appear out of order.
"""

import re
from collections.abc import Iterable

_NAME = re.compile(r"([^_]+)_(\d+)_(\d+)_\d+(?:_\d+)?", re.ASCII)


class KnownParts:
    """Blocks that were seen, as intervals by partition."""

    def __init__(self) -> None:
        self._intervals: dict[str, list[tuple[int, int]]] = {}

    def covers(self, part: str) -> bool:
        """Say whether all blocks of a part were seen. Never of a part that is not named as above."""
        match = _NAME.fullmatch(part)
        if match is None:
            return False
        first, last = int(match[2]), int(match[3])
        return any(start <= first and last <= end for start, end in self._intervals.get(match[1], ()))

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
