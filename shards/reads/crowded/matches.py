"""Counting crowded matches: those of which the plain answer would be too long.

Which they are shows when ClickHouse breaks off a plain answer (:data:`shards.reads.statements.TOO_LONG`). It is
remembered for a while, because trying costs ClickHouse a look at all texts of the match.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from cachetools import LRUCache, TTLCache

from shards.events import HIGHLIGHT_TYPES, decode_row
from shards.reads.aggregates import MatchAggregates
from shards.reads.counts import LAST_VERSION, recent_since
from shards.reads.crowded.answer import Parts, Version, crowded_aggregates, metadata_of_start, parts_of
from shards.reads.crowded.statements import crowded_statements, texts_statement
from shards.reads.sides import match_sides
from shards.reads.source import Pending
from shards.stores.base import Store

REMEMBERED_S = 600.0
REMEMBERED_MAX = 16_384

TEXTS_MAX_BYTES = 32 << 20
"""Most bytes of texts that are remembered; the texts of a version never change."""

TEAMS_MANY = 100
LINES_MANY = 400
"""Teams, and highlights with retractions, from which on a match is taken for the one that made an answer too long."""

_stored = msgspec.json.Decoder(tuple[str, str, int, str])
_MARKERS = tuple(f'"event_type":"{event_type}"'.encode() for event_type in HIGHLIGHT_TYPES)


class CrowdedMatches:
    """The crowded matches that were asked for lately, and texts of their highlights."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: TTLCache[str, None] = TTLCache(REMEMBERED_MAX, REMEMBERED_S)
        self._sides: LRUCache[str, tuple[str, ...]] = LRUCache(REMEMBERED_MAX)
        self._texts: LRUCache[Version, str] = LRUCache(TEXTS_MAX_BYTES, getsizeof=_size)

    def among(self, match_ids: Iterable[str]) -> list[str]:
        """Return those that are known to be crowded."""
        return [match_id for match_id in match_ids if match_id in self._known]

    def note(self, match_id: str) -> None:
        """Take a match for crowded from now on."""
        self._known[match_id] = None

    def forget(self, match_id: str) -> None:
        """Forget a match, and the texts of its highlights."""
        self._known.pop(match_id, None)
        if self._sides.pop(match_id, None) is not None:  # else it was never counted here
            for version in [version for version in self._texts if version.match_id == match_id]:
                self._texts.pop(version, None)

    async def aggregates(
        self, match_ids: Sequence[str], pending: Pending, *, bucket_ms: int, as_of_ms: int
    ) -> dict[str, MatchAggregates]:
        """Return the aggregates of those matches of which something is stored or pending, whatever they hold.

        Args:
            match_ids: the matches.
            pending: their rows, taken before the call.
            bucket_ms: length of a bucket of the curve.
            as_of_ms: when ``pending`` was taken.

        Raises:
            StoreError: ClickHouse failed or is away.
        """
        while match_ids:
            sides = {match_id: self._sides[match_id] for match_id in match_ids if match_id in self._sides}
            statements = crowded_statements(
                self._store.database,
                match_ids,
                pending.rows,
                sides=sides,
                bucket_ms=bucket_ms,
                recent_ms=recent_since(as_of_ms),
            )
            parts = await asyncio.to_thread(parts_of, await self._store.fetch(*statements))
            texts = await self._texts_of(parts, pending.rows)
            if not self._note_sides(parts, texts):
                self._note_crowded(match_ids, parts)
                return {
                    match_id: crowded_aggregates(
                        match_id,
                        parts.get(match_id, Parts()),
                        texts,
                        bucket_ms=bucket_ms,
                        as_of_ms=as_of_ms,
                        unread=pending.unread.get(match_id, 0),
                    )
                    for match_id in match_ids
                    if match_id in parts or pending.unread.get(match_id)
                }
        return {}

    def _note_sides(self, parts: Mapping[str, Parts], texts: Mapping[Version, str]) -> bool:
        """Remember the sides of each match; say whether one has other sides than the statement was told."""
        changed = False
        for match_id, of_match in parts.items():
            sides = match_sides(metadata_of_start(match_id, of_match, texts))
            ids = (sides.home.id, sides.away.id) if sides else ()
            if self._sides.get(match_id, ()) != ids:
                # With less than that each team had a place of its own anyway.
                changed |= of_match.teams > len(ids)
                self._sides[match_id] = ids
        return changed

    def _note_crowded(self, match_ids: Sequence[str], parts: Mapping[str, Parts]) -> None:
        """Remember which of these matches are crowded: at least one must be."""
        found = [
            match_id
            for match_id, of_match in parts.items()
            if of_match.teams >= TEAMS_MANY or sum(of_match.line_counts) >= LINES_MANY
        ]
        if not found:
            found = sorted(match_ids, key=lambda match_id: -sum(parts.get(match_id, Parts()).line_counts))[:1]
        for match_id in found:
            self.note(match_id)

    async def _texts_of(self, parts: Mapping[str, Parts], pending: Sequence[bytes]) -> dict[Version, str]:
        needed = {version for match_id, of_match in parts.items() for version in of_match.versions(match_id)}
        texts = {version: self._texts[version] for version in needed if version in self._texts}
        missing = needed - texts.keys()
        if missing and pending:
            texts |= await asyncio.to_thread(_pending_texts, pending, missing)
        if missing := missing - texts.keys():
            texts |= await self._stored_texts(missing)
        for version in needed & texts.keys():
            self._texts[version] = texts[version]
        return texts

    async def _stored_texts(self, versions: Collection[Version]) -> dict[Version, str]:
        match_ids = sorted({version.match_id for version in versions})
        event_ids = sorted({version.event_id for version in versions})
        rows = await self._store.fetch(texts_statement(self._store.database, match_ids, event_ids))
        stored = (_stored.decode(row) for (row,) in rows)
        found = {Version(match_id, event_id, version): text for match_id, event_id, version, text in stored}
        return {version: found[version] for version in versions if version in found}


def _pending_texts(rows: Iterable[bytes], versions: Collection[Version]) -> dict[Version, str]:
    found = {}
    for row in rows:
        if any(marker in row for marker in _MARKERS):
            event = decode_row(row)
            version = Version(event.match_id, event.event_id, LAST_VERSION - event.order_ns)
            if version in versions:
                found[version] = f"{event.metadata}\0{event.player_id}"
    return found


def _size(text: str) -> int:
    return len(text) + 256
