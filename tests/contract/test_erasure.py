"""Erasure over both stores: nothing of the match is left from before its cut-off, and nothing else is touched."""

import asyncio
from collections.abc import Callable

import attrs
import pytest

from shards.erasure import steps as steps_module
from shards.erasure.records import FILE_NAME
from shards.events import encode_row
from shards.reads.matches import MatchReads
from shards.reads.pages.pages import EventReads
from shards.reads.pages.statements import EventQuery
from shards.receipts import Outcome
from shards.settings import ShardSettings
from shards.shard import shard_of, wal_directory
from shards.shardset import ShardSet
from shards.stores.base import Store
from shards.wal.segments import DAMAGED_DIRECTORY
from tests.contract.erased import GONE, MARKER, erased, files_with, found_in_tables, make_readable, old_parts_gone
from tests.contract.shardsets import BAD, events, flushed, refuse_bad, running, sums_up, until, up
from tests.statements import execute

HOME = shard_of(GONE, 2)


async def count(store: Store, match_id: str) -> int:
    [(rows,)] = await store.fetch(f"SELECT toUInt64(count()) FROM events FINAL WHERE match_id = '{match_id}'")
    return int(rows)


async def total(shards: ShardSet, store: Store, match_id: str) -> int:
    found = await MatchReads(store, shards).aggregates([match_id])
    return found[match_id].total if match_id in found else 0


async def test_of_an_erased_match_nothing_is_left_and_others_are_whole(settings: ShardSettings, store: Store) -> None:
    await make_readable(store)
    async with up(settings, store) as shards:
        await shards.append(events(shards, 300, match_id=GONE, metadata=MARKER))
        await shards.append(events(shards, 200, match_id="other"))
        await shards.flush()
        await shards.append(events(shards, 40, match_id=GONE, metadata=MARKER))
        await shards.append(events(shards, 30, match_id="other"))
        assert await found_in_tables(store, GONE.encode())
        assert [*files_with(settings.data_dir, GONE.encode())]

        await shards.erasures.request(GONE)
        assert await total(shards, store, GONE) == 0
        await erased(shards)
        await flushed(shards)

        assert await total(shards, store, GONE) == await count(store, GONE) == 0
        assert await total(shards, store, "other") == await count(store, "other") == 230
        assert sums_up(shards)
        assert (await shards.audit()).verdict == "whole"
        assert [*files_with(settings.data_dir, GONE.encode())] == []
    await old_parts_gone(store)
    assert await found_in_tables(store, GONE.encode()) == []


async def test_what_comes_after_the_cut_off_waits_hidden_and_is_there_once(
    settings: ShardSettings, store: Store
) -> None:
    async with up(settings, store) as shards:
        await shards.append(events(shards, 100, match_id=GONE))
        await shards.flush()
        shards.pause(HOME)
        before = events(shards, 20, match_id=GONE)
        await shards.append(before)
        await shards.erasures.request(GONE)
        assert GONE in shards.erasures
        later = events(shards, 7, match_id=GONE)
        await shards.append(later)
        await shards.append(before[:3])  # a retry: it begins the match anew, with its first order
        assert await total(shards, store, GONE) == 0
        page = await EventReads(store, shards).page(EventQuery(match_id=GONE, limit=10))
        assert page is None
        shards.resume(HOME)
        await erased(shards)
        assert await total(shards, store, GONE) == 10
        await flushed(shards)
        assert await total(shards, store, GONE) == await count(store, GONE) == 10
        now = shards.snapshot()
        assert (now.erased, now.appended, now.unaccounted) == (20, 130, 0)
        assert sums_up(shards)


async def test_pending_rows_that_go_are_counted_as_erased_across_restarts(
    settings: ShardSettings, store: Store
) -> None:
    settings = attrs.evolve(settings, memory_max_rows=50)
    async with up(settings, store) as shards:
        shards.pause(0)
        shards.pause(1)
        receipt = await shards.append(events(shards, 120, match_id=GONE, metadata=MARKER))
        others = await shards.append(events(shards, 90, match_id="other"))
        await shards.erasures.request(GONE)
        assert shards.snapshot().pending == 210
    async with up(settings, store) as shards:
        await erased(shards)
        await flushed(shards)
        assert (shards.snapshot().erased, shards.snapshot().confirmed) == (120, 90)
        assert shards.outcome(receipt) == Outcome(durable=0, stored=0, dead_lettered=0, erased=120)
        assert shards.outcome(others) == Outcome(durable=0, stored=90, dead_lettered=0)
        assert sums_up(shards)
    async with up(settings, store) as shards:
        assert (shards.snapshot().erased, shards.snapshot().confirmed) == (120, 90)
        outcome = shards.outcome(receipt)
        assert outcome is not None
        assert (outcome.erased, outcome.status) == (120, "erased")
        audit = await shards.audit()
        assert audit.verdict == "whole"
        assert sum(account.unprovable["erased"] for account in audit.shards) == 120
        assert [*files_with(settings.data_dir, GONE.encode())] == []


async def test_dead_letters_of_the_match_leave_only_their_numbers(settings: ShardSettings, store: Store) -> None:
    await refuse_bad(store)
    async with up(settings, store) as shards:
        receipt = await shards.append(events(shards, 2, match_id=GONE, metadata=BAD))
        await shards.append(events(shards, 1, match_id="other", metadata=BAD))
        await shards.append(events(shards, 50, match_id=GONE))
        await shards.append(events(shards, 50, match_id="other"))
        await until(lambda: shards.snapshot().dead_lettered == 3)
        letters = await shards.dead_letters(limit=10)
        first = next(letter for letter in letters if GONE in letter.letter.row)
        await shards.discard(first.id)
        await shards.erasures.request(GONE)
        await erased(shards)
        now = shards.snapshot()
        assert (now.dead_lettered, now.discarded, now.erased, now.unaccounted) == (1, 1, 1, 0)
        [left] = await shards.dead_letters(limit=10, settled=True)
        assert "other" in left.letter.row
        outcome = shards.outcome(receipt)
        assert outcome is not None
        assert (outcome.erased, outcome.dead_lettered) == (2, 0)
        assert [*files_with(settings.data_dir, GONE.encode())] == []
    async with up(settings, store) as shards:
        now = shards.snapshot()
        assert (now.dead_lettered, now.discarded, now.erased, now.unaccounted) == (1, 1, 1, 0)
        assert (await shards.audit()).verdict == "whole"


async def test_files_set_aside_keep_what_is_readable_of_others(settings: ShardSettings, store: Store) -> None:
    settings = attrs.evolve(settings, shard_count=2)
    async with up(settings, store) as shards:
        rows = events(shards, 3, match_id=GONE, metadata=MARKER)
        other = next(f"other-{n}" for n in range(99) if shard_of(f"other-{n}", 2) == HOME)
        kept = events(shards, 3, match_id=other)
        for pair in zip(rows, kept, strict=True):
            await shards.append(pair)
        await shards.flush()
        [path] = sorted(wal_directory(settings.data_dir, HOME).glob("*.wal"))
        aside = path.parent / DAMAGED_DIRECTORY
        aside.mkdir()
        data = bytearray(path.read_bytes())
        data[data.index(encode_row(rows[1])) + 30] ^= 1
        data[data.index(encode_row(kept[1])) - 3] ^= 1
        (aside / "000000000001-0a.wal").write_bytes(data)
        await shards.erasures.request(GONE)
        await erased(shards)
        [left] = aside.iterdir()
        text = left.read_bytes()
        assert GONE.encode() not in text
        assert b"secret of" not in text
        assert all(encode_row(event) in text for event in kept)
        assert [*files_with(settings.data_dir, GONE.encode())] == []


@pytest.mark.parametrize("step", ["settle", "delete", "truncate", "wipe"])
async def test_a_kill_at_any_step_is_made_good(
    settings: ShardSettings, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = make_store()
    await store.open()
    await make_readable(store)
    reached = asyncio.Event()
    enter = steps_module.ErasureSteps._enter

    def stop(self: steps_module.ErasureSteps, entered: str, erasures: object) -> None:
        enter(self, entered, erasures)  # type: ignore[arg-type]
        if entered == step:
            reached.set()
            raise asyncio.CancelledError  # as if the process had ended here

    try:
        with monkeypatch.context() as patched:
            patched.setattr(steps_module.ErasureSteps, "_enter", stop)
            async with up(settings, store) as shards:
                await shards.append(events(shards, 300, match_id=GONE, metadata=MARKER))
                await shards.append(events(shards, 100, match_id="other"))
                await shards.flush()
                await shards.append(events(shards, 30, match_id=GONE, metadata=MARKER))
                await shards.erasures.request(GONE)
                later = events(shards, 5, match_id=GONE)
                await shards.append(later)
                await reached.wait()
        async with up(settings, store) as shards:
            await erased(shards)
            await flushed(shards)
            assert await total(shards, store, GONE) == await count(store, GONE) == 5
            assert await total(shards, store, "other") == await count(store, "other") == 100
            assert sums_up(shards)
            assert (await shards.audit()).verdict == "whole"
            assert [*files_with(settings.data_dir, b"secret of")] == []
        assert await found_in_tables(store, b"secret of") == []
    finally:
        await execute(store, "DROP DATABASE IF EXISTS {db} SYNC")
        await store.close()


async def test_many_matches_share_a_mutation(settings: ShardSettings, store: Store) -> None:
    async with up(settings, store) as shards:
        for number in range(60):
            await shards.append(events(shards, 2, match_id=f"m{number}"))
        await shards.flush()
        await asyncio.gather(*(shards.erasures.request(f"m{number}") for number in range(50)))
        await erased(shards)
        await flushed(shards)
        [(rows,)] = await store.fetch("SELECT toUInt64(count()) FROM events FINAL")
        assert rows == 20
        [(mutations,)] = await execute(
            store, "SELECT count() FROM system.mutations WHERE database = '{db}' AND command LIKE '%DELETE%'"
        )
        assert mutations == 1
        [(helpers,)] = await execute(
            store, "SELECT count() FROM system.tables WHERE database = '{db}' AND name LIKE 'erasing%'"
        )
        assert helpers == 0


async def test_a_second_erasure_during_the_first_takes_what_came_between(settings: ShardSettings, store: Store) -> None:
    async with up(settings, store) as shards:
        await shards.append(events(shards, 10, match_id=GONE))
        await shards.erasures.request(GONE)
        await shards.append(events(shards, 10, match_id=GONE))
        await shards.erasures.request(GONE)
        await shards.append(events(shards, 3, match_id=GONE))
        await erased(shards)
        await flushed(shards)
        assert await total(shards, store, GONE) == await count(store, GONE) == 3
        assert sums_up(shards)


async def test_an_erasure_is_recorded_with_clickhouse_away_and_done_when_it_is_back(
    settings: ShardSettings, store: Store
) -> None:
    async with up(settings, store) as shards:
        await shards.append(events(shards, 10, match_id=GONE))
        await shards.flush()
    async with running(settings, store) as shards:
        for shard in (0, 1):
            shards.pause(shard)
        await shards.erasures.request(GONE)
        assert GONE.encode() in (settings.data_dir / FILE_NAME).read_bytes()
    async with up(settings, store) as shards:
        await erased(shards)
        assert await count(store, GONE) == 0
        assert (settings.data_dir / FILE_NAME).read_bytes() == b""


async def test_rows_of_another_service_from_after_the_cut_off_stay(settings: ShardSettings, store: Store) -> None:
    async with up(settings, store) as shards:
        await shards.append(events(shards, 10, match_id=GONE))
        await shards.flush()
        shards.pause(HOME)
        await shards.erasures.request(GONE)
        other = attrs.evolve(settings, data_dir=settings.data_dir.with_name("another"))
        async with up(other, store) as others:
            await others.append(events(shards, 4, match_id=GONE))
            await others.flush()
        shards.resume(HOME)
        await erased(shards)
        assert await count(store, GONE) == 4


async def test_events_of_a_match_can_be_refused_for_a_while(settings: ShardSettings, store: Store) -> None:
    async with up(settings, store) as shards:
        await shards.append(events(shards, 3, match_id=GONE))
        erasure = await shards.erasures.request(GONE, refuse_for_s=3600)
        assert shards.erasures.refused_until_ms(GONE) == erasure.refuse_until_ms > erasure.at_ms
        await erased(shards)
        assert shards.erasures.refused_until_ms(GONE)
        assert not shards.erasures.refused_until_ms("other")
    async with up(settings, store) as shards:
        assert shards.erasures.refused_until_ms(GONE) == erasure.refuse_until_ms
        assert GONE not in shards.erasures
        await shards.erasures.request("other")
        await erased(shards)
        assert shards.erasures.refused_until_ms(GONE) == erasure.refuse_until_ms


def of_shard(name: str, index: int) -> str:
    """A match whose home is this shard of two."""
    return next(f"{name}{number}" for number in range(99) if shard_of(f"{name}{number}", 2) == index)


async def test_an_event_of_an_older_order_behind_the_cut_off_stays_though_others_are_erased_first(
    settings: ShardSettings, store: Store
) -> None:
    first, match_id = of_shard("first", 1), of_shard("m", 0)
    async with up(settings, store) as shards:
        await shards.append(events(shards, 5, match_id=match_id))
        await shards.append(events(shards, 5, match_id=first))
        await shards.flush()
        shards.pause(1)
        await shards.erasures.request(first)  # waits for the paused shard, and others wait for it
        late = events(shards, 2, match_id=match_id)  # validated, and not appended yet
        erasure = await shards.erasures.request(match_id)
        assert all(event.order_ns < erasure.order_ns for event in late)
        receipt = await shards.append(late)
        await asyncio.sleep(0.5)
        assert await count(store, match_id) == 5
        shards.resume(1)
        await erased(shards)
        await flushed(shards)
        assert shards.outcome(receipt) == Outcome(durable=0, stored=2, dead_lettered=0)
        assert await total(shards, store, match_id) == await count(store, match_id) == 2
        assert (await shards.audit()).verdict == "whole"


async def two_to_erase(settings: ShardSettings, store: Store) -> tuple[str, str]:
    """Have two matches of one shard wait for their erasure, with an event of the first between both cut-offs."""
    one, two = of_shard("one", 0), of_shard("two", 0)
    async with up(settings, store) as shards:
        for match_id in (one, two):
            await shards.append(events(shards, 5, match_id=match_id))
        await shards.flush()
        for shard in (0, 1):
            shards.pause(shard)
        late = events(shards, 1, match_id=one)
        await shards.erasures.request(one)
        await shards.append(late)
        await shards.append(events(shards, 2, match_id=two))
        await shards.erasures.request(two)
    return one, two


async def test_what_is_let_go_is_not_deleted_with_the_rest_of_its_batch(settings: ShardSettings, store: Store) -> None:
    one, two = await two_to_erase(settings, store)
    async with up(settings, store) as shards:
        await erased(shards)
        await flushed(shards)
        assert [await count(store, match_id) for match_id in (one, two)] == [1, 0]
        assert await total(shards, store, one) == 1
        assert (await shards.audit()).verdict == "whole"
        assert sums_up(shards)


async def test_a_second_request_for_a_match_of_the_batch_holds_up_nobody(settings: ShardSettings, store: Store) -> None:
    one, two = await two_to_erase(settings, store)
    async with running(settings, store) as shards:
        for shard in (0, 1):
            shards.pause(shard)
        await shards.erasures.request(one)
        await shards.append(events(shards, 3, match_id=one))
        for shard in (0, 1):
            shards.resume(shard)
        await erased(shards)
        await flushed(shards)
        assert [await count(store, match_id) for match_id in (one, two)] == [3, 0]


async def test_what_is_acknowledged_while_matches_are_erased_again_and_again_is_there_once(
    settings: ShardSettings, store: Store
) -> None:
    sent: dict[str, list[tuple[int, int]]] = {f"m{number}": [] for number in range(8)}
    over = False

    async def write(shards: ShardSet, match_id: str) -> None:
        while not over:
            made = events(shards, 1, match_id=match_id)
            await asyncio.sleep(0)  # as between validation and append
            [stretch] = (await shards.append(made)).stretches
            sent[match_id].append((stretch.shard, stretch.first))

    async with up(settings, store) as shards:
        async with asyncio.TaskGroup() as group:
            for match_id in sent:
                group.create_task(write(shards, match_id))
            last = {}
            for number in range(24):
                match_id = f"m{number % 8}"
                last[match_id] = await shards.erasures.request(match_id)
                await asyncio.sleep(0.05)
            over = True
        await erased(shards)
        await flushed(shards)
        for match_id, rows in sent.items():
            stay = [seq for shard, seq in rows if seq > last[match_id].upto(shard)]
            assert await count(store, match_id) == len(stay), match_id
        assert (await shards.audit()).verdict == "whole"
        assert sums_up(shards)


async def test_a_recovery_that_begins_anew_hides_a_match_once(settings: ShardSettings, store: Store) -> None:
    async with up(settings, store) as shards:
        await shards.append(events(shards, 3, match_id=GONE))
        shards.pause(0)
        shards.pause(1)
        await shards.erasures.request(GONE)
    async with up(settings, store) as shards:
        await shards.erasures.recover(shards._shards, log_is_another=False)
        await erased(shards)
        assert GONE not in shards.erasures
