"""Reads of a crowd wait for their turn here, so that none of them is taken for an outage."""

import asyncio

import pytest

from shards.stores import base
from shards.stores.base import Store
from tests.contract.rows import batch, event


async def test_the_wait_for_a_turn_is_not_taken_for_an_outage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.fetch("SELECT 1")
    monkeypatch.setattr(base, "READ_TIMEOUT_S", 3)
    slow = [asyncio.create_task(store.fetch("SELECT sleep(0.6)")) for _ in range(12)]
    await asyncio.sleep(0.1)
    # A writer waits for those under way at most, not for the crowd.
    async with asyncio.timeout(3):
        await store.insert_direct(batch([event()]))
    assert sum(read.done() for read in slow) <= 6
    assert await asyncio.gather(*slow) == [[(0,)]] * len(slow)


async def test_who_leaves_the_line_gives_up_its_turn(store: Store) -> None:
    slow = [asyncio.create_task(store.fetch("SELECT sleep(0.5)")) for _ in range(20)]
    await asyncio.sleep(0.05)
    for read in slow[2:]:
        read.cancel()
    async with asyncio.timeout(4):
        assert await store.fetch("SELECT 2") == [(2,)]
    await asyncio.gather(*slow, return_exceptions=True)
