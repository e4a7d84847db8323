"""One load for all who ask the same, and none that began too long ago."""

import asyncio
from functools import partial

import pytest

from app.web.shared import Shared
from shards import StoreUnavailable


async def test_who_comes_late_shares_the_next_load_and_never_makes_a_second_one() -> None:
    began, running, gate = 0, 0, asyncio.Event()

    async def load() -> int:
        nonlocal began, running
        began, running = began + 1, running + 1
        assert running == 1
        await gate.wait()
        running -= 1
        return began

    answers: Shared[str, int] = Shared(max_age_s=0.05, keys_max=8)
    early = [asyncio.create_task(answers.get("key", load)) for _ in range(3)]
    await asyncio.sleep(0.1)
    late = [asyncio.create_task(answers.get("key", load)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*early) == [1, 1, 1]
    assert await asyncio.gather(*late) == [2, 2, 2]


async def test_another_version_is_worked_out_at_once_and_each_is_shared() -> None:
    made: list[object] = []

    async def make(version: object) -> object:
        made.append(version)
        await asyncio.sleep(0.01)
        return version

    answers: Shared[str, object] = Shared(keys_max=8)
    versions = [object(), object()]
    asked = [answers.get("key", partial(make, version), version=version) for version in (*versions, versions[1])]
    assert await asyncio.gather(*asked) == [*versions, versions[1]]
    assert made == versions
    assert await answers.get("key", partial(make, versions[1]), version=versions[1]) is versions[1], "however old"
    assert made == versions


async def test_an_error_is_shared_and_is_not_for_ever() -> None:
    tries = 0

    async def fail() -> int:
        nonlocal tries
        tries += 1
        raise OSError(tries)

    answers: Shared[str, int] = Shared(max_age_s=0.05, keys_max=8)
    outcomes = await asyncio.gather(*(answers.get("key", fail) for _ in range(3)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["1"] * 3
    await asyncio.sleep(0.06)
    with pytest.raises(OSError, match="2"):
        await answers.get("key", fail)


async def test_the_one_that_was_not_asked_for_the_longest_goes_first() -> None:
    async def make() -> object:
        return object()

    answers: Shared[str, object] = Shared(keys_max=2)
    first, second = await answers.get("first", make), await answers.get("second", make)
    assert await answers.get("first", make) is first
    await answers.get("third", make)
    assert await answers.get("first", make) is first
    assert await answers.get("second", make) is not second


async def test_what_is_under_way_ends_with_it() -> None:
    answers: Shared[str, None] = Shared(keys_max=8)
    asked = asyncio.create_task(answers.get("key", asyncio.Event().wait))
    await asyncio.sleep(0)
    await answers.close()
    with pytest.raises(StoreUnavailable, match="shutting down"):
        await asked


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    gate = asyncio.Event()
    answers: Shared[str, bool] = Shared(keys_max=8)
    leaving, staying = (asyncio.create_task(answers.get("key", gate.wait)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.set()
    assert await staying


async def test_a_call_that_somebody_cancelled_is_made_anew_for_who_asks_next() -> None:
    gate = asyncio.Event()

    async def make() -> int:
        await gate.wait()
        return 1

    answers: Shared[str, int] = Shared(keys_max=8)
    asking = asyncio.create_task(answers.get("key", make))
    await asyncio.sleep(0)
    [call] = [task for task in asyncio.all_tasks() if task.get_name() == "make key"]
    call.cancel()
    with pytest.raises(StoreUnavailable):
        await asking
    gate.set()
    assert await answers.get("key", make) == 1


@pytest.mark.parametrize("for_readers", [True, False])
async def test_a_call_for_readers_ends_when_the_last_of_them_goes_away(for_readers: bool) -> None:
    ended = asyncio.Event()
    shared: Shared[str, int] = Shared(max_age_s=10, keys_max=1, for_readers=for_readers)

    async def make() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return 1

    readers = [asyncio.create_task(shared.get("key", make)) for _ in range(2)]
    await asyncio.sleep(0.01)
    for reader in readers:
        assert not ended.is_set()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert ended.is_set() is for_readers
    await shared.close()


async def test_results_are_kept_by_their_bytes_the_least_recently_used_goes_first() -> None:
    shared: Shared[int, bytes] = Shared(keys_max=1_000, bytes_max=1_000, size_of=len)
    made: list[int] = []

    async def get(key: int, size: int = 300) -> bytes:
        async def make() -> bytes:
            made.append(key)
            return bytes(size)

        found = await shared.get(key, make)
        await asyncio.sleep(0)
        return found

    for key in (1, 2, 3, 1, 4, 1):
        await get(key)
    assert made == [1, 2, 3, 4]
    await get(2)
    assert made == [1, 2, 3, 4, 2], "the one used longest ago had gone"
    assert len(await get(5, size=5_000)) == len(await get(5)) == 5_000
    assert made == [1, 2, 3, 4, 2, 5], "one that is too large is kept alone"
    await get(1)
    assert made[-1] == 1
