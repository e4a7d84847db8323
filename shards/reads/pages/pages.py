"""Pages of one match's events, newest first: the destination table and the pending rows, each event once.

Events are ordered by ``timestamp``, then by the order of their receipt, then by id. These never change for an event,
so a position between two pages stays where it is while events arrive, rows move from pending to stored, and the
service restarts. Every event that was there when the first page was asked for is on exactly one page. An event that
arrives meanwhile is on a later page if its place is there, else on none. There is one exception:

1. An event is sent twice at once.
2. The copy that was received first becomes durable second.
3. That copy takes over, and the event moves to its place.

An event may be in several rows, and the row received first stands. Finding the newest rows under ``FINAL`` would sort
the whole match by id. So rows are read as they lie, and those that do not stand are left out
(:mod:`shards.reads.pages.statements` has the figures). If the page is then not full, the rest is read under ``FINAL``.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import attrs

from shards.errors import TooManyReads
from shards.events import Event, decode_row, withdrawn_id
from shards.reads.pages.statements import (
    EventQuery,
    Position,
    first_orders_statement,
    known_statement,
    rows_statement,
    withdrawing_statement,
)
from shards.reads.source import PendingSource
from shards.stores.base import Store

WAITING_MAX = 64
"""Pages that may wait for their turn; more are refused."""

PAGE_MAX_BYTES = 4 << 20
"""Most metadata of one page; a page with more ends before its limit of events."""

_Rank = tuple[int, int, int, int]
_HALF = (1 << 64) - 1


@attrs.frozen
class FoundEvent:
    """An event, and whether another one has withdrawn it."""

    event: Event
    retracted: bool


@attrs.frozen(kw_only=True)
class EventPage:
    """Events of a page, newest first. ``end`` is where the next page begins, None on the last.

    ``pending_events`` counts rows that are accepted but on disk only, after an outage. They are on no page yet.
    """

    events: tuple[FoundEvent, ...]
    end: Position | None
    pending_events: int


class EventReads:
    """Reads pages, one at a time, so that reads of metrics do not wait behind those who leaf through a match."""

    def __init__(self, store: Store, source: PendingSource) -> None:
        self._store = store
        self._source = source
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def page(self, query: EventQuery) -> EventPage | None:
        """Return a page, with every event acknowledged before; None if nothing was ever received of the match.

        Raises :class:`shards.errors.StoreError` when ClickHouse fails or is away, or too many pages are being read.
        """
        if self._waiting >= WAITING_MAX:
            raise TooManyReads("too many pages of events are being read")
        self._waiting += 1
        try:
            async with self._turn:
                page = None if self._source.is_erasing(query.match_id) else await self._page(query)
                return None if self._source.is_erasing(query.match_id) else page
        finally:
            self._waiting -= 1

    async def _page(self, query: EventQuery) -> EventPage | None:
        pending = self._source.pending([query.match_id])
        unread = pending.unread.get(query.match_id, 0)
        held = await asyncio.to_thread(_Held.of, pending.rows, query)
        found = await self._found(query, held)
        if not (found or pending.rows or unread or await self._is_known(query.match_id)):
            return None
        events = tuple(_up_to_size(found[: query.limit]))
        more = len(found) > len(events)
        return EventPage(events=events, end=_position(events[-1].event) if more else None, pending_events=unread)

    async def _found(self, query: EventQuery, held: "_Held") -> list[FoundEvent]:
        """Return the events of a page, and one more if there is one."""
        found: list[FoundEvent] = []
        after, final = query.after, False
        while True:
            # A few more of rows that may not stand, so that the page is mostly full at once.
            limit = query.limit + 1 + (0 if final else query.limit // 2 + 1)
            statement = rows_statement(self._store.database, query, after, limit=limit, final=final)
            stored = [_event(query.match_id, *row) for row in await self._store.fetch(statement)]
            end = rank_of(stored[-1]) if len(stored) == limit else None
            ranked = {rank_of(event): event for event in (*stored, *held.wanted(after, end))}
            candidates = [event for _, event in sorted(ranked.items(), reverse=True)[:limit]]
            found += await self._standing(query.match_id, candidates, held)
            if len(found) > query.limit or (end is None and len(candidates) == len(ranked)):
                return found
            after, final = _position(candidates[-1]), True

    async def _standing(self, match_id: str, candidates: Sequence[Event], held: "_Held") -> list[FoundEvent]:
        """Return the candidates that stand, each with its mark: whether it was withdrawn."""
        ids = list({event.event_id for event in candidates})
        if not ids:
            return []
        database = self._store.database
        naming = [*await self._store.fetch(withdrawing_statement(database, match_id, ids)), *held.withdrawing(ids)]
        asked = ids + [event_id for event_id, _, _ in naming]
        first = held.first_orders(asked)
        for event_id, order_ns in await self._store.fetch(first_orders_statement(database, match_id, asked)):
            first[event_id] = min(order_ns, first.get(event_id, order_ns))
        withdrawn = {named for event_id, order_ns, named in naming if first.get(event_id) == order_ns}
        return [
            FoundEvent(event, event.event_id in withdrawn)
            for event in candidates
            if first.get(event.event_id) == event.order_ns
        ]

    async def _is_known(self, match_id: str) -> bool:
        return bool(await self._store.fetch(known_statement(self._store.database, match_id)))


@attrs.frozen
class _Held:
    """Pending events of a match: ``first`` received copy by id, and ``ranked``, those a query wants, newest first."""

    first: dict[str, Event]
    ranked: list[tuple[_Rank, Event]]

    @classmethod
    def of(cls, rows: Iterable[bytes], query: EventQuery) -> "_Held":
        first: dict[str, Event] = {}
        for event in map(decode_row, rows):
            known = first.get(event.event_id)
            if known is None or event.order_ns < known.order_ns:
                first[event.event_id] = event
        ranked = [(rank_of(event), event) for event in first.values() if query.wants(event)]
        return cls(first, sorted(ranked, key=lambda pair: pair[0], reverse=True))

    def wanted(self, after: Position | None, end: _Rank | None) -> Iterator[Event]:
        """Yield the events behind the position ``after`` and not behind ``end``."""
        begin = _rank(after) if after else None
        for rank, event in self.ranked:
            if (begin is None or rank < begin) and (end is None or rank >= end):
                yield event

    def first_orders(self, event_ids: Iterable[str]) -> dict[str, int]:
        return {event_id: self.first[event_id].order_ns for event_id in event_ids if event_id in self.first}

    def withdrawing(self, event_ids: Iterable[str]) -> list[tuple[str, int, str]]:
        """Return rows as those of :func:`shards.reads.pages.statements.withdrawing_statement`."""
        ids = set(event_ids)
        naming = (
            (event.event_id, event.order_ns, withdrawn_id(event.event_type, event.metadata))
            for event in self.first.values()
        )
        return [row for row in naming if row[2] in ids]


def rank_of(event: Event) -> _Rank:
    """Return the sort key of an event; ids compare by their second half first, as ClickHouse's UUIDs do."""
    return _rank(_position(event))


def _rank(position: Position) -> _Rank:
    number = int(position.event_id.replace("-", ""), 16)
    return position.timestamp_ms, position.order_ns, number & _HALF, number >> 64


def _position(event: Event) -> Position:
    return Position(event.timestamp, event.order_ns, event.event_id)


def _event(
    match_id: str, event_id: str, event_type: str, at_ms: int, team: str, player: str, metadata: str, *receipt: int
) -> Event:
    return Event(match_id, event_id, event_type, at_ms, team, player, metadata, *receipt)


def _up_to_size(events: Sequence[FoundEvent]) -> Iterator[FoundEvent]:
    """Yield the first events that together are not too large; one at least."""
    size = 0
    for index, found in enumerate(events):
        size += len(found.event.metadata)
        if index and size > PAGE_MAX_BYTES:
            return
        yield found
