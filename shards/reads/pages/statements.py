# ruff: noqa: S608 (names are constants; text of others enters by heredoc() only)
"""The statements of :mod:`shards.reads.pages.pages`. ``bitNot(version)`` is a row's order.

One statement reads the newest rows of a match as they lie, and others tell which of them stand. With 10,000,000 events
in 18 overlapping parts, a page of 100 took 180 ms that way, and 970 ms in one statement under ``FINAL`` (2 cores, not
idle). Both read wide columns only of the rows of the page (lazy materialization).
"""

from collections.abc import Sequence

import attrs

from shards.events import Event
from shards.stores.sql import heredoc

_ROW = """toString(event_id), toString(event_type), toUnixTimestamp64Milli(timestamp), team_id, player_id, metadata,
    toUnixTimestamp64Milli(received_at) * 1000000, bitNot(version)"""
# Copies of an event may lie in two partitions.
_SETTINGS = "SETTINGS do_not_merge_across_partitions_select_final = 0, query_plan_optimize_lazy_materialization = 1"
_LATEST_MS = 7_258_118_400_000
"""Start of the year 2200, ms since the epoch: ClickHouse's times end not much later."""


@attrs.frozen
class Position:
    """The place of an event in the order of its match."""

    timestamp_ms: int
    order_ns: int
    event_id: str


@attrs.frozen(kw_only=True)
class EventQuery:
    """The events of a match to read.

    Attributes:
        match_id: the match.
        types: only events of these types; empty: of all.
        team_id: only events of this team; empty: of all teams, and of none.
        from_ms: only events with this ``timestamp`` or a later one, ms since the epoch.
        to_ms: only events with an earlier ``timestamp``.
        limit: most events of a page, at least 1.
        after: position where the page before ended.
    """

    match_id: str
    types: frozenset[str] = frozenset()
    team_id: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    limit: int
    after: Position | None = None

    def wants(self, event: Event) -> bool:
        """Say whether an event of the match is asked for, wherever the page begins."""
        return (
            (not self.types or event.event_type in self.types)
            and self.team_id in ("", event.team_id)
            and (self.from_ms is None or event.timestamp >= self.from_ms)
            and (self.to_ms is None or event.timestamp < self.to_ms)
        )


def rows_statement(database: str, query: EventQuery, after: Position | None, *, limit: int, final: bool) -> str:
    """Return the statement for the stored rows that are asked for, newest first, from behind a position.

    Without ``final`` they include rows that do not stand, because the event was received before. Columns: event id,
    type, timestamp in ms, team id, player id, metadata, time of receipt in ns, cut to ms, and order.
    """
    conditions = [f"match_id = {heredoc(query.match_id)}"]
    if query.types:
        conditions.append(f"event_type IN ({', '.join(map(heredoc, sorted(query.types)))})")
    if query.team_id:
        conditions.append(f"team_id = {heredoc(query.team_id)}")
    if query.from_ms is not None:
        conditions.append(f"timestamp >= {_moment(query.from_ms)}")
    if query.to_ms is not None:
        conditions.append(f"timestamp < {_moment(query.to_ms)}")
    if after is not None:
        conditions.append(_behind(after))
    return (
        f"SELECT {_ROW} FROM {database}.events {'FINAL' if final else ''} WHERE {' AND '.join(conditions)} "
        f"ORDER BY timestamp DESC, version, event_id DESC LIMIT {limit:d} {_SETTINGS}"
    )


def first_orders_statement(database: str, match_id: str, event_ids: Sequence[str]) -> str:
    """Return the statement for (event id, order of the copy that stands) of at least one event."""
    return (
        f"SELECT toString(event_id), bitNot(max(version)) FROM {database}.events "
        f"WHERE match_id = {heredoc(match_id)} AND event_id IN ({_texts(event_ids)}) GROUP BY event_id"
    )


def withdrawing_statement(database: str, match_id: str, event_ids: Sequence[str]) -> str:
    """Return the statement for the stored events that withdraw one of some events, including rows that do not stand.

    Columns: event id, order, id of the event named.
    """
    return (
        f"SELECT toString(event_id), bitNot(version), toString(target) AS named "
        f"FROM {database}.events PREWHERE target IN ({_texts(event_ids)}) WHERE match_id = {heredoc(match_id)}"
    )


def known_statement(database: str, match_id: str) -> str:
    """Return the statement whose answer has a row if anything is stored of a match."""
    return f"SELECT 1 FROM {database}.events WHERE match_id = {heredoc(match_id)} LIMIT 1"


def _behind(position: Position) -> str:
    moment, version = _moment(position.timestamp_ms), ~position.order_ns & (1 << 64) - 1
    event_id = f"toUUID({heredoc(position.event_id)})"
    later = f"version > {version:d} OR (version = {version:d} AND event_id < {event_id})"
    return f"timestamp <= {moment} AND (timestamp < {moment} OR {later})"


def _moment(milliseconds: int) -> str:
    return f"fromUnixTimestamp64Milli({max(0, min(milliseconds, _LATEST_MS)):d}, 'UTC')"


def _texts(texts: Sequence[str]) -> str:
    return ", ".join(map(heredoc, texts))
