# ruff: noqa: S608 (names are constants; text of others enters by heredoc() only)
"""The statements of :mod:`shards.reads`. They return integers, strings, arrays and tuples only."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from shards.stores.base import heredoc, rows_source
from shards.stores.schema import ROW_STRUCTURE

HIGHLIGHT_TYPES = (
    *("goal", "own_goal", "penalty", "yellow_card", "red_card", "var_review", "retraction"),
    *("match_start", "match_end", "half_start", "half_end", "shootout_goal", "shootout_miss"),
)
"""Types of events that are worth a line in the feed."""

HIGHLIGHTS = 100
"""How many of them an answer holds."""

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The id in rows of the answer that are not about one event."""

_NO_ID = f"toUUID('{NOBODY}')"
_COLUMNS = ("event_type", "happened", "team_id", "player_id", "metadata", "received", "version")
_STORED = """SELECT match_id, event_id, event_type, toUnixTimestamp64Milli(timestamp) AS happened, team_id,
    player_id, metadata, toUnixTimestamp64Milli(received_at) AS received, version
  FROM {database}.events FINAL WHERE match_id IN ({matches})"""
# The first one received stands among the pending rows too.
_PENDING = """CREATE OR REPLACE TEMPORARY TABLE pending ENGINE = Memory AS
  SELECT match_id, event_id, CAST(event_type, 'LowCardinality(String)') AS event_type,
    timestamp AS happened, team_id, player_id, metadata, toInt64(intDiv(received_ns, 1000000)) AS received,
    bitNot(toUInt64(received_ns)) AS version
  FROM {source} ORDER BY version DESC LIMIT 1 BY match_id, event_id"""
# A row that is on one side only has version 0 on the other. Few rows are pending, so they are the side kept in memory.
_FIRST_RECEIVED = ", ".join(f"if(p.version > s.version, p.{name}, s.{name}) AS {name}" for name in _COLUMNS)
_EITHER = f"""SELECT match_id, event_id, {_FIRST_RECEIVED}
  FROM ({{stored}}) AS s FULL JOIN pending AS p USING (match_id, event_id)"""
# The spellings that uuid.UUID() reads too.
_TARGET = "toUUIDOrZero(replaceRegexpAll(lower(JSONExtractString(metadata, 'eventId')), 'urn:|uuid:|[{}-]', ''))"
# Any version of a retraction, wherever it is: which of them stand, and so withdraw, shows only in the whole answer.
_NAMED = f"""SELECT match_id, {_TARGET.replace("{}", "{{}}")} AS event_id FROM {{database}}.events
  WHERE match_id IN ({{matches}}) AND event_type = 'retraction'"""
_GROUPS = f"""SELECT match_id,
    if((match_id, event_id) IN (SELECT match_id, event_id FROM named), event_id, {_NO_ID}) AS about,
    intDiv(happened, 60000) * 60000 AS minute, event_type, team_id,
    count() AS events, min(happened) AS first, max(happened) AS last, max(received) AS last_received,
    minIf((happened, bitNot(version), metadata), event_type = 'match_start') AS start,
    groupArrayIf(if(event_type = 'retraction', {_TARGET}, {_NO_ID}), event_type = 'retraction') AS targets,
    groupArraySortedIf({HIGHLIGHTS})((-happened, -received, event_id, player_id, metadata),
      event_type IN ({", ".join(f"'{name}'" for name in HIGHLIGHT_TYPES)})) AS feed
  FROM rows GROUP BY match_id, about, minute, event_type, team_id"""
_ANSWER = f"""SELECT match_id, toString(about), toInt64(minute), toString(event_type), team_id,
    toInt64(sum(events)), min(first), max(last), max(last_received),
    arrayMin(groupArrayIf(start, groups.event_type = 'match_start' AND start.3 != '')) AS earliest,
    if(minute = 0, arrayMap(id -> toString(id), groupArrayArray(targets)), []),
    if(minute = 0, arrayMap(h -> (h.1, h.2, toString(h.3), h.4, h.5),
      arraySlice(arraySort(groupArrayArray(feed)), 1, {HIGHLIGHTS})), [])
  FROM groups GROUP BY GROUPING SETS ((match_id, about, minute), (match_id, about, event_type, team_id))"""

# As this statement needs them, whatever the profile of the user says. Copies of an event may lie in two partitions.
_SETTINGS = "SETTINGS join_use_nulls = 0, do_not_merge_across_partitions_select_final = 0"
# Answered from the projection "activity".
_ACTIVITY = """SELECT match_id, toUnixTimestamp64Milli(newest) AS last
  FROM (SELECT match_id, max(received_at) AS newest FROM {database}.events GROUP BY match_id)"""


def aggregates_statements(
    database: str, match_ids: Sequence[str], pending: Sequence[bytes], pending_targets: Collection[tuple[str, str]]
) -> tuple[str, ...]:
    """Return the statements that count some matches: a temporary table of what is pending, if any is, and a SELECT.

    Inside of the SELECT the rows would cost ten times as much: the analyzer hashes the text again for every name.

    The rows of the answer are, per match and "about" (the id of an event that a retraction names, else
    :data:`NOBODY`), one for each minute (``event_type`` empty) and one for each type and team (``minute`` 0, which
    no event has).

    Args:
        database: its name.
        match_ids: at least one.
        pending: payloads of WAL records.
        pending_targets: (match id, event id) that pending retractions name, ids canonical.
    """
    names = {"database": database, "matches": ", ".join(map(heredoc, match_ids))}
    rows, named = _STORED.format(**names), _NAMED.format(**names)
    if pending:
        rows = _EITHER.format(stored=rows)
    if pending_targets:
        lines = [msgspec.json.encode({"match_id": m, "event_id": e}) for m, e in pending_targets]
        named += f" UNION ALL SELECT * FROM {rows_source(lines, 'match_id String, event_id UUID')}"
    answer = f"WITH named AS ({named}), rows AS ({rows}), groups AS ({_GROUPS}) {_ANSWER} {_SETTINGS}"
    return (_PENDING.format(source=rows_source(pending, ROW_STRUCTURE)), answer) if pending else (answer,)


def recent_statement(database: str, pending: Mapping[str, int], *, limit: int, before: tuple[int, str] | None) -> str:
    """Return the statement that lists (match id, last receipt in ms), newest first.

    Args:
        database: its name.
        pending: last receipt in ms of matches with pending rows.
        limit: how many at most.
        before: (last receipt in ms, match id): only what comes after it in the list.
    """
    matches = _ACTIVITY.format(database=database)
    if pending:
        lines = [msgspec.json.encode({"match_id": match_id, "last": last}) for match_id, last in pending.items()]
        matches += f" UNION ALL SELECT match_id, last FROM {rows_source(lines, 'match_id String, last Int64')}"
    page = f"HAVING (latest, match_id) < ({before[0]:d}, {heredoc(before[1])})" if before else ""
    return (
        f"SELECT match_id, max(last) AS latest FROM ({matches}) GROUP BY match_id {page} "
        f"ORDER BY latest DESC, match_id DESC LIMIT {limit:d}"
    )
