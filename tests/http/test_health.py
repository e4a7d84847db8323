import attrs
import pytest

from app.config import Config
from tests.clickhouse import free_port
from tests.http.service import Service, eventually, running

CHECKS = ("recovery", "wal", "clickhouse", "flush", "pauses", "tasks", "accounting", "keys")

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def is_up(service: Service) -> None:
    async def up() -> bool:
        return service.context.shards.snapshot().store.up

    await eventually(up, lambda: str(service.context.shards.snapshot()))


@pytest.mark.parametrize("path", ["/health", "/health/live"])
async def test_says_that_the_process_lives(service: Service, path: str) -> None:
    reply = await service.get(path)
    assert reply.status == 200
    assert reply.json["status"] == "healthy"


@pytest.mark.parametrize("path", ["/ready", "/health/ready"])
async def test_is_ready_once_clickhouse_answers(service: Service, path: str) -> None:
    await is_up(service)
    reply = await service.get(path)
    assert reply.status == 200
    assert reply.json["status"] == "ready"
    assert reply.json["checks"] == dict.fromkeys(CHECKS, "healthy")


async def test_has_started_once_the_log_is_recovered(service: Service) -> None:
    await is_up(service)
    reply = await service.get("/health/startup")
    assert (reply.status, reply.json["status"]) == (200, "started")


async def has_recovered(service: Service) -> None:
    async def recovered() -> bool:
        return service.context.shards.snapshot().recovered

    await eventually(recovered, lambda: str(service.context.shards.snapshot()))


async def test_stays_ready_with_clickhouse_away_and_says_since_when_and_why(config: Config) -> None:
    away = f"clickhouse://default@127.0.0.1:{free_port()}/away"
    alone = attrs.evolve(config, data_dir=config.data_dir / "away", clickhouse_url=away, shutdown_timeout_s=1)
    async with running(alone) as service:

        async def refused() -> bool:
            error: str = service.context.shards.snapshot().store.error
            return "127.0.0.1" in error and service.context.shards.snapshot().recovered

        await eventually(refused, lambda: str(service.context.shards.snapshot()))
        reply = await service.get("/ready")
        assert (reply.status, reply.json["status"]) == (200, "degraded")
        assert reply.json["checks"]["clickhouse"].startswith("away since 2")
        assert reply.json["checks"]["wal"] == "healthy"
        assert (await service.post("/api/events", {"matchId": "m", "eventType": "view"})).status == 202


async def test_is_not_ready_but_alive_when_the_log_accepts_nothing(config: Config) -> None:
    alone = attrs.evolve(config, data_dir=config.data_dir / "closing")
    async with running(alone) as service:
        await has_recovered(service)
        service.context.shards.stop_accepting()
        reply = await service.get("/ready")
        assert (reply.status, reply.json["status"]) == (503, "not ready")
        assert reply.json["checks"]["wal"] != "healthy"
        assert (await service.get("/health")).status == 200


async def test_status_accounts_for_every_event(service: Service) -> None:
    await is_up(service)
    before = (await service.get("/api/status")).json["accounting"]["appended"]
    batch = [{"matchId": f"status-{number}", "eventType": "view"} for number in range(50)]
    assert (await service.post("/api/events", batch)).status == 202
    status = (await service.get("/api/status")).json
    assert status["accounting"]["appended"] == before + 50
    for counts in [status["accounting"], *(shard["accounting"] for shard in status["shards"])]:
        parts = [counts[part] for part in ("confirmed", "pending", "deadLettered", "requeued", "discarded", "damaged")]
        assert counts["appended"] == sum(parts)
    assert status["status"] == "ready"
    assert status["store"]["kind"] == "embedded"


async def test_metrics_count_streams_and_matches_that_go_on(service: Service) -> None:
    async def gauge(name: str) -> float:
        lines = (await service.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    path = 'method="GET",path="/api/matches/{matchId}/stream",status="200"'
    before = await gauge("fanfinity_matches_active")
    await service.post("/api/events", [{"matchId": m, "eventType": "match_start"} for m in ("goes-on", "ends")])
    await service.metrics("goes-on", total=1)
    async with service.session.get(f"{service.url}/api/matches/goes-on/stream"):
        pass

    async def counted() -> bool:
        # That a viewer left is noticed at the next message to it: without any event, ten seconds later.
        await service.post("/api/events", {"matchId": "goes-on", "eventType": "cheer"})
        return await gauge(f"http_requests_total{{{path}}}") == 1

    await eventually(counted, lambda: "the stream is not counted")
    assert await gauge("fanfinity_matches_active") == before + 2
    for event_type in ("match_end", "cheer"):
        await service.post("/api/events", {"matchId": "ends", "eventType": event_type})
        assert await gauge("fanfinity_matches_active") == before + 1


async def test_metrics_count_what_came_in_and_name_no_match(service: Service) -> None:
    await is_up(service)
    await service.post("/api/events", {"matchId": "secret-match", "eventType": "corner", "teamId": "t"})
    await service.get("/api/matches/secret-match/metrics")
    reply = await service.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert 'fanfinity_events_ingested_total{event_type="corner"} 1.0' in reply.text
    assert 'http_requests_total{method="POST",path="/api/events",status="202"}' in reply.text
    assert 'http_request_duration_seconds_bucket{le="0.005",method="GET",path="/api/matches/{matchId}/metrics"}' in (
        reply.text
    )
    assert "fanfinity_clickhouse_up 1.0" in reply.text
    for what in ("records", "bytes"):
        for done in ("appended", "synced"):
            assert f"fanfinity_wal_{done}_{what}_total" in reply.text
    assert 'fanfinity_shard_depth{shard="0"}' in reply.text
    assert "secret-match" not in reply.text


async def test_a_sum_that_differs_degrades_and_is_told_everywhere(service: Service) -> None:
    shard = service.context.shards._shards[0]
    shard.tally.confirmed += 1
    try:
        ready = await service.get("/ready")
        assert (ready.status, ready.json["status"]) == (200, "degraded"), "events are kept all the same"
        assert "shard 0 by -1" in ready.json["checks"]["accounting"]
        status = (await service.get("/api/status")).json
        assert (status["accounting"]["unaccounted"], status["shards"][0]["accounting"]["unaccounted"]) == (1, -1)
        assert "fanfinity_wal_unaccounted_records 1.0" in (await service.get("/metrics")).text
    finally:
        shard.tally.confirmed -= 1
    assert (await service.get("/ready")).json["checks"]["accounting"] == "healthy"
