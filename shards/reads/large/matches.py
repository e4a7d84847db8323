"""Counting matches that are too large to be read row by row, from the counts that each part of the table keeps.

An event with copies in two parts is in the counts of both, so these events must be known. Finding them takes one look
at every id of the match. From then on only rows in new parts are looked for among the others. This knowledge is kept in
memory, and may be lost: the next read finds it again.

Each answer is proven by itself. It names the parts it was counted from, and is used only if these are of the known
table, and if every event was known that it says is withdrawn. Events with rows in unknown parts are looked up in that
answer, as those with copies are.
"""

import asyncio
import time
from collections.abc import Collection, Sequence

import attrs
from cachetools import LRUCache

from shards.logger import get_logger
from shards.reads.aggregates import MatchAggregates, aggregates_of
from shards.reads.counts import Counted, Extremes, recent_since
from shards.reads.large.answer import TableState, counted_of
from shards.reads.large.known_parts import KnownParts
from shards.reads.large.statements import copies_statement, count_statements, sizes_statement, state_statement
from shards.stores.base import Store

_log = get_logger(__name__)

LARGE_EVENTS = 150_000
"""Events from which on a match is counted this way; measured in ``make bench``."""

COPIES_MAX = 200_000
"""Most events in several rows; a match with more is read row by row until merges have removed some."""

COPIES_KEPT = 1_000_000
"""Most such events, and events that others withdraw, remembered for all matches together; those of matches
asked for longest ago are forgotten first."""

NEW_ROWS_MAX = 300_000
"""Most new rows to be looked for among the others; with more a look at all ids is cheaper."""

SLICE_ROWS = 2_000_000
"""Rows of a slice of all ids, so that a look at them takes ClickHouse some 150 MB, however large the match."""

ONE_THREAD_ROWS = 2_000_000
"""Rows below which one thread of ClickHouse counts, because more take longer to set up than they save."""

PAUSE_S = 30.0
TRIES = 4
LARGE_KEPT = 256
SMALL_KEPT = 16_384
RESTART_TOLERANCE_S = 2


@attrs.define
class _Known:
    """Knowledge of one match.

    Attributes:
        table: id of the table that this knowledge is about.
        started_s: start of its server, s since the epoch.
        latest: state that the last statement was answered from.
        parts: parts that were looked at.
        copied: ids that include every event with more than one row in ``parts``.
        named: every event that another one was seen to withdraw.
        exact_extremes: whether the parts' own counts cannot tell the extremes, as long as the parts are the same.
        until: moment of the monotonic clock, in s, until which the match is read row by row.
        asked_at: when the match was last asked for, on that clock.
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
        """Forget all parts, and take the table that ``state`` names for the known one."""
        self.table, self.started_s = state.table, state.started_s
        self.drop()

    def drop(self) -> None:
        """Forget all parts."""
        self.parts, self.copied = KnownParts(), set()

    def is_of(self, state: TableState) -> bool:
        """Say whether ``state`` is of the known table, and no known block of it is lost."""
        same = self.table == state.table and abs(self.started_s - state.started_s) <= RESTART_TOLERANCE_S
        return same and not self.parts.has_lost_blocks(state.parts)


class LargeMatches:
    """The large matches that were asked for lately.

    Args:
        store: where they are.
        large_events: events from which on a match is one of them.
    """

    def __init__(self, store: Store, *, large_events: int = LARGE_EVENTS) -> None:
        self._store = store
        self._large_events = large_events
        self._known: LRUCache[str, _Known] = LRUCache(LARGE_KEPT)
        self._small: LRUCache[str, int] = LRUCache(SMALL_KEPT)

    def knows(self, match_id: str) -> bool:
        """Say whether the size of a match is known."""
        return match_id in self._known or match_id in self._small

    def events(self, match_id: str) -> int:
        """Return how many events a match had when it was last counted; 0 if that is not known.

        For a large one it is ``large_events``.
        """
        return self._large_events if match_id in self._known else self._small.get(match_id, 0)

    async def among(self, match_ids: Collection[str]) -> list[str]:
        """Return the large ones, except those to be read row by row for now. StoreError as for :meth:`aggregates`."""
        unknown = [match_id for match_id in match_ids if not self.knows(match_id)]
        if unknown:
            rows = dict(await self._store.fetch(sizes_statement(self._store.database, unknown)))
            for match_id in unknown:
                self.note(match_id, rows.get(match_id, 0))
        now = time.monotonic()
        return [match_id for match_id in match_ids if match_id in self._known and self._known[match_id].until <= now]

    def forget(self, match_id: str) -> None:
        """Forget a match."""
        self._known.pop(match_id, None)
        self._small.pop(match_id, None)

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
        """Return the aggregates; None: this match has to be read row by row this time.

        Args:
            match_id: one that :meth:`among` returned.
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
            known.latest, *_ = TableState.taken_from(await self._store.fetch(statement))
        for _ in range(TRIES):
            if not await self._learn(match_id, known, known.latest):
                return None
            self._forget_oldest(known)
            named = known.named | set(targets)
            state, counted, extremes = await self._count(
                match_id,
                known,
                known.latest,
                pending=pending,
                named=named,
                bucket_ms=bucket_ms,
                recent_ms=recent_since(as_of_ms),
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
        """Return the knowledge of a match, and note when it was asked for."""
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
        recent_ms: int,
    ) -> tuple[TableState, Counted, Extremes | None]:
        """Count with what is known; return the state of the answer, the counts, and the extremes if it shows them."""
        statements = count_statements(
            self._store.database,
            match_id,
            pending=pending,
            known=known.parts.intervals,
            copied=known.copied,
            named=named,
            bucket_ms=bucket_ms,
            recent_ms=recent_ms,
            exact_extremes=(exact := known.exact_extremes),
            threads=1 if sum(latest.parts.values()) < ONE_THREAD_ROWS else 0,
        )
        state, texts, _ = TableState.taken_from(await self._store.fetch(*statements))
        counted, extremes = await asyncio.to_thread(counted_of, texts, bucket_ms=bucket_ms, exact_extremes=exact)
        return state, counted, extremes

    def _forget_oldest(self, latest: _Known) -> None:
        excess = sum(len(known.copied) + len(known.named) for known in self._known.values()) - COPIES_KEPT
        for known in sorted(self._known.values(), key=lambda known: known.asked_at):
            if excess <= 0:
                return
            if known is not latest:
                excess -= len(known.copied) + len(known.named)
                known.drop()
                known.named = set()

    async def _learn(self, match_id: str, known: _Known, state: TableState) -> bool:
        """Find the copies among the rows of parts that are not known yet. False: there are too many copies."""
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
        """Look for copies slice by slice; the parts at the first slice become known. False: too many copies."""
        first: TableState | None = None
        parts, runs = known.parts, known.parts.intervals
        for index in range(slices):
            statement = copies_statement(
                self._store.database, match_id, known=runs, slice_=(index, slices), limit=COPIES_MAX + 1
            )
            state, copied, replacing = TableState.taken_from(await self._store.fetch(statement))
            first = first or state
            known.copied.update(copied, replacing)
            known.named.update(replacing)
            if len(known.copied) > COPIES_MAX:
                return False
            if not known.is_of(state):
                return True  # the next answer will be refused
        if first is not None and known.parts is parts:  # else they were dropped meanwhile, to remember others
            parts.add(first.parts)
        return True
