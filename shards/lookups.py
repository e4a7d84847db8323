"""Lookups in all shards: the outcome of a request, the pending rows of matches, audits, and what pauses hold back."""

import asyncio
from collections.abc import Collection, Sequence

from shards.audit.accounting import Audit, audit
from shards.audit.evidence import gather
from shards.deadletters.lines import RowRef
from shards.logger import get_logger
from shards.reads.source import Pending
from shards.receipts import Outcome, Receipt
from shards.shard import Shard
from shards.stores.base import Store

_log = get_logger(__name__)


def outcome_of(receipt: Receipt, shards: Sequence[Shard]) -> Outcome | None:
    """Return what became of a request's events; None if no request can have had this receipt."""
    counted = {"durable": 0, "dead_lettered": 0, "erased": 0}
    for stretch in receipt.stretches:
        if stretch.shard >= len(shards) or stretch.last > shards[stretch.shard].pending.last_seq:
            return None
        left = stretch.count
        for name, rows in _fate(shards, stretch.shard, stretch.first, stretch.last).items():
            counted[name] += (taken := min(rows, left))
            left -= taken
    return Outcome(**counted, stored=receipt.count - sum(counted.values()))


def _fate(shards: Sequence[Shard], index: int, first: int, last: int) -> dict[str, int]:
    """Return how many rows wait, are erased, and are dead letters; a requeued letter counts as its new row does."""
    waiting, erased, letters = shards[index].outcome(first, last)
    dead = 0
    for seq in letters:
        row = _requeued_as(shards, (index, seq))
        if row is not None:
            waiting_again, erased_again, _ = shards[row[0]].outcome(row[1], row[1])
            waiting, erased = waiting + waiting_again, erased + erased_again
        elif shards[index].dead_letters.is_erased(seq):
            erased += 1
        else:
            dead += 1
    return {"durable": waiting, "dead_lettered": dead, "erased": erased}


def _requeued_as(shards: Sequence[Shard], letter: RowRef) -> RowRef | None:
    """Return the last row that a dead letter was requeued as; None if that is a dead letter too."""
    index, seq = letter
    seen = {letter}
    while seq in shards[index].tally.dead:
        again = shards[index].dead_letters.requeued_as(seq)
        if again is None or again in seen or again[0] >= len(shards):
            return None
        seen.add(again)
        index, seq = again
    return index, seq


def pending_of(match_ids: Collection[str], shards: Sequence[Shard]) -> Pending:
    """Return the unconfirmed rows of some matches.

    Every shard is asked, because a match may have rows in two shards after their number was changed.
    """
    rows: list[bytes] = []
    unread: dict[str, int] = {}
    unread_at: dict[str, int] = {}
    for shard in shards:
        for match_id in match_ids:
            in_memory, on_disk = shard.pending.of_match(match_id)
            rows += in_memory
            if on_disk:
                unread[match_id] = unread.get(match_id, 0) + on_disk
                unread_at[match_id] = max(unread_at.get(match_id, 0), shard.pending.unread_at(match_id))
    return Pending(rows=tuple(rows), unread=unread, unread_at=unread_at)


async def flushed_in_time(receipt: Receipt, shards: Sequence[Shard], *, timeout_s: float) -> bool:
    """Bring a request's events to an early checkpoint; False if they were not done with in time."""
    flushes = [shards[stretch.shard].flusher.flush(stretch.last) for stretch in receipt.stretches]
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*flushes)
    except TimeoutError:
        return False
    return True


async def audited(shards: Sequence[Shard], store: Store, *, retention_days: int) -> Audit:
    """Check the accounts of shards against ClickHouse; raises as :meth:`shards.shardset.ShardSet.audit`."""
    books = [await shard.books() for shard in shards]
    evidence = await gather(store, [(book.shard, attempt) for book in books for attempt in book.confirmed])
    return await asyncio.to_thread(audit, books, evidence, retention_days=retention_days)


def report_held_by_pauses(shards: Sequence[Shard]) -> int:
    """Return how many rows paused shards leave to the next start, and log it where there are any."""
    holding = [shard for shard in shards if shard.flusher.paused and len(shard.pending)]
    rows = sum(len(shard.pending) for shard in holding)
    if holding:
        named = [shard.index for shard in holding]
        _log.warning("paused shards not drained", shards=named, pending=rows, effect="the write-ahead log keeps them")
    return rows
