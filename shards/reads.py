"""Reading matches: the destination table and what is still pending, counted together.

Pending rows are taken *before* the statement is sent, and travel ahead of it as a temporary table. A row that lands in
``events`` meanwhile is in both, and counts once; so an answer holds everything that was acknowledged before it was
asked for, and never less than the answer before. Buffer tables are not read: they undercount while they flush.

A retraction withdraws the event it names, of the same match, whichever of the two was received first. To find that
out in one pass, the statement keeps each event that *any* stored or pending version of a retraction names in groups
of its own ("about"); which of those are withdrawn is decided here, by the retractions that count. A retraction that is
withdrawn itself has withdrawn its event all the same.
"""

import json
import time
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import attrs
import msgspec

from shards.read_statements import HIGHLIGHT_TYPES, HIGHLIGHTS, NOBODY, aggregates_statements, recent_statement
from shards.stores.base import Store

__all__ = ["HIGHLIGHT_TYPES", "Highlight", "MatchAggregates", "MatchReads"]


@attrs.frozen
class Highlight:
    """An event worth a line in the feed.

    Attributes:
        event_id: canonical UUID.
        event_type: one of :data:`HIGHLIGHT_TYPES`.
        timestamp: when it happened, ms since the epoch.
        team_id: empty where absent.
        player_id: empty where absent.
        metadata: JSON text as it was sent.
        retracted: withdrawn by a retraction; shown struck out.
        received_ms: when it was received, ms since the epoch.
    """

    event_id: str
    event_type: str
    timestamp: int
    team_id: str
    player_id: str
    metadata: str
    retracted: bool
    received_ms: int = 0


@attrs.frozen(kw_only=True)
class MatchAggregates:
    """What was counted over the distinct, not retracted events of one match.

    Attributes:
        match_id: the match.
        total: events; the sums of ``by_type_team`` and of ``by_minute`` equal it.
        first_ms: earliest ``timestamp``, ms since the epoch; 0 if ``total`` is.
        last_ms: latest ``timestamp``; 0 if ``total`` is.
        last_received_ms: when an event of the match was last received, retracted ones included.
        by_type_team: (event type, team id or "", count), sorted.
        by_minute: (start of the UTC minute in ms, count), sorted.
        start_metadata: metadata of the earliest ``match_start``, "" if there is none.
        ended: there is a ``match_end``.
        highlights: newest first, at most 100; retracted ones are kept and marked.
        pending_events: accepted, but on disk only, and not in these figures yet.
        as_of_ms: when counting began: whatever was acknowledged before is in. Not part of equality.
    """

    match_id: str
    total: int
    first_ms: int
    last_ms: int
    last_received_ms: int
    by_type_team: tuple[tuple[str, str, int], ...]
    by_minute: tuple[tuple[int, int], ...]
    start_metadata: str = ""
    ended: bool = False
    highlights: tuple[Highlight, ...] = ()
    pending_events: int = 0
    as_of_ms: int = attrs.field(default=0, eq=False)


class PendingRows(Protocol):
    """See :class:`shards.shardset.Pending`."""

    @property
    def rows(self) -> tuple[bytes, ...]: ...
    @property
    def unread(self) -> Mapping[str, int]: ...


class PendingSource(Protocol):
    """What the reads need of :class:`shards.shardset.ShardSet`."""

    def pending(self, match_ids: Collection[str]) -> PendingRows: ...
    def pending_matches(self) -> frozenset[str]: ...


class MatchReads:
    """Reads of matches; every answer holds all that was acknowledged before it was asked for.

    Methods raise :class:`shards.errors.StoreError` when ClickHouse fails or is away.
    """

    def __init__(self, store: Store, shards: PendingSource) -> None:
        self._store = store
        self._shards = shards

    async def aggregates(self, match_ids: Sequence[str]) -> dict[str, MatchAggregates]:
        """Return the aggregates of each match; those nothing was ever received of are absent."""
        wanted = list(dict.fromkeys(match_ids))
        if not wanted:
            return {}
        as_of_ms = time.time_ns() // 1_000_000
        pending = self._shards.pending(wanted)
        answer = await self._store.fetch(
            *aggregates_statements(self._store.database, wanted, pending.rows, _targets(pending.rows))
        )
        groups: dict[str, list[_Group]] = {}
        for values in answer:
            group = _Group(*values)
            groups.setdefault(group.match_id, []).append(group)
        return {
            match_id: _aggregates(match_id, groups.get(match_id, ()), pending.unread.get(match_id, 0), as_of_ms)
            for match_id in wanted
            if match_id in groups or pending.unread.get(match_id, 0)
        }

    async def recent_matches(self, *, limit: int, before: tuple[int, str] | None = None) -> list[tuple[str, int]]:
        """Return (match id, last receipt in ms since the epoch), newest activity first.

        Args:
            limit: how many at most.
            before: (last receipt in ms, match id) of the last match of the page before.
        """
        matches = self._shards.pending_matches()
        pending = self._shards.pending(matches)
        last = _last_receipts(matches, pending.rows)
        statement = recent_statement(self._store.database, last, limit=limit, before=before)
        return [(match_id, last) for match_id, last in await self._store.fetch(statement)]


_Key = TypeVar("_Key")


class _Receipt(msgspec.Struct):
    """The fields of a pending row that say whose it is, and when it was received."""

    match_id: str
    received_ns: int


class _Correction(msgspec.Struct):
    """The fields of a pending retraction."""

    match_id: str
    metadata: str


_receipt = msgspec.json.Decoder(_Receipt)
_correction = msgspec.json.Decoder(_Correction)


@attrs.frozen
class _Group:
    """One row of the answer: a minute (then ``event_type`` is empty) or a type and team, of one match.

    ``named`` is the event's id if a retraction may have withdrawn it, then the group is of that event alone.
    """

    match_id: str
    named: str
    minute_ms: int
    event_type: str
    team_id: str
    count: int
    first_ms: int
    last_ms: int
    received_ms: int
    start: tuple[int, int, str]  # timestamp, rank by receipt, metadata; of the earliest match_start, else 0, 0, ""
    targets: Sequence[str]
    highlights: Sequence[tuple[int, int, str, str, str]]


def _aggregates(match_id: str, groups: Sequence[_Group], unread: int, as_of_ms: int) -> MatchAggregates:
    """Put the groups of one match together, leaving out what was withdrawn."""
    withdrawn = {target for group in groups for target in group.targets}
    counted = [group for group in groups if group.named == NOBODY or group.named not in withdrawn]
    typed = [group for group in counted if group.event_type]
    starts = [group.start for group in typed if group.start[2]]
    by_minute = _sums((group.minute_ms, group.count) for group in counted if not group.event_type)
    by_type_team = _sums(((group.event_type, group.team_id), group.count) for group in typed)
    return MatchAggregates(
        match_id=match_id,
        total=sum(group.count for group in typed),
        first_ms=min((group.first_ms for group in typed), default=0),
        last_ms=max((group.last_ms for group in typed), default=0),
        last_received_ms=max((group.received_ms for group in groups), default=as_of_ms),
        by_type_team=tuple((event_type, team, n) for (event_type, team), n in sorted(by_type_team.items())),
        by_minute=tuple(sorted(by_minute.items())),
        start_metadata=min(starts)[2] if starts else "",
        ended=any(group.event_type == "match_end" for group in typed),
        highlights=_highlights(groups, withdrawn),
        pending_events=unread,
        as_of_ms=as_of_ms,
    )


def _sums(counts: Iterable[tuple[_Key, int]]) -> dict[_Key, int]:
    sums: dict[_Key, int] = {}
    for key, count in counts:
        sums[key] = sums.get(key, 0) + count
    return sums


def _highlights(groups: Iterable[_Group], withdrawn: Collection[str]) -> tuple[Highlight, ...]:
    """Newest first; of the same time, the one received later first."""
    found = [(*values, group.event_type, group.team_id) for group in groups for values in group.highlights]
    return tuple(
        Highlight(
            event_id=event_id,
            event_type=event_type,
            timestamp=-negative_at,
            team_id=team_id,
            player_id=player_id,
            metadata=metadata,
            retracted=event_id in withdrawn,
            received_ms=-negative_received,
        )
        for negative_at, negative_received, event_id, player_id, metadata, event_type, team_id in sorted(found)[
            :HIGHLIGHTS
        ]
    )


def _targets(rows: Iterable[bytes]) -> set[tuple[str, str]]:
    """Return (match id, event id) of the events that pending retractions name.

    Quotes inside of strings are escaped in a row, so the marker can only be the field itself.
    """
    targets = set()
    for row in rows:
        if b'"event_type":"retraction"' in row:
            correction = _correction.decode(row)
            target = _canonical(correction.metadata)
            if target:
                targets.add((correction.match_id, target))
    return targets


def _canonical(metadata: str) -> str:
    """Return the id that a retraction's metadata names, "" if it is none."""
    try:
        return str(uuid.UUID(json.loads(metadata)["eventId"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ""


def _last_receipts(matches: Iterable[str], rows: Iterable[bytes]) -> dict[str, int]:
    """Return the last receipt in ms of each match; now, where its rows are on disk only."""
    last: dict[str, int] = {}
    for row in rows:
        receipt = _receipt.decode(row)
        received_ms = receipt.received_ns // 1_000_000
        last[receipt.match_id] = max(received_ms, last.get(receipt.match_id, 0))
    now_ms = time.time_ns() // 1_000_000
    return {match_id: last.get(match_id, now_ms) for match_id in matches}
