"""Memory for bodies: who gets it, who waits, and that none is lost."""

import asyncio
import random

import pytest

from app.bodies import room as module
from app.bodies.room import LARGE_BYTES, LARGE_MAX, SMALL_BYTES, STREAMS_MAX, BodyRoom
from app.web.problems import Problem

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)


async def test_room_is_taken_and_given_back() -> None:
    room = BodyRoom(1 << 20)
    with room.body() as share:
        for size in (1, 1_000, SMALL_BYTES, 100_000):
            before = room.taken
            await share.take(size)
            assert room.taken == before + size == share.held
        share.give_back(100_000)
        assert room.taken == share.held == SMALL_BYTES + 1_001
    assert room.taken == 0


async def test_small_bodies_find_room_beside_large_ones() -> None:
    room = BodyRoom(1 << 20)
    with room.body() as large, room.body() as small, room.body() as other:
        await large.take(768 << 10)
        await small.take(SMALL_BYTES)
        with pytest.raises(Problem, match="no room for this body"):
            await small.take(1)
        with pytest.raises(Problem, match="no room for this body"):
            await other.take(SMALL_BYTES + 1)
    assert room.taken == 0


async def test_who_waits_comes_in_order_of_arrival() -> None:
    room = BodyRoom(4 << 20)
    order: list[int] = []

    async def one(number: int, size: int) -> None:
        with room.body() as share:
            await share.take(size)
            order.append(number)

    with room.body() as first:
        await first.take(900_000)
        with room.body() as second, room.body() as third:
            await second.take(LARGE_BYTES)
            await third.take(LARGE_BYTES)
            waiting = [asyncio.create_task(one(number, LARGE_BYTES - number * 100_000)) for number in range(5)]
            await asyncio.sleep(0)
            assert order == []
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3, 4]
    assert room.taken == 0


async def test_no_more_large_bodies_than_there_are_places() -> None:
    room = BodyRoom(1 << 30)
    bodies = [room.body() for _ in range(LARGE_MAX)]
    shares = [body.__enter__() for body in bodies]
    for share in shares:
        await share.take(LARGE_BYTES + 1)
    with room.body() as late:
        await late.take(LARGE_BYTES)
        with pytest.raises(Problem, match="no room"):
            await late.take(1)
        shares[0].give_back(1)
        await late.take(1)
    for body in bodies:
        body.__exit__(None, None, None)
    assert room.taken == 0


async def test_who_leaves_while_waiting_holds_nobody_up() -> None:
    room = BodyRoom(4 << 20)
    with room.body() as full, room.body() as big, room.body() as small:
        await full.take(3 << 20)
        wants = asyncio.create_task(big.take(2 << 20))
        behind = asyncio.create_task(small.take(SMALL_BYTES + 1))
        await asyncio.sleep(0)
        full.give_back(1 << 20)
        await asyncio.sleep(0)
        assert not behind.done()
        wants.cancel()
        await behind
    assert room.taken == 0


async def test_streams_are_counted() -> None:
    room = BodyRoom(1 << 20)
    streams = [room.stream() for _ in range(STREAMS_MAX)]
    for stream in streams:
        stream.__enter__()
    with pytest.raises(Problem, match="streams are open"):
        room.stream().__enter__()
    streams.pop().__exit__(None, None, None)
    room.stream().__enter__()


@pytest.mark.parametrize("seed", range(20))
async def test_none_is_lost_whatever_happens(seed: int) -> None:
    room = BodyRoom(8 << 20)
    chance = random.Random(seed)

    async def one() -> None:
        with room.body() as share:
            for _ in range(chance.randrange(6)):
                await share.take(chance.choice([100, 30_000, SMALL_BYTES, 400_000, LARGE_BYTES]))
                assert room.taken <= 8 << 20
                async with share.decoding():
                    await asyncio.sleep(chance.choice([0, 0, 0.001]))
                if share.held and chance.random() < 0.3:
                    share.give_back(chance.randrange(share.held + 1))

    async def some() -> None:
        tasks = [asyncio.create_task(one()) for _ in range(60)]
        for task in tasks:
            if chance.random() < 0.2:
                await asyncio.sleep(0)
                task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, (Problem, asyncio.CancelledError)), outcome

    await some()
    assert room.taken == 0
    with room.body() as share:
        await asyncio.wait_for(share.take(6 << 20), 1)
