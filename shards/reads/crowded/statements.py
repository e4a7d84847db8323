# ruff: noqa: S608 (names are constants; text of others enters by heredoc() only)
"""The statements of :mod:`shards.reads.crowded.matches`.

The answer of the plain statement has a row for each type and team, with the texts of a hundred highlights in each. Here
ClickHouse itself adds up the teams that have no place of their own, finds out what is withdrawn, and names the newest
highlights of each match; their texts, which may have 16 KiB each, are asked for by id, and only once.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum

import msgspec

from shards.events import HIGHLIGHT_TYPES
from shards.reads.counts import RECENT_MS
from shards.reads.highlights import HIGHLIGHTS
from shards.reads.kinds import COURSE_TYPES, FEED_TYPES, PLAY_TYPES, is_of
from shards.reads.statements import JSON_SETTINGS, NO_ID, SETTINGS, pending_statement
from shards.reads.teams import TEAMS
from shards.stores.sql import heredoc, rows_source


class Told(IntEnum):
    """Kinds of rows of the answer; each begins with its kind and its match.

    Attributes:
        TYPE: event type, team, events, and those of the last minute.
        BUCKET: number of the bucket, team, events, their weights.
        FEED: number of the bucket, events of the match itself.
        WHOLE: teams, then the moments of :class:`shards.reads.counts.Extremes` in its order.
        LINES: highlights, retractions, withdrawn ones included.
        LINE: a highlight or retraction: type, team, id, timestamp (ms), version, receipt (ms), 1 if it is withdrawn.
        START: the same of the earliest match_start that stands.
        COURSE: the same of the newest whistles, kicks and cards of each type.
    """

    TYPE = 1
    BUCKET = 2
    WHOLE = 3
    LINES = 4
    LINE = 5
    START = 6
    COURSE = 7
    FEED = 8


_COLUMNS = "match_id, event_id, event_type, team_id, version, happened, received, target, momentum"
_STORED_COLUMNS = (
    "match_id, event_id, event_type, team_id, version, toInt64(toUnixTimestamp64Milli(timestamp)) AS happened, "
    "toInt64(toUnixTimestamp64Milli(received_at)) AS received, target, momentum"
)
_STORED = f"SELECT {_STORED_COLUMNS} FROM {{database}}.events FINAL PREWHERE match_id IN ({{matches}})"
_CONTESTED = f"""SELECT {_COLUMNS} FROM (
    SELECT {_STORED_COLUMNS} FROM {{database}}.events
      WHERE match_id IN ({{matches}}) AND event_id IN (SELECT event_id FROM pending)
    UNION ALL SELECT {_COLUMNS} FROM pending)
  ORDER BY version DESC LIMIT 1 BY match_id, event_id"""
_UNITED = f"""{_STORED} WHERE event_id NOT IN (SELECT event_id FROM pending)
  UNION ALL SELECT * FROM ({_CONTESTED})"""
# After FINAL, because a version of a row that does not stand may have another type.
_LINES = f"""CREATE OR REPLACE TEMPORARY TABLE lines ENGINE = Memory AS
  SELECT {_COLUMNS}, {is_of(HIGHLIGHT_TYPES)} AS is_line FROM ({{rows}})
  WHERE is_line OR target != {NO_ID}"""
_WITHDRAWN = f"SELECT match_id, target FROM lines WHERE target != {NO_ID}"
_STANDS = f"(match_id, event_id) NOT IN ({_WITHDRAWN})"
_TALLIED = f"""CREATE OR REPLACE TEMPORARY TABLE tallied ENGINE = Memory AS
  SELECT match_id, event_type, team_id, intDiv(happened, {{bucket_ms}}) AS bucket, countIf(stands) AS events,
    {is_of(FEED_TYPES)} AS of_feed, {is_of(PLAY_TYPES)} AS in_play,
    countIf(stands AND happened BETWEEN {{recent_ms}} AND {{until_ms}}) AS recent,
    sumIf(toInt64(momentum), stands) AS weight,
    minIf(happened, stands) AS first, maxIf(happened, stands) AS last, max(received) AS newest
  FROM (SELECT *, {_STANDS} AS stands FROM ({{rows}})) GROUP BY match_id, event_type, team_id, bucket"""
_KEPT = f"""CREATE OR REPLACE TEMPORARY TABLE kept ENGINE = Memory AS
  SELECT match_id, team_id FROM (
    SELECT match_id, team_id, sum(events) AS n FROM tallied WHERE team_id != '' GROUP BY match_id, team_id
    HAVING n > 0 ORDER BY n DESC, team_id LIMIT {TEAMS} BY match_id)"""
_SIDES = " UNION ALL SELECT match_id, team_id FROM {sides}"
_SIDES_STRUCTURE = "match_id String, team_id String"
# The character of OTHERS, as ClickHouse spells it.
_PLACE = "if(team_id = '' OR (match_id, team_id) IN (SELECT match_id, team_id FROM kept), team_id, '\\0') AS place"
_TEXT = "formatRowNoNewline('JSONCompactEachRow', toUInt8({kind:d}), match_id, {values})"
_NEWEST = "happened DESC, version, toString(event_id)"
_LINE = "event_type, team_id, toString(event_id), happened, version, received"


def _told(kind: Told, values: str) -> str:
    return _TEXT.format(kind=kind, values=values)


_ANSWER = " UNION ALL ".join(
    (
        f"SELECT {_told(Told.TYPE, 'event_type, place, sum(events), sum(recent)')} "
        f"FROM (SELECT *, {_PLACE} FROM tallied WHERE events > 0) GROUP BY match_id, event_type, place",
        f"SELECT {_told(Told.BUCKET, 'bucket, place, sum(events), sum(weight)')} "
        f"FROM (SELECT *, {_PLACE} FROM tallied WHERE events > 0) GROUP BY match_id, bucket, place",
        f"SELECT {_told(Told.FEED, 'bucket, sum(events)')} FROM tallied WHERE events > 0 AND of_feed "
        "GROUP BY match_id, bucket",
        "SELECT "
        + _told(
            Told.WHOLE,
            "uniqExactIf(team_id, events > 0 AND team_id != ''), minIf(first, events > 0), maxIf(last, events > 0), "
            "max(newest), maxIf(last, events > 0 AND of_feed), maxIf(newest, of_feed), "
            "minIf(first, events > 0 AND in_play), maxIf(last, events > 0 AND in_play)",
        )
        + " FROM tallied GROUP BY match_id",
        f"SELECT {_told(Told.LINES, 'countIf(not is_retraction), countIf(is_retraction)')} FROM "
        "(SELECT match_id, event_type = 'retraction' AS is_retraction FROM lines WHERE is_line) GROUP BY match_id",
        f"SELECT {_told(Told.LINE, f'{_LINE}, NOT ({_STANDS})')} FROM (SELECT * FROM lines WHERE is_line "
        f"ORDER BY {_NEWEST} LIMIT {HIGHLIGHTS} BY match_id, event_type = 'retraction')",
        f"SELECT {_told(Told.COURSE, f'{_LINE}, NOT ({_STANDS})')} FROM (SELECT * FROM lines "
        f"WHERE {is_of(COURSE_TYPES)} "
        f"ORDER BY {_NEWEST} LIMIT {HIGHLIGHTS} BY match_id, event_type)",
        f"SELECT {_told(Told.START, f'{_LINE}, 0')} FROM (SELECT * FROM lines WHERE event_type = 'match_start' "
        f"AND {_STANDS} ORDER BY happened, version DESC LIMIT 1 BY match_id)",
    )
)


def crowded_statements(
    database: str,
    match_ids: Sequence[str],
    pending: Sequence[bytes],
    *,
    sides: Mapping[str, Collection[str]],
    bucket_ms: int,
    recent_ms: int,
) -> tuple[str, ...]:
    """Return the statements that count some matches; :func:`shards.reads.crowded.answer.parts_of` reads the answer.

    Args:
        database: its name.
        match_ids: at least one.
        pending: payloads of WAL records.
        sides: ids of the teams that have a place of their own in any case, by match.
        bucket_ms: length of a bucket of the curve.
        recent_ms: since when events are recent, ms since the epoch.
    """
    names = {"database": database, "matches": ", ".join(map(heredoc, match_ids))}
    rows = (_UNITED if pending else _STORED).format(**names)
    lines = [{"match_id": match_id, "team_id": team} for match_id, teams in sides.items() for team in teams]
    kept = _KEPT
    if lines:
        kept += _SIDES.format(sides=rows_source([msgspec.json.encode(line) for line in lines], _SIDES_STRUCTURE))
    first = [pending_statement(pending)] if pending else []
    answer = f"{_ANSWER} {SETTINGS}, {JSON_SETTINGS}"
    counting = f"{SETTINGS}, max_threads = 1"
    until_ms = recent_ms + RECENT_MS - 1
    tallied = _TALLIED.format(rows=rows, bucket_ms=bucket_ms, recent_ms=recent_ms, until_ms=until_ms)
    return (
        *first,
        f"{_LINES.format(rows=rows)} {counting}",
        f"{tallied} {counting}",
        kept,
        answer,
    )


def texts_statement(database: str, match_ids: Sequence[str], event_ids: Collection[str]) -> str:
    """Return the statement for (match id, event id, version, texts), in JSON, of all stored versions of some events."""
    matches, ids = ", ".join(map(heredoc, match_ids)), heredoc("\n".join(event_ids))
    return (
        "SELECT formatRowNoNewline('JSONCompactEachRow', match_id, event_id, version, texts) "
        f"FROM {database}.events "
        f"PREWHERE match_id IN ({matches}) AND event_id IN (SELECT event_id FROM format(TSV, 'event_id UUID', {ids})) "
        f"SETTINGS {JSON_SETTINGS}"
    )
