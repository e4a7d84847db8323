# ruff: noqa: S608 (names are constants; text of others enters by heredoc() only)
"""Which events were known before a request sent them: an earlier version of each stands in ``events``.

Requests that wait for a checkpoint are answered together, so they ask together too: whoever comes while a statement is
under way goes with the next one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain

import attrs
import msgspec

from shards.reads.counts import LAST_VERSION
from shards.stores.base import ROWS_AT_ONCE, Store
from shards.stores.sql import heredoc

Key = tuple[str, str]
"""Match id, and event id in canonical text."""

EVENTS_MAX = 50_000
"""Most events of one statement, but for those of a single question."""

_STRUCTURE = "place UInt32, match_id String, event_id UUID, version UInt64"
_SENT = f"""CREATE OR REPLACE TEMPORARY TABLE sent ENGINE = Memory AS
  SELECT place, match_id, event_id, version FROM format(JSONCompactEachRow, '{_STRUCTURE}', {{rows}})"""
# The answer is one text, because clients need several times as long to take thousands of rows apart.
_EARLIER = """SELECT arrayStringConcat(groupArray(toString(place)), ',') FROM sent INNER JOIN (
    SELECT match_id, event_id, max(version) AS stands FROM {database}.events
    WHERE (match_id, event_id) IN (SELECT match_id, event_id FROM sent) GROUP BY match_id, event_id) AS stored
  USING (match_id, event_id) WHERE stands > version SETTINGS max_threads = 1"""


@attrs.define(eq=False)
class _Question:
    """Events of one request, each with its order; ``known`` is the answer once there is one."""

    orders: Mapping[Key, int]
    known: set[Key] | None = None


class KnownEvents:
    """Asks ``events`` for earlier versions, for any number of requests at a time in one statement."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asking = asyncio.Lock()
        self._waiting: list[_Question] = []

    async def among(self, orders: Mapping[Key, int]) -> set[Key]:
        """Return those of some stored events whose version that stands is an earlier one.

        Versions that wait in the log of a shard are not looked at, so ask when the events themselves are stored: all
        that their shards received before is then stored too. Raises StoreError.

        Args:
            orders: the events, each with the order of its version (:meth:`shards.clock.ReceiptClock.order_ns`).
        """
        question = _Question(orders)
        self._waiting.append(question)
        try:
            async with self._asking:
                if question.known is None:
                    await self._ask(self._next(question))
        finally:
            self._waiting.remove(question)
        return question.known or set()

    def _next(self, first: _Question) -> list[_Question]:
        """Return a question, and those that go with it in one statement: the oldest that have no answer yet."""
        together, events = [first], len(first.orders)
        for other in self._waiting:
            if other is first or other.known is not None:
                continue
            events += len(other.orders)
            if events > EVENTS_MAX:
                break
            together.append(other)
        return together

    async def _ask(self, questions: Sequence[_Question]) -> None:
        events = list(chain.from_iterable(question.orders.items() for question in questions))
        if len(events) > ROWS_AT_ONCE:
            statements = await asyncio.to_thread(earlier_statements, self._store.database, events)
        else:
            statements = earlier_statements(self._store.database, events)
        [(text,)] = await self._store.fetch(*statements)
        places = set(map(int, text.split(","))) if text else set()
        start = 0
        for question in questions:
            question.known = {key for place, key in enumerate(question.orders, start) if place in places}
            start += len(question.orders)


def earlier_statements(database: str, events: Sequence[tuple[Key, int]]) -> tuple[str, str]:
    """Return the statements that tell of which events an earlier version stands: a temporary table, and a SELECT.

    The answer is one text: the places of these among ``events``, with commas between.

    Args:
        database: its name.
        events: key and order of each, at least one.
    """
    rows = (
        msgspec.json.encode((place, match_id, event_id, LAST_VERSION - order_ns))
        for place, ((match_id, event_id), order_ns) in enumerate(events)
    )
    return _SENT.format(rows=heredoc(str(b"\n".join(rows), "utf-8"))), _EARLIER.format(database=database)
