# ruff: noqa: S608 (names are constants; text of others enters by heredoc() only)
"""The statements of :mod:`shards.reads.matches`. They return integers, strings, arrays and tuples only."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from shards.events import HIGHLIGHT_TYPES
from shards.reads.counts import NOBODY, RECENT_MS
from shards.reads.highlights import HIGHLIGHTS
from shards.reads.kinds import FEED_TYPES, is_of
from shards.stores.derived import derived_from_row
from shards.stores.schema import ROW_STRUCTURE
from shards.stores.sql import heredoc, rows_source

NO_ID = f"toUUID('{NOBODY}')"
COLUMNS = "event_id, event_type, happened, team_id, texts, version, received, target, momentum"
"""An event's columns in these statements: ``happened`` and ``received`` are in ms, ``version`` tells the order."""

HAPPENED = "toUnixTimestamp64Milli(timestamp)"
RECEIVED = "toUnixTimestamp64Milli(received_at)"
STORED_COLUMNS = (
    f"event_id, event_type, toInt64({HAPPENED}) AS happened, team_id, texts, version, "
    f"toInt64({RECEIVED}) AS received, target, momentum"
)
"""The same columns, made from those of the table."""

IS_HIGHLIGHT = f"event_type IN {HIGHLIGHT_TYPES!r}"
# Among the pending rows too, the copy received first stands.
_DERIVED = ", ".join(f"{derived_from_row(name)} AS {name}" for name in ("texts", "target", "momentum"))
_PENDING = f"""CREATE OR REPLACE TEMPORARY TABLE pending ENGINE = Memory AS
  SELECT match_id, event_id, CAST(event_type, 'LowCardinality(String)') AS event_type,
    timestamp AS happened, team_id, bitNot(toUInt64(order_ns)) AS version,
    intDiv(received_ns, 1000000) AS received, {_DERIVED.replace("{", "{{").replace("}", "}}")}
  FROM {{source}} ORDER BY version DESC LIMIT 1 BY match_id, event_id"""
# PREWHERE may come before FINAL, because all versions of a row have one key; else FINAL reads all that shares granules.
_STORED = f"SELECT match_id, {STORED_COLUMNS} FROM {{database}}.events FINAL PREWHERE match_id {{is_one}}"
_BUT_PENDING = "AND event_id NOT IN (SELECT event_id FROM pending)"
# Events with a pending version: stored and pending ones side by side, to find the one received first.
_CONTESTED = f"""SELECT match_id, {COLUMNS} FROM (
    SELECT match_id, {STORED_COLUMNS} FROM {{database}}.events
      WHERE match_id {{is_one}} AND event_id IN (SELECT event_id FROM pending)
    UNION ALL SELECT match_id, {COLUMNS} FROM pending)
  ORDER BY version DESC LIMIT 1 BY match_id, event_id"""
_NAMED = "SELECT event_id FROM format(TSV, 'event_id UUID', {ids})"
# A row is one text, because clients need several times as long to take many columns, and arrays in them, apart.
_PLAIN_COUNTS = f"""SELECT formatRowNoNewline('JSONCompactEachRow', match_id, event_type, team_id, count(),
    min({{time}}), max({{time}}), max({{received}}), countIf({{time}} BETWEEN {{recent_ms}} AND {{until_ms}}),
    {{curve}},
    groupArraySortedIf({HIGHLIGHTS})((-{{time}}, version, event_id, texts, {{received}}, momentum), texts != ''))"""
# All events of a type have a weight, or none has.
_LISTED_BUCKETS = (
    "groupArray({listed:d})(intDiv({time}, {bucket_ms})), groupArrayIf({listed:d})(momentum, momentum != 0)"
)
_COUNTED_BUCKETS = (
    "countMap(map(intDiv({time}, {bucket_ms}), 1)), "
    "sumMapIf(map(intDiv({time}, {bucket_ms}), toInt64(momentum)), momentum != 0)"
)
_PLAIN_GROUPING = "GROUP BY match_id, event_type, team_id"
JSON_SETTINGS = (
    "output_format_json_quote_64bit_integers = 0, output_format_json_named_tuples_as_objects = 0, "
    "output_format_json_validate_utf8 = 1"
)
"""Settings with which rows that are texts can be read as tuples of numbers and strings."""

# All versions of a row are of one match, so the index of matches skips all or none, and FINAL need not look again.
_SKIPPING = "use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0"
_PLAIN_STORED = "{database}.events FINAL PREWHERE match_id {is_one}"
_OF_FEED = f"{is_of(FEED_TYPES)} AS of_feed"
_WITHOUT_NAMED = f"SELECT {NO_ID} AS about, {_OF_FEED}, * FROM ({{rows}})"
# An id named in one match gets a group of its own in all of them; the match that named it shows later.
_WITH_NAMED = f"SELECT if(event_id IN ({{named}}), event_id, {NO_ID}) AS about, {_OF_FEED}, * FROM ({{rows}})"
_COUNTS = f"""SELECT match_id, toString(about), toInt64(intDiv(happened, {{bucket_ms}}) * {{bucket_ms}}) AS bucket,
    of_feed, sum(toInt64(momentum)),
    toString(event_type), team_id, toInt64(count()), min(happened), max(happened), max(received),
    toInt64(countIf(happened BETWEEN {{recent_ms}} AND {{until_ms}})),
    minIf((happened, bitNot(version), texts), units.event_type = 'match_start'),
    if(bucket = 0, groupArrayIf(toString(target), target != {NO_ID}), []),
    if(bucket = 0, groupArraySortedIf({HIGHLIGHTS})(
      (-happened, version, toString(event_id), texts, received, toInt64(momentum)), texts != ''), [])"""
_GROUPING = (
    "GROUP BY GROUPING SETS ((match_id, about, bucket, team_id, of_feed), (match_id, about, event_type, team_id))"
)

SETTINGS = "SETTINGS do_not_merge_across_partitions_select_final = 0, enable_shared_storage_snapshot_in_query = 1"
"""Settings that these statements need, whatever the user's profile says.

Copies of an event may lie in two partitions, and every part of a statement has to see the same parts of the table.
"""

TOO_LONG = frozenset({158, 396})
"""Codes with which an answer fails that would have too many rows, or too many bytes: see :func:`limits`."""

GROUPS_MAX = 1_000
ANSWER_MAX_BYTES = 2 << 20
"""Most types and teams of a match, and most bytes of its answer; a match with more is counted another way."""

GROUPS_MAX_MATCHES = 16
ANSWER_MAX_MATCHES = 2
"""Matches whose allowances of either an answer about many has at most."""

# Answered from the projection "activity".
_ACTIVITY = """SELECT match_id, toUnixTimestamp64Milli(newest) AS last
  FROM (SELECT match_id, max(received_at) AS newest FROM {database}.events GROUP BY match_id)"""


def pending_statement(pending: Sequence[bytes]) -> str:
    """Return the statement that makes the temporary table ``pending`` from payloads of WAL records.

    Rows inside a SELECT would cost ten times as much, because the analyzer hashes the text again for every name.
    """
    return _PENDING.format(source=rows_source(pending, ROW_STRUCTURE))


def plain_statements(
    database: str,
    match_ids: Sequence[str],
    pending: Sequence[bytes],
    *,
    bucket_ms: int,
    recent_ms: int,
    listed: int,
    max_rows: int,
) -> tuple[str, ...]:
    """Return the statements that count some matches, withdrawn events included; see :func:`aggregates_statements`.

    The statement is as plain as it can be, because for most matches its planning costs more than its run.
    :func:`shards.reads.plain_answer.plain_groups` reads its answer.

    Args:
        database: its name.
        match_ids: at least one.
        pending: payloads of WAL records.
        bucket_ms: length of a bucket of the curve.
        recent_ms: since when events are recent, ms since the epoch.
        listed: most events of a type and team whose buckets are listed one by one, which takes less time than to count
            them; 0: they are counted.
        max_rows: as for :func:`aggregates_statements`.
    """
    names = _names(database, match_ids)
    source, time, received = _PLAIN_STORED.format(**names), HAPPENED, RECEIVED
    if pending:
        source, time, received = f"({_united(names)})", "happened", "received"
    curve = (_LISTED_BUCKETS if listed else _COUNTED_BUCKETS).format(time=time, bucket_ms=bucket_ms, listed=listed)
    counts = _PLAIN_COUNTS.format(
        time=time, received=received, curve=curve, recent_ms=recent_ms, until_ms=recent_ms + RECENT_MS - 1
    )
    settings = f"{_settings(max_rows)}, {limits(len(match_ids), groups=GROUPS_MAX)}, {JSON_SETTINGS}"
    return _with_pending(pending, f"{counts} FROM {source} {_PLAIN_GROUPING} {settings}")


def aggregates_statements(
    database: str,
    match_ids: Sequence[str],
    pending: Sequence[bytes],
    *,
    named: Collection[str],
    bucket_ms: int,
    recent_ms: int,
    max_rows: int,
) -> tuple[str, ...]:
    """Return the statements that count some matches: a temporary table of what is pending, if any is, and a SELECT.

    The answer has, per match and "about" (the id of an event that another one withdraws, else :data:`NOBODY`), one row
    for each bucket, team and kind (of the feed, or of fans), and one for each type and team. The latter have bucket 0,
    which no event has.

    Args:
        database: its name.
        match_ids: at least one.
        pending: payloads of WAL records.
        named: ids of events that others may have withdrawn, canonical.
        bucket_ms: length of a bucket of the curve.
        recent_ms: since when events are recent, ms since the epoch.
        max_rows: fail with code 158 if more would have to be read; 0: read as many as there are.
    """
    names = _names(database, match_ids)
    rows = _united(names) if pending else _STORED.format(**names)
    ids = _NAMED.format(ids=heredoc("\n".join(named))) if named else ""
    units = (_WITH_NAMED if named else _WITHOUT_NAMED).format(rows=rows, named=ids)
    counts = _COUNTS.format(bucket_ms=bucket_ms, recent_ms=recent_ms, until_ms=recent_ms + RECENT_MS - 1)
    settings = f"{_settings(max_rows)}, {limits(len(match_ids))}"
    return _with_pending(pending, f"{counts} FROM ({units}) AS units {_GROUPING} {settings}")


def limits(matches: int, *, groups: int = 0) -> str:
    """Return the settings that break off an answer that would be too long, with a code of :data:`TOO_LONG`.

    Args:
        matches: how many it is about.
        groups: most groups of one match; 0: any number.
    """
    max_bytes, max_groups = (
        min(matches, ANSWER_MAX_MATCHES) * ANSWER_MAX_BYTES,
        min(matches, GROUPS_MAX_MATCHES) * groups,
    )
    grouped = f", max_rows_to_group_by = {max_groups:d}, group_by_overflow_mode = 'throw'" if groups else ""
    return f"max_result_rows = 0, max_result_bytes = {max_bytes:d}, result_overflow_mode = 'throw'{grouped}"


def _names(database: str, match_ids: Sequence[str]) -> dict[str, str]:
    matches = ", ".join(map(heredoc, match_ids))
    # A comparison is planned faster than a set of one.
    return {"database": database, "is_one": f"= {matches}" if len(match_ids) == 1 else f"IN ({matches})"}


def _united(names: Mapping[str, str]) -> str:
    """Return the statement for the rows that stand, including those of the temporary table ``pending``."""
    return f"{_STORED.format(**names)} {_BUT_PENDING} UNION ALL SELECT * FROM ({_CONTESTED.format(**names)})"


def _with_pending(pending: Sequence[bytes], answer: str) -> tuple[str, ...]:
    return (pending_statement(pending), answer) if pending else (answer,)


def _settings(max_rows: int) -> str:
    limit = f", max_rows_to_read = {max_rows:d}, read_overflow_mode = 'throw'" if max_rows else ""
    return f"{SETTINGS}, {_SKIPPING}, max_threads = 1{limit}"


def recent_statement(database: str, pending: Mapping[str, int], *, limit: int, before: tuple[int, str] | None) -> str:
    """Return the statement that lists (match id, last receipt in ms), newest first.

    Args:
        database: its name.
        pending: last receipt in ms of matches with pending rows.
        limit: most matches to list.
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
