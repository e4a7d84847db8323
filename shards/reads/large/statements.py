# ruff: noqa: S608 (names are constants; text of others enters by heredoc() only)
"""The statements of :mod:`shards.reads.large.matches`: one match that is too large to be read row by row.

Each part of the table carries counts of its own rows (projection "tempo"), so a sum over the parts counts every copy
of every event. An event is *contested* if it may have more than one row, if it may be withdrawn or may withdraw another
one, or if it is a highlight. All rows of contested events are taken off the sum again, and for each the row that stands
is added.

A statement of this size costs more to plan than to run for a million events. So everything that can be worked out from
its answer is left to :mod:`shards.reads.large.answer`.
"""

from collections.abc import Collection, Sequence

from shards.reads.counts import RECENT_MS
from shards.reads.highlights import HIGHLIGHTS
from shards.reads.large.answer import RowKind, Said
from shards.reads.statements import (
    COLUMNS,
    HAPPENED,
    IS_HIGHLIGHT,
    JSON_SETTINGS,
    NO_ID,
    RECEIVED,
    SETTINGS,
    STORED_COLUMNS,
    limits,
    pending_statement,
)
from shards.stores.schema import CURVE_BUCKET_MS, EVENTS
from shards.stores.sql import heredoc

Runs = Sequence[tuple[str, int, int]]
"""Blocks of the table: partition, first and last."""

# Names of parts are unique for one table until its server is restarted.
_STATE = f"""SELECT concat(_part, ':', toString(count())), {Said.PART:d} FROM {{events}}
    WHERE match_id = {{match}} GROUP BY _part
  UNION ALL SELECT concat(toString(uuid), ':', toString(toInt64(toUnixTimestamp(now())) - toInt64(uptime()))),
    {Said.TABLE:d} FROM system.tables WHERE database = {{database}} AND name = {{table}}"""
_CONTESTED = """CREATE OR REPLACE TEMPORARY TABLE contested ENGINE = Memory AS
  SELECT event_id, named FROM ({sources})"""
# Written as in the projection "tempo", because else ClickHouse does not use it.
_SUMS = f"""SELECT intDiv(toUnixTimestamp64Milli(timestamp), {CURVE_BUCKET_MS}) AS tick, event_type, team_id,
    count() AS events, min(timestamp) AS earliest, max(timestamp) AS latest, max(received_at) AS newest,
    sum(momentum) AS weight
  FROM {{events}} WHERE match_id = {{match}} GROUP BY tick, event_type, team_id"""
# Columns of a unit: "kind" is a RowKind, "bucket" the number of a bucket; the last four are those of a single event.
_UNITS_OF_SUMS = f"""SELECT {NO_ID} AS about, {RowKind.SUMMED:d} AS kind, intDiv(tick, {{ticks}}) AS bucket,
    toInt64(events) AS n, toInt64(weight) AS m, if(tick BETWEEN {{recent_tick}} AND {{until_tick}}, n, 0) AS recent,
    event_type, team_id, toInt64(toUnixTimestamp64Milli(earliest)) AS first,
    toInt64(toUnixTimestamp64Milli(latest)) AS last, toInt64(toUnixTimestamp64Milli(newest)) AS received,
    {NO_ID} AS event_id, '' AS texts, toUInt64(0) AS version, {NO_ID} AS target FROM ({_SUMS})"""
# An event with a row in a part that was not looked at may have other rows elsewhere.
_NEW = "SELECT event_id FROM {events} WHERE match_id = {match} AND {is_new}"
# The condition of KnownParts.covers(). ClickHouse checks it once for each part, and does not open known ones.
_IS_NEW = """NOT arrayExists(run -> run.1 = splitByChar('_', _part)[1]
    AND run.2 <= toUInt64OrZero(splitByChar('_', _part)[2]) AND toUInt64OrZero(splitByChar('_', _part)[3]) <= run.3,
    CAST([{runs}], 'Array(Tuple(String, UInt64, UInt64))'))"""
# Highlights are asked for by themselves, because the index of types finds them; of others the column is empty.
_ROWS_OF_CONTESTED = f"""SELECT true AS stored, {STORED_COLUMNS} FROM {{events}}
        WHERE match_id = {{match}} AND {IS_HIGHLIGHT}
      UNION ALL SELECT true, {STORED_COLUMNS.replace("texts", "''")} FROM {{events}}
        WHERE match_id = {{match}} AND NOT {IS_HIGHLIGHT} AND event_id IN ({{contested}}) {{pending}}"""
# For each contested event: the row that stands, added once, and every stored row, taken off.
_UNITS_OF_CONTESTED = f"""SELECT if({{is_named}} AND unit.1 > 0, event_id, {NO_ID}),
    if(unit.1 > 0, {RowKind.STANDING:d}, {RowKind.TAKEN_OFF:d}), intDiv(unit.2.2, {{bucket_ms}}), toInt64(unit.1),
    toInt64(unit.1 * unit.2.8), if(unit.2.2 BETWEEN {{recent_ms}} AND {{until_ms}}, toInt64(unit.1), 0),
    unit.2.1, unit.2.3, unit.2.2, unit.2.2, unit.2.6, event_id, unit.2.4, unit.2.5, unit.2.7
  FROM (SELECT event_id, arrayJoin(arrayPushFront(
      groupArrayIf((toInt8(-1), (event_type, happened, team_id, '', version, received, {NO_ID}, momentum)), stored),
      (toInt8(1),
        argMax((event_type, happened, team_id, texts, version, received, target, momentum), version)))) AS unit
    FROM ({_ROWS_OF_CONTESTED}) GROUP BY event_id)"""
_PENDING = f" UNION ALL SELECT false, {COLUMNS} FROM pending"
# Each row of an uncontested event is an event of its own, so no copy can be an extreme.
_UNITS_OF_EXTREMES = f"""SELECT {NO_ID}, {RowKind.UNCONTESTED:d}, toInt64(0), toInt64(0), toInt64(0), toInt64(0),
    event_type, '', min(happened), max(happened), max(received), {NO_ID}, '', toUInt64(0), {NO_ID}
  FROM (SELECT {HAPPENED} AS happened, {RECEIVED} AS received, event_type FROM {{events}}
    WHERE match_id = {{match}} AND NOT {IS_HIGHLIGHT} AND event_id NOT IN ({{contested}})) GROUP BY event_type"""
_COUNTS = f"""SELECT formatRowNoNewline('JSONCompactEachRow', toString(about), kind, event_type, team_id, sum(n),
    min(first), max(last), max(received), sum(recent), sumMap([bucket], [n], [m]),
    minIf((first, bitNot(version), texts), kind = {RowKind.STANDING:d} AND event_type = 'match_start'),
    groupArrayIf(target, target != {NO_ID}),
    groupArraySortedIf({HIGHLIGHTS})((-first, version, toString(event_id), texts, received, m),
      kind = {RowKind.STANDING:d} AND {IS_HIGHLIGHT}))"""
_RFC_9562 = 0b10 << 62


def sizes_statement(database: str, match_ids: Collection[str]) -> str:
    """Return the statement for (match id, rows) of those matches that have any."""
    matches = ", ".join(map(heredoc, match_ids))
    counted = f"SELECT match_id, count() FROM {database}.{EVENTS.name} WHERE match_id IN ({matches}) GROUP BY match_id"
    # A column with one value all along costs less to read than a projection costs to plan.
    return f"{counted} SETTINGS optimize_use_projections = 0, max_threads = 1"


def state_statement(database: str, match_id: str) -> str:
    """Return the statement for a table's state: parts with rows of the match, id of the table, start of the server."""
    return f"{_STATE.format(**_names(database, match_id))} {SETTINGS}"


def copies_statement(database: str, match_id: str, *, known: Runs, slice_: tuple[int, int], limit: int) -> str:
    """Return the statement for the ids of events that have more than one row, and for the table's state.

    It also returns each event that takes the place of another one without being a highlight, and the one that it names.

    Args:
        database: its name.
        match_id: the match.
        known: blocks; events with rows in these only are left out. Empty: none are.
        slice_: index of the slice of all ids, from 0, and number of slices.
        limit: most ids of each kind to return; there is no order.
    """
    names = _names(database, match_id)
    of_match = f"FROM {names['events']} WHERE match_id = {names['match']}"
    index, slices = slice_
    among = _in_slice(index, slices)
    replacing = f"SELECT event_id, target {of_match} AND target != {NO_ID} AND NOT {IS_HIGHLIGHT} {among}"
    if known:
        replacing += f" AND {_is_new(known)}"
        among += f" AND event_id IN (SELECT event_id {of_match} AND {_is_new(known)})"
    copies = f"SELECT event_id {of_match} {among} GROUP BY event_id HAVING count() > 1 LIMIT {limit:d}"
    both = "arrayJoin([toString(event_id), toString(target)])"
    named = f"SELECT {both}, {Said.REPLACING:d} FROM ({replacing} LIMIT {limit:d})"
    found = f"SELECT toString(event_id), {Said.ANSWER:d} FROM ({copies}) UNION ALL {named}"
    return f"{found} UNION ALL {_STATE.format(**names)} {SETTINGS}"


def _in_slice(index: int, slices: int) -> str:
    """Return the condition for a slice of the ids: a range of the table's order, so that no other is read.

    ClickHouse orders UUIDs by their second half, which begins with the bits 10 for all of RFC 9562. Its other bits are
    random for the usual versions. If they are not, slices differ in size, but together still cover all ids.
    """
    bounds = [(_RFC_9562 + step * (1 << 62) // slices) for step in (index, index + 1)]
    least, above = (f"toUUID('00000000-0000-0000-{bound >> 48:04x}-{bound & (1 << 48) - 1:012x}')" for bound in bounds)
    conditions = [f"AND event_id >= {least}"] * (index > 0) + [f"AND event_id < {above}"] * (index < slices - 1)
    return " ".join(conditions)


def count_statements(
    database: str,
    match_id: str,
    *,
    pending: Sequence[bytes],
    known: Runs,
    copied: Collection[str],
    named: Collection[str],
    bucket_ms: int,
    recent_ms: int,
    exact_extremes: bool,
    threads: int,
) -> tuple[str, ...]:
    """Return the statements that count a match and tell the table's state, temporary tables first.

    :func:`shards.reads.large.answer.counted_of` reads the answer.

    Args:
        database: its name.
        match_id: the match.
        pending: payloads of WAL records of this match.
        known: blocks that were looked at; events with rows in others are contested.
        copied: ids of events that may have more than one row in known blocks, including all that do.
        named: ids of events that others may have withdrawn, canonical.
        bucket_ms: length of a bucket of the curve, a multiple of :data:`shards.stores.schema.CURVE_BUCKET_MS`.
        recent_ms: since when events are recent, ms since the epoch; such a multiple too.
        exact_extremes: read the extremes of the uncontested events row by row.
        threads: most threads that work on it; 0: as many as ClickHouse likes.
    """
    names = _names(database, match_id) | {"bucket_ms": str(bucket_ms), "ticks": str(bucket_ms // CURVE_BUCKET_MS)}
    until_ms = recent_ms + RECENT_MS - 1
    names |= {"recent_ms": str(recent_ms), "recent_tick": str(recent_ms // CURVE_BUCKET_MS)}
    names |= {"until_ms": str(until_ms), "until_tick": str(until_ms // CURVE_BUCKET_MS)}
    names["pending"] = _PENDING if pending else ""
    names["is_named"] = "event_id IN (SELECT event_id FROM contested WHERE named)" if named else "false"
    names["contested"] = _NEW.format(**names, is_new=_is_new(known))
    statements = [pending_statement(pending)] if pending else []
    if pending or copied or named:
        statements.append(_contested_statement(copied, named, pending=bool(pending)))
        names["contested"] += " UNION ALL SELECT event_id FROM contested"
    units = [_UNITS_OF_SUMS, _UNITS_OF_CONTESTED, *([_UNITS_OF_EXTREMES] if exact_extremes else [])]
    union = " UNION ALL ".join(unit.format(**names) for unit in units)
    limit = f", max_threads = {threads:d}" if threads else ""
    counts = f"{_COUNTS}, {Said.ANSWER:d} FROM ({union}) AS units GROUP BY about, kind, event_type, team_id"
    return (*statements, f"{counts} UNION ALL {_STATE.format(**names)} {SETTINGS}, {JSON_SETTINGS}, {limits(1)}{limit}")


def _contested_statement(copied: Collection[str], named: Collection[str], *, pending: bool) -> str:
    sources = [
        f"SELECT event_id, {is_named} AS named FROM format(TSV, 'event_id UUID', {heredoc(chr(10).join(ids))})"
        for ids, is_named in ((copied, "false"), (named, "true"))
        if ids
    ]
    if pending:
        sources.append("SELECT event_id, false AS named FROM pending")
    return _CONTESTED.format(sources=" UNION ALL ".join(sources))


def _is_new(known: Runs) -> str:
    runs = ", ".join(f"({heredoc(partition)}, {first:d}, {last:d})" for partition, first, last in known)
    return _IS_NEW.format(runs=runs)


def _names(database: str, match_id: str) -> dict[str, str]:
    return {
        "events": f"{database}.{EVENTS.name}",
        "match": heredoc(match_id),
        "database": heredoc(database),
        "table": heredoc(EVENTS.name),
    }
