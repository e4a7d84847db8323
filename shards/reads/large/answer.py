"""The answer to :mod:`shards.reads.large.statements`, counted as in :mod:`shards.reads.aggregates`. Pure functions."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from enum import IntEnum

import attrs
import msgspec

from shards.errors import StoreUnavailable
from shards.reads.aggregates import NO_START, Counted, Extremes, Group, GroupHighlight


class RowKind(IntEnum):
    """Kinds of rows of the answer, by what they are made of.

    Attributes:
        SUMMED: the parts' own counts.
        TAKEN_OFF: stored rows of contested events, which are in those counts.
        STANDING: the row that stands, of each contested event.
        UNCONTESTED: the extremes of all other events, and no counts.
    """

    SUMMED = 1
    TAKEN_OFF = 2
    STANDING = 3
    UNCONTESTED = 4


class Said(IntEnum):
    """Kinds of texts: of the answer; ``name of a part:rows in it``; ``id of the table:start of the server in s``."""

    ANSWER = 0
    PART = 1
    TABLE = 2


@attrs.frozen
class TableState:
    """The parts of the table from which a statement was answered.

    Attributes:
        parts: name to rows of the match.
        table: id of the table, because another table has other parts under the same names.
        started_s: start of the server, s since the epoch, because an emptied table may use part names again after it.
    """

    parts: dict[str, int]
    table: str
    started_s: int

    @classmethod
    def taken_from(cls, rows: Iterable[tuple[str, int]]) -> tuple["TableState", list[str]]:
        """Return the state that a statement was answered from, and the texts of its answer.

        Args:
            rows: texts, each with its kind, a :class:`Said`.

        Raises:
            StoreUnavailable: there is no table any more.
        """
        texts: dict[int, list[str]] = {said: [] for said in Said}
        for text, said in rows:
            texts[said].append(text)
        parts = {name: int(n) for name, _, n in (text.rpartition(":") for text in texts[Said.PART])}
        if not texts[Said.TABLE]:
            raise StoreUnavailable("the table of events went away while it was read")
        table, _, started_s = texts[Said.TABLE][0].rpartition(":")
        return cls(parts, table, int(started_s)), texts[Said.ANSWER]


class _SummedRow(msgspec.Struct, array_like=True):
    """Units of one kind, type and team. ``named``, ``start``, ``targets``, ``highlights``: see :class:`Group`.

    ``curve``: numbers of buckets, and how many events are in each. Moments are in ms, 0 where there is none.
    """

    named: str
    kind: RowKind
    event_type: str
    team_id: str
    events: int
    first_ms: int
    last_ms: int
    received_ms: int
    curve: tuple[list[int], list[int]]
    start: tuple[int, int, str]
    targets: list[str]
    highlights: list[GroupHighlight]


_row = msgspec.json.Decoder(_SummedRow)


def counted_of(texts: Iterable[str], *, bucket_ms: int) -> tuple[Counted, Extremes | None]:
    """Return the counts of an answer, and its extremes; None if it does not show them.

    Args:
        texts: the answer, in JSON.
        bucket_ms: length of a bucket.
    """
    rows = [_row.decode(text) for text in texts]
    buckets = (
        (row.named, number * bucket_ms, row.team_id, events)
        for row in rows
        for number, events in zip(*row.curve, strict=True)
    )
    counted = Counted.of(_groups(rows), buckets)
    return counted, _extremes(rows, counted.withdrawn)


def _groups(rows: Iterable[_SummedRow]) -> list[Group]:
    """Return a group for each type and team, without times, which only the extremes tell."""
    alike: defaultdict[tuple[str, str, str], list[_SummedRow]] = defaultdict(list)
    for row in rows:
        if row.kind is not RowKind.UNCONTESTED:
            alike[row.named, row.event_type, row.team_id].append(row)
    return [_joined(*key, of_type) for key, of_type in alike.items()]


def _joined(named: str, event_type: str, team_id: str, rows: Sequence[_SummedRow]) -> Group:
    """Return the rows of one key as one group."""
    return Group(
        *(named, event_type, team_id, sum(row.events for row in rows), 0, 0, 0),
        min((row.start for row in rows if row.start[2]), default=NO_START),
        [target for row in rows for target in row.targets],
        [highlight for row in rows for highlight in row.highlights],
    )


def _extremes(rows: Sequence[_SummedRow], withdrawn: Set[str]) -> Extremes | None:
    """Return the extremes of the events that count; None if only rows that were taken off may have reached as far."""
    counted = [row for row in rows if row.named not in withdrawn]
    exact = any(row.kind is RowKind.UNCONTESTED for row in rows)
    first = _highest(counted, lambda row: -row.first_ms, exact=exact)
    last = _highest(counted, lambda row: row.last_ms, exact=exact)
    received = _highest(rows, lambda row: row.received_ms, exact=exact)
    if first is None or last is None or received is None:
        return None
    return Extremes(-first, last, received)


def _highest(rows: Iterable[_SummedRow], value_of: Callable[[_SummedRow], int], *, exact: bool) -> int | None:
    """Return the highest value of the rows that count, 0 if there are none. ``exact``: some are UNCONTESTED."""
    values: defaultdict[RowKind, list[int]] = defaultdict(list)
    for row in rows:
        if value := value_of(row):
            values[row.kind].append(value)
    if exact or not values[RowKind.SUMMED]:
        return max(values[RowKind.STANDING] + values[RowKind.UNCONTESTED], default=0)
    summed, standing = max(values[RowKind.SUMMED]), values[RowKind.STANDING]
    if standing and max(standing) >= summed:
        return max(standing)
    return None if summed in values[RowKind.TAKEN_OFF] else summed
