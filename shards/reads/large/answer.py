"""The answer to :mod:`shards.reads.large.statements`, counted as in :mod:`shards.reads.aggregates`. Pure functions."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from enum import IntEnum
from functools import partial
from operator import attrgetter

import attrs
import msgspec

from shards.errors import StoreUnavailable
from shards.reads.counts import NO_START, Bucket, Counted, Extremes, Group, GroupHighlight
from shards.reads.kinds import FEED_TYPES, PLAY_TYPES


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
    """Kinds of texts.

    Attributes:
        ANSWER: of the answer.
        PART: ``name of a part:rows in it``.
        TABLE: ``id of the table:start of the server in s``.
        REPLACING: id of an event that takes the place of another, or of the one that it names.
    """

    ANSWER = 0
    PART = 1
    TABLE = 2
    REPLACING = 3


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
    def taken_from(cls, rows: Iterable[tuple[str, int]]) -> tuple["TableState", list[str], list[str]]:
        """Return the state that a statement was answered from, the texts of its answer, and those that are REPLACING.

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
        return cls(parts, table, int(started_s)), texts[Said.ANSWER], texts[Said.REPLACING]


class _SummedRow(msgspec.Struct, array_like=True):
    """Units of one kind, type and team; for ``named``, ``recent`` and what follows ``curve`` see :class:`Group`.

    ``curve``: numbers of buckets, how many events are in each, and their weights. Moments are in ms, 0 where there is
    none.
    """

    named: str
    kind: RowKind
    event_type: str
    team_id: str
    events: int
    first_ms: int
    last_ms: int
    received_ms: int
    recent: int
    curve: tuple[list[int], list[int], list[int]]
    start: tuple[int, int, str]
    targets: list[str]
    highlights: list[GroupHighlight]


_row = msgspec.json.Decoder(_SummedRow)


def counted_of(
    texts: Iterable[str], *, bucket_ms: int, exact_extremes: bool = False
) -> tuple[Counted, Extremes | None]:
    """Return the counts of an answer, and its extremes; None if it does not show them.

    Args:
        texts: the answer, in JSON.
        bucket_ms: length of a bucket.
        exact_extremes: the answer has the extremes of all uncontested events.
    """
    rows = [_row.decode(text) for text in texts]
    buckets = (
        Bucket(row.named, number * bucket_ms, row.team_id, row.event_type in FEED_TYPES, events, weight)
        for row in rows
        for number, events, weight in zip(*row.curve, strict=True)
    )
    counted = Counted.of(_groups(rows), buckets)
    return counted, _extremes(rows, counted.withdrawn, exact=exact_extremes)


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
        *(named, event_type, team_id, sum(row.events for row in rows), 0, 0, 0, sum(row.recent for row in rows)),
        min((row.start for row in rows if row.start[2]), default=NO_START),
        [target for row in rows for target in row.targets],
        [highlight for row in rows for highlight in row.highlights],
    )


def _extremes(rows: Sequence[_SummedRow], withdrawn: Set[str], *, exact: bool) -> Extremes | None:
    """Return the extremes of the events that count; None if only rows that were taken off may have reached as far."""
    feed = _of_types(rows, FEED_TYPES)
    counted = [row for row in rows if row.named not in withdrawn]
    counted_feed, play = _of_types(counted, FEED_TYPES), _of_types(counted, PLAY_TYPES)
    highest = partial(_highest, exact=exact)
    found = [
        *(highest(counted, attrgetter("first_ms"), sign=-1), highest(counted, attrgetter("last_ms"))),
        *(highest(rows, attrgetter("received_ms")), highest(counted_feed, attrgetter("last_ms"))),
        *(highest(feed, attrgetter("received_ms")), highest(play, attrgetter("first_ms"), sign=-1)),
        highest(play, attrgetter("last_ms")),
    ]
    known = [value for value in found if value is not None]
    return Extremes(*map(abs, known)) if len(known) == len(found) else None


def _of_types(rows: Iterable[_SummedRow], types: Set[str]) -> list[_SummedRow]:
    return [row for row in rows if row.event_type in types]


def _highest(
    rows: Iterable[_SummedRow], value_of: Callable[[_SummedRow], int], *, exact: bool, sign: int = 1
) -> int | None:
    """Return the highest value of the rows that count, 0 if there are none. ``exact``: UNCONTESTED are complete."""
    values: defaultdict[RowKind, list[int]] = defaultdict(list)
    for row in rows:
        if value := sign * value_of(row):
            values[row.kind].append(value)
    if exact or not values[RowKind.SUMMED]:
        return max(values[RowKind.STANDING] + values[RowKind.UNCONTESTED], default=0)
    summed, standing = max(values[RowKind.SUMMED]), values[RowKind.STANDING]
    if standing and max(standing) >= summed:
        return max(standing)
    return None if summed in values[RowKind.TAKEN_OFF] else summed
