"""The answer to :mod:`shards.reads.crowded.statements`, put together. Pure functions."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import attrs
import msgspec

from shards.reads.aggregates import LAST_VERSION, MINUTE_MS, MatchAggregates, bounded
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
    by_bucket: list[tuple[int, str, int]] = attrs.Factory(list)
    teams: int = 0
    first_ms: int = 0
    last_ms: int = 0
    received_ms: int = 0
    line_counts: tuple[int, int] = (0, 0)
    lines: list[FoundLine] = attrs.Factory(list)
    start: FoundLine | None = None

    def take(self, kind: Told, values: list[Any]) -> None:
        """Take a row of the answer."""
        if kind is Told.TYPE:
            self.by_type.append((values[0], values[1], values[2]))
        elif kind is Told.BUCKET:
            self.by_bucket.append((values[0], values[1], values[2]))
        elif kind is Told.WHOLE:
            self.teams, self.first_ms, self.last_ms, self.received_ms = values
        elif kind is Told.LINES:
            self.line_counts = values[0], values[1]
        elif kind is Told.LINE:
            self.lines.append(FoundLine(*values))
        else:
            self.start = FoundLine(*values)

    def versions(self, match_id: str) -> Iterable[Version]:
        """Yield the versions whose texts are needed."""
        for line in (*self.lines, *([self.start] if self.start else [])):
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
    highlights = tuple(
        _highlight(line, texts.get(Version(match_id, line.event_id, line.version), "")) for line in lines
    )
    minutes: dict[int, int] = {}
    for number, _, events in parts.by_bucket:
        minute = number * bucket_ms // MINUTE_MS * MINUTE_MS
        minutes[minute] = minutes.get(minute, 0) + events
    aggregates = MatchAggregates(
        match_id=match_id,
        total=sum(events for _, _, events in parts.by_type),
        first_ms=parts.first_ms,
        last_ms=parts.last_ms,
        last_received_ms=parts.received_ms or as_of_ms,
        by_type_team=tuple(sorted(parts.by_type)),
        by_minute=tuple(sorted(minutes.items())),
        curve=tuple(sorted((number * bucket_ms, team, events) for number, team, events in parts.by_bucket)),
        bucket_ms=bucket_ms,
        start_metadata=start_metadata_of(match_id, parts, texts),
        ended=any(event_type == "match_end" for event_type, _, _ in parts.by_type),
        highlights=highlights,
        earlier=earlier_than(highlights, parts.line_counts),
        pending_events=unread,
        as_of_ms=as_of_ms,
    )
    return bounded(aggregates, teams=parts.teams)


def start_metadata_of(match_id: str, parts: Parts, texts: Mapping[Version, str]) -> str:
    """Return the metadata of the earliest match_start that stands, "" if there is none."""
    start = parts.start
    return texts_of(texts.get(Version(match_id, start.event_id, start.version), ""))[0] if start else ""


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
