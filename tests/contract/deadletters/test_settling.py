"""Dead letters in the hands of an operator, over both stores."""

import asyncio
import shutil
import uuid
from pathlib import Path
from typing import Any

import attrs
import pytest

from shards.deadletters.entries import FiledLetter
from shards.deadletters.file import DeadLetterFile
from shards.errors import KeyChanged, LetterSettled, NotAccepting, UnknownLetter
from shards.events import Event, decode_row
from shards.receipts import Outcome
from shards.settings import ShardSettings
from shards.shardset import ShardSet
from shards.stores.base import Store
from tests.contract.rows import receipt
from tests.contract.shardsets import BAD, DEADLINE_S, event, refuse_bad, running
from tests.statements import alter

GOOD = '{"good":1}'


async def refuse(store: Store) -> None:
    """Have ClickHouse refuse events whose metadata is `BAD`."""
    await store.open()
    await refuse_bad(store)


async def allow(store: Store) -> None:
    await alter(store, "DROP CONSTRAINT c")


async def stored(store: Store, sent: Event) -> list[tuple[Any, ...]]:
    """What counts of an event: its metadata, when it was received, and in which order."""
    return await store.fetch(
        f"SELECT metadata, toUnixTimestamp64Milli(received_at), bitNot(version) FROM {store.database}.events FINAL "
        f"WHERE toString(event_id) = '{sent.event_id}'"
    )


def as_stored(sent: Event) -> list[tuple[Any, ...]]:
    return [(sent.metadata, sent.received_ns // 1_000_000, sent.order_ns)]


async def letters(shards: ShardSet, *, settled: bool = False) -> list[FiledLetter]:
    return list(await shards.dead_letters(limit=100, settled=settled))


async def put_aside(shards: ShardSet, *bad: Event) -> list[FiledLetter]:
    """Append events that ClickHouse refuses, with one beside each that it takes; return the open letters."""
    before = len(await letters(shards))
    neighbours = [event(shards, match_id=one.match_id) for one in bad]
    await shards.append([*bad, *neighbours])
    await shards.flush()
    found = await letters(shards)
    assert len(found) == before + len(bad)
    return found


def figures(shards: ShardSet) -> tuple[int, int, int]:
    """Open, requeued, discarded; the identity is checked on the way."""
    now = shards.snapshot()
    parts = (now.confirmed, now.pending, now.dead_lettered, now.requeued, now.discarded)
    assert now.appended == sum(parts), parts
    assert now.damaged == 0
    return now.dead_lettered, now.requeued, now.discarded


async def test_requeued_once_the_cause_is_mended_it_is_stored_once(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        bad = event(shards, metadata=BAD)
        [letter] = await put_aside(shards, bad)
        assert letter == await shards.dead_letter(letter.id)
        assert (letter.letter.code, letter.settlement) == (469, None)
        assert "c" in letter.letter.error
        assert decode_row(letter.letter.row.encode()) == bad
        assert figures(shards) == (1, 0, 0)
        assert await stored(store, bad) == []

        await allow(store)
        requeued = await shards.requeue(letter.id)

        assert requeued.settlement is not None
        assert (requeued.settlement.action, requeued.settlement.row) == ("requeued", letter.letter.row)
        assert figures(shards) == (0, 1, 0)
        await shards.flush()
        assert await stored(store, bad) == as_stored(bad)
        assert await letters(shards) == []
        assert await letters(shards, settled=True) == [requeued]
        with pytest.raises(LetterSettled):
            await shards.requeue(letter.id)
        with pytest.raises(LetterSettled):
            await shards.discard(letter.id)
        assert figures(shards) == (0, 1, 0)


async def test_a_repaired_row_takes_its_place_but_stays_the_event_it_was(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        bad = event(shards, metadata=BAD)
        [letter] = await put_aside(shards, bad)
        for other in (attrs.evolve(bad, match_id="n"), attrs.evolve(bad, event_id=str(uuid.uuid4()))):
            with pytest.raises(KeyChanged):
                await shards.requeue(letter.id, other)
        assert figures(shards) == (1, 0, 0)

        repaired = attrs.evolve(bad, metadata=GOOD, **receipt(shards.clock.order_ns()))
        await shards.requeue(letter.id, repaired)

        await shards.flush()
        assert await stored(store, bad) == as_stored(attrs.evolve(bad, metadata=GOOD))
        assert figures(shards) == (0, 1, 0)


async def test_refused_again_it_is_a_new_letter(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        [first] = await put_aside(shards, event(shards, metadata=BAD))
        await shards.requeue(first.id)
        assert figures(shards) == (0, 1, 0)

        await shards.append([event(shards)])
        await shards.flush()

        [second] = await letters(shards)
        assert second.id != first.id
        assert second.letter.row == first.letter.row
        assert figures(shards) == (1, 1, 0)
        assert [letter.id for letter in await letters(shards, settled=True)] == [second.id, first.id]


async def test_discarded_it_is_done_with(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        bad = event(shards, metadata=BAD)
        [letter] = await put_aside(shards, bad)
        discarded = await shards.discard(letter.id)
        assert discarded.settlement is not None
        assert discarded.settlement.action == "discarded"
        assert figures(shards) == (0, 0, 1)
        with pytest.raises(LetterSettled, match="discarded"):
            await shards.requeue(letter.id)
        await allow(store)
        await shards.flush()
        assert await stored(store, bad) == []


async def test_figures_and_letters_are_the_same_after_a_restart(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        await put_aside(shards, *(event(shards, match_id=f"m{number}", metadata=BAD) for number in range(6)))
        found = await letters(shards)
        assert {letter.letter.shard for letter in found} == {0, 1}
        await shards.discard(found[0].id)
        await shards.requeue(found[1].id, attrs.evolve(decode_row(found[1].letter.row.encode()), metadata=GOOD))
        await shards.flush()
        before = await letters(shards, settled=True)
        assert figures(shards) == (4, 1, 1)
    for shard_count in (2, 1):
        async with running(attrs.evolve(settings, shard_count=shard_count), store) as shards:
            await shards.flush()
            assert figures(shards) == (4, 1, 1)
            assert await letters(shards, settled=True) == before
            assert len(await letters(shards)) == 4
            with pytest.raises(LetterSettled):
                await shards.requeue(found[1].id)
    await allow(store)
    async with running(attrs.evolve(settings, shard_count=1), store) as shards:
        for letter in await letters(shards):
            await shards.requeue(letter.id)
        await shards.flush()
        assert figures(shards) == (0, 5, 1)


@pytest.mark.parametrize("segment_max_bytes", [1000, 1 << 20])
async def test_figures_hold_when_the_checkpoints_are_lost(
    settings: ShardSettings, store: Store, segment_max_bytes: int
) -> None:
    """The letter's segment is gone, or is read again: then its row is not sent again."""
    await refuse(store)
    settings = attrs.evolve(settings, shard_count=1, segment_max_bytes=segment_max_bytes)
    async with running(settings, store) as shards:
        [letter] = await put_aside(shards, event(shards, metadata=BAD))
        for _ in range(10):
            await shards.append([event(shards)])
        await shards.flush()
        await shards.discard(letter.id)
        assert (shards.snapshot().wal_bytes < 2000) is (segment_max_bytes == 1000)
    (settings.data_dir / "wal" / "shard-000" / "checkpoint.json").unlink()
    async with running(settings, store) as shards:
        await shards.flush()
        assert figures(shards) == (0, 0, 1)
        assert len(await letters(shards, settled=True)) == 1


async def test_a_crash_between_append_and_note_sends_it_twice_and_counts_it_once(
    settings: ShardSettings, store: Store, tmp_path: Path
) -> None:
    await refuse(store)
    path = settings.data_dir / "deadletters" / "shard-000.jsonl"
    settings = attrs.evolve(settings, shard_count=1)
    async with running(settings, store) as shards:
        bad = event(shards, metadata=BAD)
        [letter] = await put_aside(shards, bad)
        shutil.copy(path, tmp_path / "before")
        await shards.requeue(letter.id, attrs.evolve(bad, metadata=GOOD))
    shutil.copy(tmp_path / "before", path)  # as if the note had not reached the disk
    async with running(settings, store) as shards:
        assert figures(shards) == (1, 0, 0)
        await shards.requeue(letter.id, attrs.evolve(bad, metadata=GOOD))
        await shards.flush()
        assert await stored(store, bad) == as_stored(attrs.evolve(bad, metadata=GOOD))
        assert figures(shards) == (0, 1, 0)
        assert shards.snapshot().confirmed == 3


async def test_two_at_one_letter_requeue_it_once(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        [letter] = await put_aside(shards, event(shards, metadata=BAD))
        appended = shards.snapshot().appended
        asked = [shards.requeue(letter.id), shards.discard(letter.id), shards.requeue(letter.id)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [FiledLetter, LetterSettled, LetterSettled]
        assert shards.snapshot().appended == appended + 1
        assert figures(shards) == (0, 1, 0)


async def test_who_leaves_meanwhile_does_not_cut_the_requeue_in_two(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        [letter] = await put_aside(shards, event(shards, metadata=BAD))
        appended = shards.snapshot().appended
        handler = asyncio.create_task(shards.requeue(letter.id))
        async with asyncio.timeout(DEADLINE_S):
            while shards.snapshot().appended == appended:
                await asyncio.sleep(0)
        handler.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handler
    shard = letter.letter.shard
    file = DeadLetterFile(settings.data_dir / "deadletters" / f"shard-{shard:03d}.jsonl", shard=shard)
    file.recover()
    assert file.requeued == 1


async def test_pages_go_over_all_shards(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        for number in range(7):
            await put_aside(shards, event(shards, match_id=f"m{number}", metadata=BAD))
        everything = await letters(shards)
        assert [letter.letter.at for letter in everything] == sorted(
            (letter.letter.at for letter in everything), reverse=True
        )
        first = await shards.dead_letters(limit=4)
        second = await shards.dead_letters(limit=4, before=first[-1].place)
        assert [*first, *second] == everything


async def test_what_cannot_be_done_is_said(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        [letter] = await put_aside(shards, event(shards, metadata=BAD))
        for unknown in ("", "0", "9-1", "0-999", "\u0662-1", f"{letter.id}-2"):
            with pytest.raises(UnknownLetter):
                await shards.dead_letter(unknown)
            with pytest.raises(UnknownLetter):
                await shards.requeue(unknown)
        shards.stop_accepting()
        with pytest.raises(NotAccepting):
            await shards.requeue(letter.id)
        assert figures(shards) == (1, 0, 0)
        assert await shards.dead_letter(letter.id) == letter


async def test_letters_of_a_lost_log_hold_no_row_of_the_next_one_back(settings: ShardSettings, store: Store) -> None:
    """The end of a log that is not synced may be lost, the letters are not: their numbers are given out again."""
    await refuse(store)
    settings = attrs.evolve(settings, shard_count=1)
    async with running(settings, store) as shards:
        [letter] = await put_aside(shards, event(shards, metadata=BAD))
    shutil.rmtree(settings.data_dir / "wal")
    async with running(settings, store) as shards:
        shards.pause(0)
        sent = [event(shards) for _ in range(letter.letter.seq + 5)]
        await shards.append(sent)
    async with running(settings, store) as shards:
        await shards.flush()
        for one in sent:
            assert await stored(store, one) == as_stored(one)
        assert figures(shards) == (0, 0, 0)
        assert [found.id for found in await letters(shards)] == [letter.id]


@pytest.mark.parametrize("store_shards", [5])
async def test_a_receipt_follows_what_was_requeued(settings: ShardSettings, store: Store) -> None:
    await refuse(store)
    async with running(settings, store) as shards:
        bad = [event(shards, metadata=BAD) for _ in range(3)]
        receipt = await shards.append([*bad, event(shards)])
        await shards.flush()
        assert shards.outcome(receipt) == Outcome(durable=0, stored=1, dead_lettered=3)
        given_up, again, mended = await letters(shards)
        await shards.discard(given_up.id)
        await shards.requeue(again.id)
        await shards.append([event(shards)])
        await shards.flush()
        assert shards.outcome(receipt) == Outcome(durable=0, stored=1, dead_lettered=3), "refused once more"
        for shard in (0, 1):
            shards.pause(shard)
        mended_event = attrs.evolve(decode_row(mended.letter.row.encode()), metadata=GOOD)
        await shards.requeue(mended.id, mended_event)
        assert shards.outcome(receipt) == Outcome(durable=1, stored=1, dead_lettered=2)
    await allow(store)
    async with running(attrs.evolve(settings, shard_count=5), store) as shards:
        await shards.flush()
        assert shards.outcome(receipt) == Outcome(durable=0, stored=2, dead_lettered=2)
        [open_letter] = await letters(shards)
        await shards.requeue(open_letter.id)
        await shards.flush()
        assert shards.outcome(receipt) == Outcome(durable=0, stored=3, dead_lettered=1), "one was given up"
