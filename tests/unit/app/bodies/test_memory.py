"""Memory given back after a burst."""

import asyncio

import pytest

from app.bodies import memory
from app.bodies.memory import BURST_BYTES, Trimmer
from app.bodies.room import BodyRoom


async def test_memory_is_given_back_after_a_burst_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "AFTER_S", (0.0, 0.01))
    trimmer = Trimmer()
    for held in (0, BURST_BYTES - 1, 0):
        trimmer.note(held)
    await asyncio.sleep(0.05)
    assert trimmer.times == 0
    for held in (BURST_BYTES, BURST_BYTES + 1, BURST_BYTES - 1, 0):
        trimmer.note(held)
    await asyncio.sleep(0.05)
    assert trimmer.times == 2


async def test_bodies_that_are_many_are_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "AFTER_S", (0.0,))
    room = BodyRoom(8 * BURST_BYTES)
    with room.body() as one, room.body() as other:
        await one.take(BURST_BYTES // 2)
        await other.take(BURST_BYTES // 2)
    await asyncio.sleep(0.05)
    assert room._trimmer.times == 1
