"""The steps of an erasure, each of which can be done again after a kill.

1. ``settle``: what was sent is confirmed or given up, Buffer tables are flushed, pending rows are dropped as *erased*.
2. ``delete``: the journals forget event ids of the match; its rows are deleted in ClickHouse, and shown to be gone.
3. ``truncate``: the files of the log from before the cut-off are removed, once all other rows in them are stored.
4. ``wipe``: the files of dead letters, and those set aside because of damage, are written without the match.
5. The record is removed, caches forget the match, and the events that waited are sent.

New events wait until the end, because only so the second step can be done again: it never meets one of them.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Final

import msgspec

from shards.deadletters.lines import DeadLetter
from shards.erasure.damaged import wipe_damaged
from shards.erasure.erasures import Erasures, cut_offs_of
from shards.erasure.records import Erasure
from shards.erasure.stored import StoredMatches
from shards.errors import SchemaMismatch, StoreError, StoreUnavailable, public_text
from shards.events import head_of, stamps_of
from shards.flush.gate import StoreGate
from shards.logger import RepeatedLines, get_logger
from shards.shard import Shard
from shards.stores.base import Store
from shards.tasks.backoff import backoff_s
from shards.tasks.threads import Threads

_log = get_logger(__name__)

BATCH_MAX: Final = 1_000
"""Most matches that are erased by one mutation."""

POLL_S: Final = 0.05


class ErasureSteps:
    """Carries erasures out, batch by batch. :meth:`run` is its task."""

    def __init__(
        self, erasures: Erasures, shards: Sequence[Shard], *, store: Store, gate: StoreGate, directory: str
    ) -> None:
        """Do nothing yet. ``directory`` is the id of the data directory."""
        self._erasures = erasures
        self._shards = shards
        self._store = store
        self._gate = gate
        self._stored = StoredMatches(store, directory=directory)
        self._threads = Threads()
        self._repeats = RepeatedLines()

    async def run(self) -> None:
        """Carry out what is recorded, until cancelled. Errors of the store and of the disk never end it."""
        failures = 0
        while True:
            try:
                await self._erase(await self._erasures.next_ones(BATCH_MAX))
                failures, self._erasures.error = 0, ""
            except (StoreError, OSError) as error:
                failures += 1
                self._note_error(error)
                await asyncio.sleep(backoff_s(failures))

    async def settled(self) -> None:
        """Return when no thread works any more."""
        self._repeats.end()
        await self._threads.settled()
        await self._erasures.settled()

    async def _erase(self, batch: Sequence[Erasure]) -> None:
        self._enter("settle", batch)
        await asyncio.gather(*(shard.flusher.erase(cut_offs_of(batch, shard.index)) for shard in self._shards))
        settled_at = monotonic()
        self._enter("delete", batch)
        await self._stored.prepare(_orders_of(batch))
        await self._stored.wait_for_inserts(since=settled_at)
        await self._flush_buffers()
        await self._forget_samples()
        rows = await self._stored.delete()
        _log.info("erased rows deleted", matches=len(batch), rows=rows)
        left = list(batch)
        while left:
            gone = await self._truncated(left)
            await self._wipe(gone)
            done = {erasure.id for erasure in gone}
            left = [erasure for erasure in left if erasure.id not in done]
            if left:  # what is deleted from now on must not be of a match that is let go
                await self._stored.prepare(_orders_of(left))
            await self._erasures.finish(gone)
            _log.info("matches erased", matches=len(gone), left=len(left))
        await self._stored.clear()

    async def _flush_buffers(self) -> None:
        """Flush what an INSERT that was still at work may have put into Buffer tables."""
        await asyncio.gather(*(self._store.flush_buffer(shard.index) for shard in self._shards if not shard.retired))

    async def _forget_samples(self) -> None:
        """Have the journals forget event ids of these matches, while ClickHouse can still tell which these are."""
        for shard in self._shards:
            journal = shard.log.journal
            if gone := await self._stored.among(await self._threads.run(journal.samples)):
                await self._threads.run(partial(journal.forget, gone))

    async def _truncated(self, erasures: Sequence[Erasure]) -> list[Erasure]:
        """Wait until the log holds nothing from before the first cut-off; return all for which that is so."""
        self._enter("truncate", erasures)
        for shard in self._shards:
            upto = erasures[0].upto(shard.index)
            await shard.flusher.flush(upto)
            while not shard.log.holds_only_beyond(upto):
                await asyncio.sleep(POLL_S)
                await self._threads.run(partial(_truncate, shard))
        return [one for one in erasures if all(s.log.holds_only_beyond(one.upto(s.index)) for s in self._shards)]

    async def _wipe(self, erasures: Sequence[Erasure]) -> None:
        self._enter("wipe", erasures)
        for shard in self._shards:
            letters, files = await self._threads.run(partial(_wipe_files, shard, erasures))
            if letters or files:
                _log.info("files wiped", shard=shard.index, dead_letters=letters, damaged_files=files)
        await self._stored.delete()  # once more: whatever came back meanwhile

    def _enter(self, step: str, erasures: Sequence[Erasure]) -> None:
        self._erasures.note_step(step, erasures)
        _log.info("erasure under way", step=step, matches=len(erasures))

    def _note_error(self, error: StoreError | OSError) -> None:
        text = self._erasures.error = public_text(error)
        if isinstance(error, StoreUnavailable | SchemaMismatch):
            self._gate.report(error)
        effect = "it is tried again, from the first step on"
        self._repeats.note(text, lambda again: _log.error("erasing failed", error=text, repeated=again, effect=effect))


def _orders_of(erasures: Sequence[Erasure]) -> dict[str, int]:
    """Return the order up to which rows of each match go, ns."""
    orders: dict[str, int] = {}
    for one in erasures:
        orders[one.match_id] = max(one.order_ns, orders.get(one.match_id, 0))
    return orders


def _truncate(shard: Shard) -> None:
    shard.log.truncate(shard.log.checkpoint)


def _wipe_files(shard: Shard, erasures: Sequence[Erasure]) -> tuple[int, int]:
    """Wipe a shard's dead letters and damaged files; return how many of each there were. Blocking; raises OSError."""
    orders, cut_offs = _orders_of(erasures), cut_offs_of(erasures, shard.index)

    def is_row_gone(row: bytes) -> bool:
        try:
            return stamps_of(row)[1] <= orders.get(head_of(row).match_id, -1)
        except (msgspec.DecodeError, ValueError):
            return True  # nobody can know whose it is

    def is_letter_gone(letter: DeadLetter, is_disowned: bool) -> bool:
        row = letter.row.encode()
        return is_row_gone(row) if is_disowned else letter.seq <= cut_offs.get(head_of(row).match_id, 0)

    return shard.dead_letters.erase(is_letter_gone), wipe_damaged(shard.log.directory, is_row_gone)
