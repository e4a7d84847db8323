"""Lines of readers."""

import asyncio

import pytest

from app.live.waiting import Line
from shards import TooManyReads


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
