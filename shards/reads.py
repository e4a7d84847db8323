"""Reading matches: the destination table and what is still pending, counted together.

Pending rows are taken *before* the statement is sent, and travel ahead of it as a temporary table. A row that lands in
``events`` meanwhile is in both, and counts once; so an answer holds everything that was acknowledged before it was
asked for, and never less than the answer before. Buffer tables are not read: they undercount while they flush.

A retraction withdraws the event it names, of the same match, whichever of the two was received first. To find that
out in one pass, the statement keeps each event that *any* stored or pending version of a retraction names in groups
of its own ("about"); which of those are withdrawn is decided here, by the retractions that count. A retraction that is
withdrawn itself has withdrawn its event all the same.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import attrs
import msgspec

from shards.aggregates import (
    HIGHLIGHT_TYPES,
    MINUTE_MS,
    Group,
    Highlight,
    MatchAggregates,
    aggregates_of,
    retracted_id,
)
from shards.large_matches import LARGE_EVENTS, LargeMatches
from shards.read_statements import aggregates_statements, recent_statement
from shards.stores.base import Store

__all__ = ["HIGHLIGHT_TYPES", "Highlight", "MatchAggregates", "MatchReads"]


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

    def __init__(self, store: Store, shards: PendingSource, *, large_events: int = LARGE_EVENTS) -> None:
        self._store = store
        self._shards = shards
        self._large = LargeMatches(store, large_events=large_events)

    async def aggregates(self, match_ids: Sequence[str], *, bucket_ms: int = MINUTE_MS) -> dict[str, MatchAggregates]:
        """Return the aggregates of each match; those nothing was ever received of are absent.

        Args:
            match_ids: which.
            bucket_ms: length of the buckets of the curve: 10,000, or a multiple of it that divides a minute.
        """
        wanted = list(dict.fromkeys(match_ids))
        found: dict[str, MatchAggregates] = {}
        for match_id in await self._large.among(wanted) if wanted else ():
            found |= await self._large_one(match_id, bucket_ms)
        found |= await self._row_by_row([match_id for match_id in wanted if match_id not in found], bucket_ms)
        return {match_id: found[match_id] for match_id in wanted if match_id in found}

    async def _large_one(self, match_id: str, bucket_ms: int) -> dict[str, MatchAggregates]:
        as_of_ms = time.time_ns() // 1_000_000
        pending = self._shards.pending([match_id])
        targets = {target for _, target in _targets(pending.rows)}
        aggregates = await self._large.aggregates(
            match_id, pending=pending.rows, targets=targets, bucket_ms=bucket_ms, as_of_ms=as_of_ms
        )
        if aggregates is None:
            return {}
        return {match_id: attrs.evolve(aggregates, pending_events=pending.unread.get(match_id, 0))}

    async def _row_by_row(self, match_ids: Sequence[str], bucket_ms: int) -> dict[str, MatchAggregates]:
        if not match_ids:
            return {}
        as_of_ms = time.time_ns() // 1_000_000
        pending = self._shards.pending(match_ids)
        statements = aggregates_statements(
            self._store.database, match_ids, pending.rows, _targets(pending.rows), bucket_ms=bucket_ms
        )
        groups: dict[str, list[Group]] = {}
        for values in await self._store.fetch(*statements):
            group = Group(*values)
            groups.setdefault(group.match_id, []).append(group)
        found = {}
        for match_id in match_ids:
            unread = pending.unread.get(match_id, 0)
            if match_id in groups or unread:
                found[match_id] = aggregates_of(
                    match_id, groups.get(match_id, ()), bucket_ms=bucket_ms, as_of_ms=as_of_ms, unread=unread
                )
                self._large.note(match_id, found[match_id].total)
        return found

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


def _targets(rows: Iterable[bytes]) -> set[tuple[str, str]]:
    """Return (match id, event id) of the events that pending retractions name.

    Quotes inside of strings are escaped in a row, so the marker can only be the field itself.
    """
    targets = set()
    for row in rows:
        if b'"event_type":"retraction"' in row:
            correction = _correction.decode(row)
            target = retracted_id(correction.metadata)
            if target:
                targets.add((correction.match_id, target))
    return targets


def _last_receipts(matches: Iterable[str], rows: Iterable[bytes]) -> dict[str, int]:
    """Return the last receipt in ms of each match; now, where its rows are on disk only."""
    last: dict[str, int] = {}
    for row in rows:
        receipt = _receipt.decode(row)
        received_ms = receipt.received_ns // 1_000_000
        last[receipt.match_id] = max(received_ms, last.get(receipt.match_id, 0))
    now_ms = time.time_ns() // 1_000_000
    return {match_id: last.get(match_id, now_ms) for match_id in matches}
