"""One load for all who ask the same, and none that began too long ago."""

import asyncio

import pytest

from app.live import shared
from app.live.shared import Shared
from app.live.waiting import Patience


async def test_who_comes_late_shares_the_next_load_and_never_makes_a_second_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared, "MAX_AGE_S", 0.05)
    began, running, gate = 0, 0, asyncio.Event()

    async def load(key: str) -> int:
        nonlocal began, running
        began, running = began + 1, running + 1
        assert running == 1
        await gate.wait()
        running -= 1
        return began

    answers: Shared[str, int] = Shared(load, Patience())
    early = [asyncio.create_task(answers.get("key")) for _ in range(3)]
    await asyncio.sleep(0.1)
    late = [asyncio.create_task(answers.get("key")) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*early) == [1, 1, 1]
    assert await asyncio.gather(*late) == [2, 2, 2]
