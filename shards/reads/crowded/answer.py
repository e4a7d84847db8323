"""The answer to :mod:`shards.reads.crowded.statements`, put together. Pure functions."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import attrs
import msgspec

from shards.reads.aggregates import MatchAggregates, bounded, curve_fields, moments, start_metadata_of
from shards.reads.counts import LAST_VERSION, Curves, Extremes, sums
from shards.reads.crowded.statements import Told
from shards.reads.highlights import Highlight, earlier_than
from shards.reads.texts import shortened, texts_of

_row = msgspec.json.Decoder(list[Any])


class Version(NamedTuple):
    """One version of an event, by which its texts are found."""

    match_id: str
    event_id: str
    version: int


class FoundLine(NamedTuple):
    """A highlight without its texts; moments in ms."""

    event_type: str
    team_id: str
    event_id: str
    happened: int
    version: int
    received: int
    withdrawn: int


@attrs.define
class Parts:
    """The counts of one match; see :class:`Told`."""

    by_type: list[tuple[str, str, int]] = attrs.Factory(list)
    recent: list[tuple[str, int]] = attrs.Factory(list)
    by_bucket: list[tuple[int, str, int, int]] = attrs.Factory(list)
    feed: list[tuple[int, int]] = attrs.Factory(list)
    teams: int = 0
    extremes: Extremes = attrs.field(factory=Extremes)
    line_counts: tuple[int, int] = (0, 0)
    lines: list[FoundLine] = attrs.Factory(list)
    start: FoundLine | None = None
    course: list[FoundLine] = attrs.Factory(list)

    def take(self, kind: Told, values: list[Any]) -> None:
        """Take a row of the answer."""
        if kind is Told.TYPE:
            self.by_type.append((values[0], values[1], values[2]))
            self.recent.append((values[0], values[3]))
        elif kind is Told.BUCKET:
            self.by_bucket.append((values[0], values[1], values[2], values[3]))
        elif kind is Told.FEED:
            self.feed.append((values[0], values[1]))
        elif kind is Told.WHOLE:
            self.teams, self.extremes = values[0], Extremes(*values[1:])
        elif kind is Told.LINES:
            self.line_counts = values[0], values[1]
        else:
            self._take_line(kind, FoundLine(*values))

    def _take_line(self, kind: Told, line: FoundLine) -> None:
        if kind is Told.LINE:
            self.lines.append(line)
        elif kind is Told.START:
            self.start = line
        elif not line.withdrawn:
            self.course.append(line)

    @property
    def starts(self) -> list[FoundLine]:
        """The starts that stand, earliest first: the earliest one, and the newest."""
        starts = {line for line in self.course if line.event_type == "match_start"}
        return _in_order(starts | ({self.start} if self.start else set()))

    def versions(self, match_id: str) -> Iterable[Version]:
        """Yield the versions whose texts are needed."""
        for line in (*self.lines, *self.course, *self.starts):
            yield Version(match_id, line.event_id, line.version)


def parts_of(rows: Iterable[tuple[str]]) -> dict[str, Parts]:
    """Return the counts by match; a match without any event is absent."""
    found: dict[str, Parts] = {}
    for (text,) in rows:
        kind, match_id, *values = _row.decode(text)
        found.setdefault(match_id, Parts()).take(Told(kind), values)
    return found


def crowded_aggregates(
    match_id: str, parts: Parts, texts: Mapping[Version, str], *, bucket_ms: int, as_of_ms: int, unread: int
) -> MatchAggregates:
    """Return the aggregates of a match; ``texts`` are those of :meth:`Parts.versions`, "" where a row has expired."""
    lines = sorted(parts.lines, key=lambda line: (-line.happened, line.version, line.event_id))
    highlights = tuple(_highlights(match_id, lines, texts))
    by_bucket = sorted(parts.by_bucket)
    curves = Curves(
        tuple((number * bucket_ms, team, events) for number, team, events, _ in by_bucket if events),
        tuple((number * bucket_ms, team, weight) for number, team, _, weight in by_bucket if weight),
        tuple((number * bucket_ms, events) for number, events in sorted(parts.feed)),
    )
    aggregates = MatchAggregates(
        match_id=match_id,
        total=sum(events for _, _, events in parts.by_type),
        by_type_team=tuple(sorted(parts.by_type)),
        recent=tuple(sorted(sums(parts.recent).items())),
        start_metadata=metadata_of_start(match_id, parts, texts),
        course=tuple(_highlights(match_id, _in_order(parts.course), texts)),
        highlights=highlights,
        earlier=earlier_than(highlights, parts.line_counts),
        pending_events=unread,
        as_of_ms=as_of_ms,
        **moments(parts.extremes, as_of_ms),
        **curve_fields(curves, bucket_ms),
    )
    return bounded(aggregates, teams=parts.teams)


def metadata_of_start(match_id: str, parts: Parts, texts: Mapping[Version, str]) -> str:
    """Return the metadata that tells of the sides, as :attr:`MatchAggregates.start_metadata`."""
    return start_metadata_of(
        texts_of(texts.get(Version(match_id, start.event_id, start.version), ""))[0] for start in parts.starts
    )


def _in_order(lines: Iterable[FoundLine]) -> list[FoundLine]:
    """Return lines in the order of their timestamps, then of their receipt."""
    return sorted(lines, key=lambda line: (line.happened, -line.version))


def _highlights(match_id: str, lines: Iterable[FoundLine], texts: Mapping[Version, str]) -> Iterable[Highlight]:
    return (_highlight(line, texts.get(Version(match_id, line.event_id, line.version), "")) for line in lines)


def _highlight(line: FoundLine, texts: str) -> Highlight:
    metadata, player_id = texts_of(texts)
    return Highlight(
        event_id=line.event_id,
        event_type=line.event_type,
        timestamp=line.happened,
        team_id=line.team_id,
        player_id=player_id,
        metadata=shortened(metadata),
        retracted=bool(line.withdrawn),
        received_ms=line.received,
        order_ms=(LAST_VERSION - line.version) // 1_000_000,
    )
