"""What the reads must say, counted the plain way: one row for each distinct event id, the first one received."""

from collections import Counter

import attrs

from shards.reads.aggregates import MatchAggregates
from tests.bench.engines import Engine

_PLAIN = """SELECT event.1 AS type, event.2 AS team, event.3 AS minute, count() AS n FROM (
    SELECT event_id, argMax((event_type, team_id, intDiv(toUnixTimestamp64Milli(timestamp), 60000) * 60000), version)
      AS event
    FROM {database}.events WHERE match_id = '{match_id}' GROUP BY event_id)
  WHERE toString(event_id) NOT IN (SELECT JSONExtractString(metadata, 'eventId') FROM {database}.events
    WHERE match_id = '{match_id}' AND event_type = 'retraction')
  GROUP BY type, team, minute"""


@attrs.frozen
class Counts:
    """Distinct events by type and team, and by the start of the minute in ms."""

    by_type_team: dict[tuple[str, str], int]
    by_minute: dict[int, int]

    @property
    def total(self) -> int:
        """Return the number of events."""
        return sum(self.by_minute.values())

    @classmethod
    def of(cls, answer: MatchAggregates) -> "Counts":
        """Return what an answer of the service says. ValueError if its sums are not its total."""
        found = cls({(kind, team): n for kind, team, n in answer.by_type_team}, dict(answer.by_minute))
        if not found.total == sum(found.by_type_team.values()) == answer.total:
            raise ValueError(f"{answer.match_id}: the sums of an answer differ")
        return found


async def plain_counts(engine: Engine, database: str, match_id: str) -> Counts:
    """Count a match in ClickHouse, by a statement the service does not use."""
    by_type_team: Counter[tuple[str, str]] = Counter()
    by_minute: Counter[int] = Counter()
    for row in await engine.query(_PLAIN.format(database=database, match_id=match_id)):
        by_type_team[row["type"], row["team"]] += int(row["n"])
        by_minute[int(row["minute"])] += int(row["n"])
    return Counts(dict(by_type_team), dict(by_minute))
