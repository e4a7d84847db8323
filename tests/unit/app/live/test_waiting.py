"""Lines of readers, and how many of them begin in a round of the event loop."""

import asyncio
import itertools

import pytest

from app.live.waiting import Line, Rounds
from shards import TooManyReads


async def test_few_begin_in_a_round_in_the_order_of_arrival() -> None:
    rounds, begun = Rounds(4), list[int]()

    async def reader(number: int) -> None:
        await rounds.turn()
        begun.append(number)

    readers = [asyncio.create_task(reader(number)) for number in range(50)]
    seen = [0]
    while seen[-1] < len(readers):
        await asyncio.sleep(0)
        seen.append(len(begun))
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 4
    assert begun == sorted(begun)


async def test_who_comes_alone_begins_at_once_and_who_left_takes_no_turn() -> None:
    rounds = Rounds(1)
    await rounds.turn()
    left = [asyncio.create_task(rounds.turn()) for _ in range(100)]
    await asyncio.sleep(0)
    for reader in left:
        reader.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    async with asyncio.timeout(5):
        await rounds.turn()
        await asyncio.sleep(0.01)
        last = asyncio.create_task(rounds.turn())
        await asyncio.sleep(0)
        assert last.done(), "after a quiet round there is room at once"


async def test_a_line_is_served_one_by_one_and_refuses_who_finds_it_full() -> None:
    line, inside, most = Line(3), 0, 0

    async def reader() -> None:
        nonlocal inside, most
        async with line.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    readers = [asyncio.create_task(reader()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyReads):
        await reader()
    await asyncio.gather(*readers)
    await reader()
    assert most == 1
