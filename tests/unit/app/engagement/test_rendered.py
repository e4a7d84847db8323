"""Answers as bytes: made once for all who ask, and not kept for longer than they are given."""

import asyncio
import gc
import weakref

import pytest

from app.engagement import rendered
from app.engagement.curves import CurveWanted
from app.engagement.rendered import RenderedMetrics
from app.observability.response_times import ResponseTimes
from shards.reads.aggregates import MatchAggregates


def aggregates(match_id: str = "m") -> MatchAggregates:
    return MatchAggregates(
        match_id=match_id, total=1, first_ms=1, last_ms=1, last_received_ms=1, by_type_team=(), by_minute=((0, 1),)
    )


async def test_all_who_ask_for_the_same_are_given_the_same() -> None:
    answers, counted = RenderedMetrics(ResponseTimes()), aggregates()
    first, second = await asyncio.gather(answers.get(counted), answers.get(counted))
    assert first is second
    assert await answers.get(counted, CurveWanted("5m")) is not first
    assert await answers.get(aggregates()) is not first


async def test_nothing_is_kept_for_longer_than_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "MAX_AGE_S", 0.05)
    answers = RenderedMetrics(ResponseTimes())
    made = [weakref.ref(await answers.get(aggregates(), CurveWanted("1m", from_ms))) for from_ms in range(20)]
    async with asyncio.timeout(30):
        while any(answer() is not None for answer in made):
            await asyncio.sleep(0.01)
            gc.collect()
