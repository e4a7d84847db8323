"""Counting matches that are too large to be read row by row: from what each part of the table counted itself.

The parts' own counts hold every copy of an event that lies in two parts, so one must know which events those are. To
find them all takes a look at every id of the match; but only once. From then on only rows in new parts are looked for
among the others. What is known is kept in memory and is never needed: without it the next read finds it out again.

Each answer is proven by itself: it says which parts it was counted from, and counts only if these are of the table that
all this is known of, and if every retraction in it was known. Events with rows in parts that are not known yet are
looked up in that answer, as those with copies are.
"""

import asyncio
import time
from collections.abc import Collection, Sequence

import attrs
from cachetools import LRUCache

from shards.logger import get_logger
from shards.reads.aggregates import Counted, Extremes, MatchAggregates, aggregates_of
from shards.reads.large.answer import TableState, counted_of
from shards.reads.large.known_parts import KnownParts
from shards.reads.large.statements import copies_statement, count_statements, sizes_statement, state_statement
from shards.stores.base import Store

_log = get_logger(__name__)

LARGE_EVENTS = 150_000
"""From how many events on a match is counted this way; measured in ``make bench``."""

COPIES_MAX = 200_000
"""A match with more events in several rows than this is read row by row until merges have removed some."""

COPIES_KEPT = 1_000_000
"""Beyond this many of all matches together, what is known of those that were asked for longest ago is forgotten."""

NEW_ROWS_MAX = 300_000
"""With more new rows than this, looking at all ids at once is cheaper."""

SLICE_ROWS = 2_000_000
"""Looking at all ids goes by slices, so that it takes some 150 MB of ClickHouse's memory, however large the match."""

ONE_THREAD_ROWS = 2_000_000
"""Fewer rows are counted by one thread of ClickHouse: to set up more takes longer than they save."""

PAUSE_S = 30.0
TRIES = 4
LARGE_KEPT = 256
SMALL_KEPT = 16_384
RESTART_TOLERANCE_S = 2


@attrs.define
class _Known:
    """What is known of one match.

    Attributes:
        table: id of the table that all this is about.
        started_s: start of its server, s since the epoch.
        latest: what the last answer said of itself.
        parts: that were looked at.
        copied: has every event with more than one row in ``parts``.
        named: every event that a retraction was seen to name.
        exact_extremes: the extremes cannot be told from the parts' own, as long as these are the same.
        until: up to this moment of the monotonic clock the match is read row by row.
        asked_at: when it was last asked for, on that clock.
    """

    table: str = ""
    started_s: int = 0
    latest: TableState | None = None
    parts: KnownParts = attrs.field(factory=KnownParts)
    copied: set[str] = attrs.field(factory=set)
    named: set[str] = attrs.field(factory=set)
    exact_extremes: bool = False
    until: float = 0.0
    asked_at: float = 0.0

    def forget(self, state: TableState) -> None:
        """Begin anew, with nothing but the identity of the table."""
        self.table, self.started_s = state.table, state.started_s
        self.drop()

    def drop(self) -> None:
        """Know of no part any more."""
        self.parts, self.copied = KnownParts(), set()

    def is_of(self, state: TableState) -> bool:
        """Say whether all this is about the same table, with all that it held."""
        same = self.table == state.table and abs(self.started_s - state.started_s) <= RESTART_TOLERANCE_S
        return same and not self.parts.has_lost_blocks(state.parts)


class LargeMatches:
    """The large matches that were asked for lately.

    Args:
        store: where they are.
        large_events: from how many events on a match is one of them.
    """

    def __init__(self, store: Store, *, large_events: int = LARGE_EVENTS) -> None:
        self._store = store
        self._large_events = large_events
        self._known: LRUCache[str, _Known] = LRUCache(LARGE_KEPT)
        self._small: LRUCache[str, int] = LRUCache(SMALL_KEPT)

    def knows(self, match_id: str) -> bool:
        """Say whether it is known how large a match is."""
        return match_id in self._known or match_id in self._small

    def events(self, match_id: str) -> int:
        """Return how many events a match had when it was last counted, 0 where that is not known.

        Of a large one only how many it takes to be one.
        """
        return self._large_events if match_id in self._known else self._small.get(match_id, 0)

    async def among(self, match_ids: Collection[str]) -> list[str]:
        """Return the large ones, but for those that have to be read row by row for now. StoreError: as below."""
        unknown = [match_id for match_id in match_ids if not self.knows(match_id)]
        if unknown:
            rows = dict(await self._store.fetch(sizes_statement(self._store.database, unknown)))
            for match_id in unknown:
                self.note(match_id, rows.get(match_id, 0))
        now = time.monotonic()
        return [match_id for match_id in match_ids if match_id in self._known and self._known[match_id].until <= now]

    def note(self, match_id: str, events: int) -> None:
        """Remember how large a match is."""
        if events >= self._large_events:
            self._small.pop(match_id, None)
            if match_id not in self._known:
                self._known[match_id] = _Known()
        else:
            self._small[match_id] = events

    async def aggregates(
        self, match_id: str, *, pending: Sequence[bytes], targets: Collection[str], bucket_ms: int, as_of_ms: int
    ) -> MatchAggregates | None:
        """Return what was counted, or None: this match has to be read row by row this time.

        Args:
            match_id: one that was :meth:`among` others.
            pending: payloads of its WAL records, taken before the call.
            targets: ids of events that these retract.
            bucket_ms: length of a bucket of the curve.
            as_of_ms: when ``pending`` was taken.

        Raises:
            StoreError: ClickHouse failed or is away.
        """
        known = self._asked_for(match_id)
        if known.latest is None:
            statement = state_statement(self._store.database, match_id)
            known.latest, _ = TableState.taken_from(await self._store.fetch(statement))
        for _ in range(TRIES):
            if not await self._learn(match_id, known, known.latest):
                return None
            self._forget_oldest(known)
            named = known.named | set(targets)
            state, counted, extremes = await self._count(
                match_id, known, known.latest, pending=pending, named=named, bucket_ms=bucket_ms
            )
            known.exact_extremes &= known.latest.parts == state.parts
            known.latest = state
            if not state.parts and not pending:
                self._known.pop(match_id, None)  # nothing is left of it
                return None
            if known.is_of(state) and counted.withdrawn <= named and extremes is not None:
                return await asyncio.to_thread(
                    aggregates_of, match_id, counted, bucket_ms=bucket_ms, as_of_ms=as_of_ms, extremes=extremes
                )
            known.named |= counted.withdrawn
            known.exact_extremes |= extremes is None
        return None

    def _asked_for(self, match_id: str) -> _Known:
        """Return what is known of a match, and remember that it was asked for last."""
        known = self._known.get(match_id) or _Known()
        known.asked_at = time.monotonic()
        return known

    async def _count(
        self,
        match_id: str,
        known: _Known,
        latest: TableState,
        *,
        pending: Sequence[bytes],
        named: Collection[str],
        bucket_ms: int,
    ) -> tuple[TableState, Counted, Extremes | None]:
        """Return what is counted with what is known, and from which parts; no extremes where they do not show."""
        statements = count_statements(
            self._store.database,
            match_id,
            pending=pending,
            known=known.parts.intervals,
            copied=known.copied,
            named=named,
            bucket_ms=bucket_ms,
            exact_extremes=known.exact_extremes,
            threads=1 if sum(latest.parts.values()) < ONE_THREAD_ROWS else 0,
        )
        state, texts = TableState.taken_from(await self._store.fetch(*statements))
        counted, extremes = await asyncio.to_thread(counted_of, texts, bucket_ms=bucket_ms)
        return state, counted, extremes

    def _forget_oldest(self, latest: _Known) -> None:
        excess = sum(len(known.copied) for known in self._known.values()) - COPIES_KEPT
        for known in sorted(self._known.values(), key=lambda known: known.asked_at):
            if excess <= 0:
                return
            if known is not latest:
                excess -= len(known.copied)
                known.drop()

    async def _learn(self, match_id: str, known: _Known, state: TableState) -> bool:
        """Find the copies among the rows of parts that are not known yet. False: there are too many of them."""
        if not known.is_of(state):
            known.forget(state)
        new_rows = sum(rows for part, rows in state.parts.items() if not known.parts.covers(part))
        if not new_rows:
            return True
        some_known = any(map(known.parts.covers, state.parts))
        if some_known and new_rows <= NEW_ROWS_MAX and await self._learn_copies(match_id, known):
            return True
        known.forget(state)
        slices = 1 + sum(state.parts.values()) // SLICE_ROWS
        if await self._learn_copies(match_id, known, slices=slices):
            return True
        _log.info("match read row by row", reason="too many copies", copies_max=COPIES_MAX, pause_s=PAUSE_S)
        known.forget(state)
        known.until = time.monotonic() + PAUSE_S
        return False

    async def _learn_copies(self, match_id: str, known: _Known, *, slices: int = 1) -> bool:
        """Look for copies, slice by slice. Known are then the parts that were there for the first of them."""
        first: TableState | None = None
        parts, runs = known.parts, known.parts.intervals
        for index in range(slices):
            statement = copies_statement(
                self._store.database, match_id, known=runs, slice_=(index, slices), limit=COPIES_MAX + 1
            )
            state, copied = TableState.taken_from(await self._store.fetch(statement))
            first = first or state
            known.copied.update(copied)
            if len(known.copied) > COPIES_MAX:
                return False
            if not known.is_of(state):
                return True  # the answer that is counted next will not be believed
        if first is not None and known.parts is parts:  # else it was forgotten meanwhile, for the sake of others
            parts.add(first.parts)
        return True
