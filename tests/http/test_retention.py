"""What the setting means to those who ask: events that are too old count no more, and nothing goes on about them."""

import time
import uuid

import attrs
import pytest

from app.config import Config
from shards.events import Event
from tests.http.problem import assert_problem
from tests.http.service import eventually, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_NS = 86_400 * 10**9


def received(match_id: str, *, days_ago: float) -> Event:
    now = time.time_ns()
    at = now - int(days_ago * DAY_NS)
    return Event(match_id, str(uuid.uuid4()), "view", now // 1_000_000, "", "", "{}", at, at)


async def test_a_match_goes_with_its_last_event(config: Config) -> None:
    """The log held its events for longer than they are kept, as if ClickHouse had been away all the time."""
    kept_for = attrs.evolve(config, data_dir=config.data_dir / "retention", retention_days=30)
    async with running(kept_for) as service:
        shards = service.context.shards
        await shards.append([received("gone", days_ago=31), received("part", days_ago=31)])
        await shards.append([received("part", days_ago=0)])
        await shards.flush()
        now = shards.snapshot()
        assert (now.appended, now.confirmed, now.pending, now.dead_lettered) == (3, 3, 0, 0)

        async def settled() -> bool:
            return (await service.get("/api/matches/gone/metrics")).status == 404

        await eventually(settled, lambda: "still counted")
        assert_problem(await service.get("/api/matches/gone/events"), 404)
        assert (await service.metrics("part", total=1))["eventsByType"] == {"view": 1}
        listed = (await service.get("/api/matches")).json["matches"]
        assert [match["matchId"] for match in listed] == ["part"]
