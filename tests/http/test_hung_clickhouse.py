"""A ClickHouse that hangs: who reads is told promptly, long before the statement itself is given up."""

import asyncio
from pathlib import Path

import pytest

from app.config import Config
from app.live import waiting
from shards.flush import gate
from shards.stores.base import READ_TIMEOUT_S
from tests.clickhouse import ClickHouseServer
from tests.http.problem import assert_problem
from tests.http.service import Service, eventually, running


async def refused_promptly(service: Service, path: str) -> None:
    async with asyncio.timeout(READ_TIMEOUT_S / 2):
        reply = await service.get(path)
    assert_problem(reply, 503, says="no earlier answer")
    assert int(reply.headers["Retry-After"]) > 0


async def test_reads_are_answered_promptly_while_clickhouse_hangs(
    own_clickhouse: ClickHouseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WITHOUT_ANSWER_S", 0.5)
    config = Config(
        data_dir=tmp_path / "data", port=0, monitor=None, clickhouse_url=f"{own_clickhouse.url}/hung", shards=1
    )
    async with running(config) as service:
        await service.post("/api/events", {"matchId": "seen", "eventType": "cheer"})
        await service.metrics("seen", total=1)
        own_clickhouse.pause()
        try:
            for path in ("/api/matches/unseen/metrics", "/api/matches", "/api/matches/seen/metrics?bucket=10s"):
                await refused_promptly(service, path)
            assert not service.context.shards.store_is_away

            # Once it is known, nobody needs the patience that an unknown outage takes.
            monkeypatch.setattr(waiting, "WITHOUT_ANSWER_S", 2.0 * READ_TIMEOUT_S)
            monkeypatch.setattr(gate, "CHECK_TIMEOUT_S", 0.2)

            async def known() -> bool:
                return service.context.shards.store_is_away

            await eventually(known, lambda: str(service.context.shards.snapshot().store))
            assert "away since" in (await service.get("/ready")).json["checks"]["clickhouse"]
            await refused_promptly(service, "/api/matches/another/metrics")
            assert (await service.get("/api/matches/seen/metrics")).json["totalEvents"] == 1
        finally:
            own_clickhouse.resume()

        async def back() -> bool:
            reply = await service.get("/api/matches/another/metrics")
            return reply.status == 404 and not service.context.shards.store_is_away

        await eventually(back, lambda: str(service.context.shards.snapshot().store))
