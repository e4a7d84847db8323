# ruff: noqa: S608 (names are constants and checked ones; text of others enters by rows_source())
"""Erasing matches from ``events``: a mutation, and the proof that nothing is left.

ClickHouse keeps the text of a mutation in a file beside the table, long after it is done. So the ids are not in that
text, but in a table in ClickHouse's memory, which is dropped at the end. A restart of ClickHouse empties that table,
and then what is left of a mutation deletes nothing, and a count finds nothing: so each count also tells how many
matches the table held, and the whole is done again.
"""

import asyncio
import re
import secrets
from collections.abc import Collection, Mapping
from time import monotonic
from typing import Final

import msgspec

from shards.errors import StoreFailed
from shards.reads.counts import LAST_VERSION
from shards.stores import schema
from shards.stores.base import Store
from shards.stores.error_codes import store_error
from shards.stores.sql import heredoc, rows_source

POLL_S: Final = 0.05
POLL_MAX_S: Final = 1.0

_CUTS = "match_id String, version UInt64"
_CODE = re.compile(r"Code: (\d+)")


class StoredMatches:
    """Some matches in ``events``, each up to its cut-off. :meth:`prepare` comes first."""

    def __init__(self, store: Store, *, directory: str) -> None:
        """Touch nothing yet. ``directory`` is the id of the data directory, because others may use the database."""
        self._store = store
        self._events = f"{store.database}.{schema.EVENTS.name}"
        self._prefix = f"erasing_{directory}_"
        self._name = ""
        self._matches = 0

    @property
    def _table(self) -> str:
        return f"{self._store.database}.{self._name}"

    @property
    def _rows(self) -> str:
        """The condition of the rows that go."""
        cut = f"joinGet({heredoc(self._table)}, 'version', match_id)"
        return f"match_id IN (SELECT match_id FROM {self._table}) AND version >= {cut}"

    async def prepare(self, cuts: Mapping[str, int]) -> None:
        """Tell ClickHouse the matches, each with the order of its cut-off, ns. Raises StoreError, as do the others."""
        await self.clear()
        self._name, self._matches = self._prefix + secrets.token_hex(4), len(cuts)
        await self._store.change(
            f"CREATE TABLE {self._table} ({_CUTS}) ENGINE = Join(ANY, LEFT, match_id) SETTINGS persistent = 0"
        )
        lines = [
            msgspec.json.encode({"match_id": match_id, "version": LAST_VERSION - order_ns})
            for match_id, order_ns in cuts.items()
        ]
        source = rows_source(lines, _CUTS)
        into = f"INSERT INTO {self._table} (match_id, version) SETTINGS log_queries = 0"
        await self._store.change(f"{into} SELECT match_id, version FROM {source}")

    async def clear(self) -> None:
        """Drop the tables of earlier erasures that no mutation needs any more."""
        database = heredoc(self._store.database)
        running = f"SELECT command FROM system.mutations WHERE database = {database} AND NOT is_done"
        needed = f"arrayExists(command -> position(command, name) > 0, (SELECT groupArray(command) FROM ({running})))"
        ours = f"database = {database} AND startsWith(name, {heredoc(self._prefix)})"
        found = await self._store.fetch(f"SELECT name FROM system.tables WHERE {ours} AND NOT {needed}")
        for (name,) in found:
            await self._store.change(f"DROP TABLE IF EXISTS {self._store.database}.{name} SYNC")

    async def wait_for_inserts(self, *, since: float) -> None:
        """Return when no INSERT into ``events`` runs that began before a moment of the monotonic clock.

        One whose answer was lost may still be at work, and would bring rows back.
        """
        into = heredoc(f"INSERT INTO {self._store.database}.events")
        while True:
            older = f"startsWith(query, {into}) AND elapsed > {monotonic() - since}"
            [(running,)] = await self._store.fetch(f"SELECT toUInt64(count()) FROM system.processes WHERE {older}")
            if not running:
                return
            await asyncio.sleep(POLL_MAX_S)

    async def among(self, event_ids: Collection[str]) -> set[str]:
        """Return those event ids that are in rows that go."""
        if not event_ids:
            return set()
        ids = rows_source([msgspec.json.encode({"event_id": event_id}) for event_id in event_ids], "event_id UUID")
        found = await self._store.fetch(
            f"SELECT DISTINCT toString(event_id) FROM {self._events} WHERE {self._rows} AND event_id IN"
            f" (SELECT event_id FROM {ids})"
        )
        return {event_id for (event_id,) in found}

    async def left(self) -> int:
        """Return how many rows are still there."""
        known, rows = f"(SELECT count() FROM {self._table})", f"SELECT count() FROM {self._events} WHERE {self._rows}"
        [(matches, left)] = await self._store.fetch(f"SELECT toUInt64({known}), toUInt64(({rows}))")
        if matches != self._matches:
            raise StoreFailed("ClickHouse was restarted during an erasure, which is done again")
        return int(left)

    async def delete(self) -> int:
        """Delete the rows, and return once none is left; return how many there were."""
        found = left = await self.left()
        while left:
            await self._store.change(f"ALTER TABLE {self._events} DELETE WHERE {self._rows}")
            await self._wait_for_mutation()
            left = await self.left()
        return found

    async def _wait_for_mutation(self) -> None:
        """Return when it is done. One that fails is taken back, because ClickHouse would try it for ever."""
        pause_s = POLL_S
        ours = (
            f"database = {heredoc(self._store.database)} AND NOT is_done"
            f" AND position(command, {heredoc(self._name)}) > 0"
        )
        while True:
            [(running, reason)] = await self._store.fetch(
                f"SELECT toUInt64(count()), max(latest_fail_reason) FROM system.mutations WHERE {ours}"
            )
            if not running:
                return
            if reason:
                await self._store.change(f"KILL MUTATION WHERE {ours} SYNC")
                code = _CODE.match(reason)
                raise store_error(int(code[1]) if code else 0, reason)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MAX_S)
