"""Who is there, as metrics: connections, requests in flight, viewers by kind, caches, and answers that are too old."""

import asyncio

import attrs
import pytest

from app.config import Config
from shards import StoreUnavailable
from tests.http.service import Service, eventually, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def samples(service: Service) -> dict[str, float]:
    lines = (await service.get("/metrics")).text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def test_viewers_are_counted_by_their_kind_and_leave(service: Service) -> None:
    await service.post("/api/events", {"matchId": "watched", "eventType": "match_start"})
    await service.metrics("watched", total=1)
    paths = {
        "stream": "/api/matches/watched/stream",
        "match_page": "/matches/watched/stream",
        "overview_page": "/stream",
    }
    before = await samples(service)
    streams = [await service.session.get(f"{service.url}{path}") for path in paths.values()]
    now = await samples(service)
    for kind in paths:
        name = f'fanfinity_viewers{{kind="{kind}"}}'
        assert now[name] == before[name] + 1
    assert now["http_requests_in_flight"] == before["http_requests_in_flight"] + len(streams)
    assert now["http_connections"] >= len(streams)
    assert now["http_connections_peak"] >= now["http_connections"]
    for stream in streams:
        stream.close()

    async def left() -> bool:
        await service.post("/api/events", {"matchId": "watched", "eventType": "cheer"})
        now = await samples(service)
        return all(now[f'fanfinity_viewers{{kind="{kind}"}}'] == 0 for kind in paths)

    await eventually(left, lambda: "a viewer that has left is still counted")
    assert (await samples(service))["http_requests_in_flight"] == 1, "the one that asks"


async def test_a_connection_too_many_is_counted(config: Config) -> None:
    alone = attrs.evolve(config, data_dir=config.data_dir / "few", shutdown_timeout_s=1)
    async with running(alone, connections_max=2) as service:
        others = [await asyncio.open_connection(service.host, service.port) for _ in range(2)]
        await asyncio.sleep(0.2)
        assert (await service.send_raw(b"GET /api/matches HTTP/1.1\r\nHost: x\r\n\r\n")).status == 503
        for _, writer in others:
            writer.close()
            await writer.wait_closed()
        now = await samples(service)
    assert (now["http_connections_refused_total"], now["http_connections_max"]) == (1, 2)
    assert now["http_connections_peak"] == 2


async def test_caches_and_old_answers_are_counted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.post("/api/events", {"matchId": "asked", "eventType": "goal", "teamId": "t"})
    await service.metrics("asked", total=1)
    hit = 'fanfinity_cache_requests_total{cache="match",result="hit"}'
    miss = 'fanfinity_cache_requests_total{cache="match",result="miss"}'
    await asyncio.sleep(1)
    before = await samples(service)
    for _ in range(5):
        assert (await service.get("/api/matches/asked/metrics")).status == 200
    now = await samples(service)
    assert (now[hit] - before[hit], now[miss] - before[miss]) == (4, 1)
    assert now["fanfinity_clickhouse_query_seconds_count"] > before["fanfinity_clickhouse_query_seconds_count"]
    assert now["fanfinity_stale_answers_total"] == before["fanfinity_stale_answers_total"]

    async def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(service.context.live._reads, "aggregates", fails)
    await asyncio.sleep(1)
    assert (await service.get("/api/matches/asked/metrics")).status == 200
    later = await samples(service)
    assert later["fanfinity_stale_answers_total"] == now["fanfinity_stale_answers_total"] + 1


async def test_the_time_until_events_are_stored_is_measured_a_batch(service: Service) -> None:
    before = await samples(service)
    reply = await service.post("/api/events?ack=stored", [{"matchId": "stored", "eventType": "view"}] * 20)
    assert (reply.status, reply.json["accepted"]) == (200, 20), reply.text
    now = await samples(service)
    count, total = "fanfinity_events_stored_seconds_count", "fanfinity_events_stored_seconds_sum"
    assert now[count] > before[count]
    assert 0 < now[total] - before[total] < 60


async def test_series_begin_at_zero_and_tell_no_time_of_creation(config: Config) -> None:
    alone = attrs.evolve(
        config, data_dir=config.data_dir / "new", shutdown_timeout_s=1, event_types=frozenset({"tifo"})
    )
    async with running(alone) as service:
        text = (await service.get("/metrics", headers={"Accept": "application/openmetrics-text"})).text
        now = await samples(service)
    assert "_created" not in text
    assert now['fanfinity_events_ingested_total{event_type="tifo"}'] == 0
    for status in (202, 500, 503):
        assert now[f'http_requests_total{{method="POST",path="/api/events",status="{status}"}}'] == 0
    assert now['fanfinity_shard_flushed_rows_total{shard="0"}'] == 0
    assert now["process_open_fds"] > 0
