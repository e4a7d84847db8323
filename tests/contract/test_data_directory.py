"""Starts on a data directory that lost its log, has another's, or holds what is not ours; over both stores."""

import shutil
from pathlib import Path

import attrs
import pytest

from shards.deadletters.entries import FiledLetter
from shards.receipts import Outcome, Receipt
from shards.settings import ShardSettings
from shards.shardset import ShardSet
from shards.stores.base import Store
from shards.wal.directory import shard_name
from tests.contract.shardsets import BAD, event, events, flushed, refuse_bad, rows_and_keys, running
from tests.logged import lines_of
from tests.statements import alter


@pytest.fixture
def settings(settings: ShardSettings) -> ShardSettings:
    return attrs.evolve(settings, shard_count=1)


async def letters(shards: ShardSet, *, settled: bool = False) -> list[FiledLetter]:
    return list(await shards.dead_letters(limit=100, settled=settled))


def figures(shards: ShardSet) -> tuple[int, int, int]:
    """Open, requeued, discarded; the identity is checked on the way, and that nothing is below 0."""
    now = shards.snapshot()
    parts = (now.confirmed, now.pending, now.dead_lettered, now.requeued, now.discarded, now.damaged, now.unaccounted)
    assert now.appended == sum(parts), parts
    assert min(parts) == now.unaccounted == 0
    return now.dead_lettered, now.requeued, now.discarded


async def three_letters(settings: ShardSettings, store: Store) -> Receipt:
    """Leave an open letter, a requeued one, and a discarded one; return the receipt of their events."""
    await store.open()
    await refuse_bad(store)
    async with running(settings, store) as shards:
        receipt = await shards.append(events(shards, 3, metadata=BAD) + events(shards, 1))
        await flushed(shards)
        requeued, discarded, _ = await letters(shards)
        await shards.requeue(requeued.id)
        await shards.append(events(shards, 1))  # a row is at fault only where others are taken
        await shards.discard(discarded.id)
        await flushed(shards)
        assert figures(shards) == (2, 1, 1)
    return receipt


def lose(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "wal")


def lose_with_an_older_release(data_dir: Path) -> None:
    lose(data_dir)
    (data_dir / "wal" / shard_name(0)).mkdir(parents=True)


@pytest.mark.parametrize("happens", [lose, lose_with_an_older_release])
async def test_letters_outlive_the_log_and_are_not_taken_for_those_of_new_rows(
    settings: ShardSettings, store: Store, happens: object
) -> None:
    former = await three_letters(settings, store)
    assert callable(happens)
    happens(settings.data_dir)
    async with running(settings, store) as shards:
        assert figures(shards) == (0, 0, 0)
        if happens is lose:
            assert shards.outcome(former) is None
        open_before = await letters(shards)
        assert len(open_before) == 2
        assert len(await letters(shards, settled=True)) == 4

        receipt = await shards.append(events(shards, 5))
        await flushed(shards)
        assert shards.outcome(receipt) == Outcome(durable=0, stored=5, dead_lettered=0)
        again = await shards.append(events(shards, 1, metadata=BAD) + events(shards, 1))
        await flushed(shards)
        assert shards.outcome(again) == Outcome(durable=0, stored=1, dead_lettered=1)
        assert figures(shards) == (1, 0, 0)
        assert (await shards.audit()).verdict == "whole"
        [new] = set(await letters(shards)) - set(open_before)

    await alter(store, "DROP CONSTRAINT c")
    async with running(settings, store) as shards:
        assert figures(shards) == (1, 0, 0)
        assert shards.outcome(receipt) == Outcome(durable=0, stored=5, dead_lettered=0)
        rows, _ = await rows_and_keys(store)
        for letter in open_before:
            await shards.requeue(letter.id)
        await shards.discard(new.id)
        await flushed(shards)
        assert (await rows_and_keys(store))[0] == rows + 2
        assert figures(shards) == (0, 0, 1)
        assert await letters(shards) == []
        assert (await shards.audit()).verdict == "whole"
    async with running(settings, store) as shards:
        assert figures(shards) == (0, 0, 1)


async def test_a_row_of_another_log_is_not_taken_for_a_letter(
    settings: ShardSettings, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The log was replaced by one whose records have the numbers of the letters."""
    former = await three_letters(settings, store)
    other = attrs.evolve(settings, data_dir=settings.data_dir.with_name("other"))
    async with running(other, store) as shards:
        shards.pause(0)
        await shards.append(events(shards, 9))
    lose(settings.data_dir)
    (other.data_dir / "wal").rename(settings.data_dir / "wal")
    async with running(settings, store) as shards:
        await flushed(shards)
        assert shards.outcome(former) is None
        assert shards.snapshot().confirmed == 9
        assert shards._shards[0].tally.dead == set()
        assert figures(shards) == (0, 0, 0)
        assert len(await letters(shards)) == 2
    assert [line["level"] for line in lines_of(caplog, "write-ahead log is another")] == ["error"]


async def test_letters_of_a_shard_without_a_log_are_listed(settings: ShardSettings, store: Store) -> None:
    await store.open()
    await refuse_bad(store)
    async with running(attrs.evolve(settings, shard_count=5), store) as shards:
        await shards.append([event(shards, match_id=f"m{number}", metadata=BAD) for number in range(30)])
        await shards.append([event(shards, match_id=f"m{number}") for number in range(30)])
        await flushed(shards)
    lose(settings.data_dir)
    async with running(settings, store) as shards:
        assert len(await letters(shards)) == 30
        assert figures(shards) == (0, 0, 0)


async def test_what_is_not_ours_is_passed_over_and_named(
    settings: ShardSettings, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.open()
    await refuse_bad(store)
    async with running(settings, store) as shards:
        await shards.append(events(shards, 5) + events(shards, 1, metadata=BAD))
        await flushed(shards)
    wal, filed = settings.data_dir / "wal", settings.data_dir / "deadletters"
    shutil.copytree(wal / "shard-000", wal / "shard-000.bak")
    shutil.copytree(wal / "shard-000", wal / "shard-999999")
    for name in ("copy.wal", "shard-200"):
        (wal / name).write_bytes(b"rubbish")
    shutil.copy(filed / "shard-000.jsonl", filed / "shard-000.jsonl~")
    shutil.copy(filed / "shard-000.jsonl", filed / "shard-9999.jsonl")
    before = sorted(wal.rglob("*"))

    caplog.clear()
    async with running(settings, store) as shards:
        assert figures(shards) == (1, 0, 0)
        assert len(shards.snapshot().shards) == 1
        assert len(await letters(shards)) == 1
        await shards.append(events(shards, 5))
        await flushed(shards)
        assert figures(shards) == (1, 0, 0)
        assert shards.snapshot().confirmed == 10
    named = {Path(line["path"]).name: line for line in lines_of(caplog, "unknown files passed over")}
    assert {line["level"] for line in named.values()} == {"warning"}
    assert named["wal"]["names"] == ["copy.wal", "shard-000.bak", "shard-200", "shard-999999"]
    assert named["deadletters"]["names"] == ["shard-000.jsonl~", "shard-9999.jsonl"]
    ours = [path for path in wal.rglob("*") if wal / "shard-000" not in path.parents]
    assert sorted(ours) == [path for path in before if wal / "shard-000" not in path.parents]


async def test_a_requeue_and_a_discard_are_never_counted_beyond_the_letters_that_there_were(
    settings: ShardSettings, store: Store
) -> None:
    """A directory that an older release went on with after it had lost its log: nothing tells whose the letters are."""
    await three_letters(settings, store)
    lose(settings.data_dir)
    kept = (settings.data_dir / "deadletters" / "shard-000.jsonl").read_bytes()
    async with running(settings, store) as shards:
        await shards.append(events(shards, 20))
        await flushed(shards)
    (settings.data_dir / "deadletters" / "shard-000.jsonl").write_bytes(kept)
    async with running(settings, store) as shards:
        assert figures(shards) == (0, 0, 0)
