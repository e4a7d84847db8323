"""Reads of matches: the destination table and the pending rows, counted together.

Pending rows are taken *before* the statement is sent, and travel ahead of it as a temporary table. A row that lands in
``events`` meanwhile is in both, and counts once. So an answer holds every event that was acknowledged before it was
asked for, and never fewer than the answer before. Buffer tables are not read, because they undercount while they flush.

A retraction, and an event that takes the place of another, withdraw the event of the same match that they name,
whichever was received first. A plain statement counts all events, and withdrawn ones are taken off its answer
(:mod:`shards.reads.plain_answer`). If the answer does not hold enough for that, as for a withdrawn pass, the match is
"intricate". Another statement then counts each event that is known to be named so apart from all others ("about"). It
is sent again if an event is named that was not known. A withdrawn retraction still withdraws its event.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any, TypeVar

import attrs
from cachetools import LRUCache

from shards.errors import StoreError
from shards.events import head_of, withdrawn_by_rows
from shards.reads.aggregates import MINUTE_MS, MatchAggregates, aggregates_of
from shards.reads.counts import Bucket, Counted, Group, recent_since
from shards.reads.crowded.matches import CrowdedMatches
from shards.reads.large.matches import LARGE_EVENTS, LargeMatches
from shards.reads.plain_answer import CutShort, plain_groups
from shards.reads.source import PendingSource
from shards.reads.statements import TOO_LONG, aggregates_statements, plain_statements, recent_statement
from shards.stores.base import Store

SMALL_MAX_ROWS = 1_000_000
"""Most rows read of a match of unknown size, including rows that share granules with it."""

LISTED_EVENTS = 20_000
"""Most events whose buckets an answer lists one by one, to be counted here; of more that would be a long text."""

LONG_ANSWER = 1 << 20
MANY_TEAMS = 500
"""Characters of an answer about one match, and other teams, from which on the match is counted as a crowded one."""

NAMED_KEPT = 500_000
"""Most events that are remembered because others of intricate matches withdraw them, each match counted as one more."""

TEXT_AT_ONCE = 1 << 16
SIZE_AT_ONCE = 1_000
"""Most characters, and most groups, highlights and buckets together, of answers put together in the event loop."""

_NOTHING = Counted()

_Result = TypeVar("_Result")


@attrs.frozen
class _Wanted:
    """The options that statements share; see :func:`shards.reads.statements.aggregates_statements`."""

    bucket_ms: int
    recent_ms: int
    max_rows: int


class MatchReads:
    """Reads of matches; every answer holds all events that were acknowledged before it was asked for.

    Methods raise :class:`shards.errors.StoreError` when ClickHouse fails or is away.
    """

    def __init__(self, store: Store, source: PendingSource, *, large_events: int = LARGE_EVENTS) -> None:
        self._store = store
        self._source = source
        self._large = LargeMatches(store, large_events=large_events)
        self._crowded = CrowdedMatches(store)
        self._named: LRUCache[str, Set[str]] = LRUCache(
            NAMED_KEPT, getsizeof=lambda named: min(NAMED_KEPT, len(named) + 1)
        )

    async def aggregates(self, match_ids: Sequence[str], *, bucket_ms: int = MINUTE_MS) -> dict[str, MatchAggregates]:
        """Return the aggregates of each match; matches of which nothing was ever received are absent.

        Args:
            match_ids: the matches.
            bucket_ms: length of the buckets of the curve: 10,000, or a multiple of it that divides a minute.
        """
        wanted = self._readable(match_ids)
        crowded = self._crowded.among(wanted)
        found = await self._crowded_ones(crowded, bucket_ms)
        others = [match_id for match_id in wanted if match_id not in crowded] if crowded else wanted
        try:
            await self._add_others(found, others, bucket_ms)
        except StoreError as error:
            if error.code not in TOO_LONG:
                raise
            found |= await self._crowded_ones([match_id for match_id in others if match_id not in found], bucket_ms)
        # Asked again, because an erasure may have begun meanwhile.
        return {match_id: found[match_id] for match_id in self._readable(wanted) if match_id in found}

    def _readable(self, match_ids: Iterable[str]) -> list[str]:
        """Return, each once, the matches that are not being erased."""
        return [match_id for match_id in dict.fromkeys(match_ids) if not self._source.is_erasing(match_id)]

    def forget(self, match_ids: Collection[str]) -> None:
        """Forget what is remembered of matches that are erased."""
        for match_id in match_ids:
            self._named.pop(match_id, None)
            self._large.forget(match_id)
            self._crowded.forget(match_id)

    async def _add_others(self, found: dict[str, MatchAggregates], match_ids: Sequence[str], bucket_ms: int) -> None:
        """Add the aggregates of matches that are not known to be crowded to those found."""
        if (small := await self._if_small(match_ids, bucket_ms)) is not None:
            found |= small
            return
        for match_id in await self._large.among(match_ids):
            found |= await self._large_one(match_id, bucket_ms)
        found |= await self._row_by_row([match_id for match_id in match_ids if match_id not in found], bucket_ms)

    async def _crowded_ones(self, match_ids: Sequence[str], bucket_ms: int) -> dict[str, MatchAggregates]:
        if not match_ids:
            return {}
        as_of_ms = time.time_ns() // 1_000_000
        pending = self._source.pending(match_ids)
        return await self._crowded.aggregates(match_ids, pending, bucket_ms=bucket_ms, as_of_ms=as_of_ms)

    async def _if_small(self, match_ids: Sequence[str], bucket_ms: int) -> dict[str, MatchAggregates] | None:
        """Count a single match of unknown size, if few rows have to be read, as for nearly all; else return None."""
        if len(match_ids) != 1 or self._large.knows(match_ids[0]):
            return None
        try:
            return await self._row_by_row(match_ids, bucket_ms, max_rows=SMALL_MAX_ROWS)
        except StoreError as error:
            if error.code not in TOO_LONG:
                raise
            return None

    async def _large_one(self, match_id: str, bucket_ms: int) -> dict[str, MatchAggregates]:
        as_of_ms = time.time_ns() // 1_000_000
        pending = self._source.pending([match_id])
        aggregates = await self._large.aggregates(
            match_id,
            pending=pending.rows,
            targets=withdrawn_by_rows(pending.rows),
            bucket_ms=bucket_ms,
            as_of_ms=as_of_ms,
        )
        if aggregates is None:
            return {}
        return {match_id: attrs.evolve(aggregates, pending_events=pending.unread.get(match_id, 0))}

    async def _row_by_row(
        self, match_ids: Sequence[str], bucket_ms: int, *, max_rows: int = 0
    ) -> dict[str, MatchAggregates]:
        if not match_ids:
            return {}
        as_of_ms = time.time_ns() // 1_000_000
        pending = self._source.pending(match_ids)
        counted = await self._counted(match_ids, pending.rows, _Wanted(bucket_ms, recent_since(as_of_ms), max_rows))
        put_together = partial(
            _put_together, counted, match_ids, pending.unread, bucket_ms=bucket_ms, as_of_ms=as_of_ms
        )
        size = sum(map(_size, counted.values()))
        found = await _work_out(put_together, size <= SIZE_AT_ONCE)
        for match_id in match_ids:
            self._large.note(match_id, found[match_id].total if match_id in found else 0)
            if match_id in found and found[match_id].other_teams >= MANY_TEAMS:
                self._crowded.note(match_id)
        return found

    async def _counted(
        self, match_ids: Sequence[str], pending: Sequence[bytes], wanted: "_Wanted"
    ) -> dict[str, Counted]:
        """Count matches by the plain statement, and those that are known or found to be intricate by the other."""
        known = {match_id: self._named[match_id] for match_id in match_ids if match_id in self._named}
        counted, intricate = await self._plain(
            [match_id for match_id in match_ids if match_id not in known], pending, wanted
        )
        if intricate := intricate | known:
            apart = await self._intricate(intricate, pending, wanted)
            # Of other matches that answer holds only the pending rows.
            counted |= {match_id: apart[match_id] for match_id in intricate if match_id in apart}
        return counted

    async def _plain(
        self, match_ids: Sequence[str], pending: Sequence[bytes], wanted: "_Wanted"
    ) -> tuple[dict[str, Counted], dict[str, Set[str]]]:
        """Return the counts, and the intricate matches with the ids of the events withdrawn in them."""
        if not match_ids:
            return {}, {}
        ask = partial(self._ask_plain, match_ids, pending, wanted)
        if len(match_ids) == 1 and self._large.events(match_ids[0]) <= LISTED_EVENTS:
            with contextlib.suppress(CutShort):
                return await ask(listed=LISTED_EVENTS)
        return await ask(listed=0)

    async def _ask_plain(
        self, match_ids: Sequence[str], pending: Sequence[bytes], wanted: "_Wanted", *, listed: int
    ) -> tuple[dict[str, Counted], dict[str, Set[str]]]:
        statements = plain_statements(self._store.database, match_ids, pending, listed=listed, **attrs.asdict(wanted))
        rows = await self._store.fetch(*statements)
        size = sum(len(text) for (text,) in rows)
        if size > LONG_ANSWER and len(match_ids) == 1:
            self._crowded.note(match_ids[0])
        short = size <= TEXT_AT_ONCE
        groups = partial(plain_groups, rows, bucket_ms=wanted.bucket_ms, recent_ms=wanted.recent_ms)
        return await _work_out(groups, short)

    async def _intricate(
        self, matches: Mapping[str, Set[str]], pending: Sequence[bytes], wanted: "_Wanted"
    ) -> dict[str, Counted]:
        """Count matches; events that are known to be withdrawn are counted apart."""
        match_ids = list(matches)
        named = withdrawn_by_rows(pending).union(*matches.values())
        while True:
            statements = aggregates_statements(
                self._store.database, match_ids, pending, named=named, **attrs.asdict(wanted)
            )
            counted = await asyncio.to_thread(_by_match, await self._store.fetch(*statements))
            missed = self._note_named(match_ids, counted) - named
            if not missed:
                return counted
            named |= missed

    def _note_named(self, match_ids: Iterable[str], counted: Mapping[str, Counted]) -> Set[str]:
        """Remember and return which events are withdrawn in these matches."""
        all_named: set[str] = set()
        for match_id in match_ids:
            withdrawn = self._named[match_id] = counted.get(match_id, _NOTHING).withdrawn
            all_named |= withdrawn
        return all_named

    async def recent_matches(self, *, limit: int, before: tuple[int, str] | None = None) -> list[tuple[str, int]]:
        """Return (match id, last receipt in ms since the epoch), newest activity first.

        Args:
            limit: most matches to return.
            before: (last receipt in ms, match id) of the last match of the page before.
        """
        matches = self._source.pending_matches()
        pending = self._source.pending(matches)
        last = await asyncio.to_thread(_last_receipts, matches, pending.rows, pending.unread_at)
        statement = recent_statement(self._store.database, last, limit=limit, before=before)
        return [(match_id, last) for match_id, last in await self._store.fetch(statement)]


async def _work_out(work: Callable[[], _Result], short: bool) -> _Result:
    """Do short work (up to 2 ms) here, because a hand-over to a thread and back takes 0.5 ms; else in a thread."""
    return work() if short else await asyncio.to_thread(work)


def _by_match(rows: Iterable[tuple[Any, ...]]) -> dict[str, Counted]:
    groups: defaultdict[str, list[Group]] = defaultdict(list)
    buckets: defaultdict[str, list[Bucket]] = defaultdict(list)
    for match_id, named, bucket_ms, of_feed, weight, *values in rows:
        group = Group(named, *values)
        if bucket_ms:
            buckets[match_id].append(Bucket(named, bucket_ms, group.team_id, of_feed, group.events, weight))
        else:
            groups[match_id].append(group)
    return {match_id: Counted.of(of_match, buckets[match_id]) for match_id, of_match in groups.items()}


def _size(counted: Counted) -> int:
    return len(counted.curves.events) + sum(1 + len(group.highlights) for group in counted.groups)


def _put_together(
    counted: Mapping[str, Counted],
    match_ids: Iterable[str],
    unread: Mapping[str, int],
    *,
    bucket_ms: int,
    as_of_ms: int,
) -> dict[str, MatchAggregates]:
    """Return the aggregates of the matches that are known. Slow for a match of very many minutes."""
    return {
        match_id: aggregates_of(
            match_id,
            counted.get(match_id, _NOTHING),
            bucket_ms=bucket_ms,
            as_of_ms=as_of_ms,
            unread=unread.get(match_id, 0),
        )
        for match_id in match_ids
        if match_id in counted or unread.get(match_id)
    }


def _last_receipts(matches: Iterable[str], rows: Iterable[bytes], unread_at: Mapping[str, int]) -> dict[str, int]:
    """Return the last receipt in ms of each match; its rows on disk only are its newest."""
    last = dict(unread_at)
    for row in rows:
        head = head_of(row)
        received_ms = head.received_ns // 1_000_000
        last[head.match_id] = max(received_ms, last.get(head.match_id, 0))
    now_ms = time.time_ns() // 1_000_000
    return {match_id: last.get(match_id, now_ms) for match_id in matches}
