"""Every state in which events are taken or refused: `/ready`, `/api/status`, metrics and the reply say the same.

ClickHouse is away in all of them but where it is up with another schema: what becomes of events is not up to it.
"""

import errno
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest

from app.config import Config
from app.observability.prometheus.events import REASONS
from app.web.refusals import _REFUSALS
from shards import REFUSALS, shardset
from shards.errors import Refusal, SchemaMismatch
from shards.wal.log import ShardLog
from tests.clickhouse import free_port
from tests.http.service import Service, eventually, running

EVENT = {"matchId": "m", "eventType": "view"}
MIB = 1 << 20


@attrs.frozen
class Told:
    """What the service says in a state, and the check of `/ready` that names it."""

    refusal: Refusal | None
    ready: int
    status: str
    check: str


Patch = pytest.MonkeyPatch
Entered = Callable[[Config, Patch], AbstractAsyncContextManager[Service]]


@asynccontextmanager
async def away(config: Config, _: Patch, **changes: Any) -> AsyncIterator[Service]:
    address = f"clickhouse://default@127.0.0.1:{free_port()}/away"
    config = attrs.evolve(config, clickhouse_url=address, shutdown_timeout_s=1, **changes)
    async with running(config) as service:
        yield service


@asynccontextmanager
async def log_full(config: Config, patch: Patch) -> AsyncIterator[Service]:
    async with away(config, patch, wal_max_bytes=MIB) as service:
        many = [EVENT | {"metadata": {"text": "x" * 1000}}] * 500

        async def is_full() -> bool:
            return (await service.post("/api/events", many)).status == 503

        await eventually(is_full, lambda: str(service.context.shards.snapshot()))
        yield service


@asynccontextmanager
async def disk_short(config: Config, patch: Patch) -> AsyncIterator[Service]:
    async with away(config, patch, wal_min_free_bytes=1 << 60) as service:
        yield service


@asynccontextmanager
async def disk_full(config: Config, patch: Patch) -> AsyncIterator[Service]:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with away(config, patch) as service:
        patch.setattr(ShardLog, "append", refuse)
        patch.setattr(ShardLog, "reopen", refuse)
        assert (await service.post("/api/events", EVENT)).status == 503
        yield service
        patch.undo()


@asynccontextmanager
async def schema_drift(config: Config, patch: Patch) -> AsyncIterator[Service]:
    async with away(config, patch) as service:
        service.context.shards._gate.report(SchemaMismatch(["events has no column player_id"]))
        yield service


@asynccontextmanager
async def paused(config: Config, patch: Patch) -> AsyncIterator[Service]:
    async with away(config, patch) as service:
        service.context.shards.pause(0, by="an operator")
        yield service


@asynccontextmanager
async def shutdown_announced(config: Config, patch: Patch) -> AsyncIterator[Service]:
    async with away(config, patch) as service:
        service.context.shutdown.begin()
        yield service


@asynccontextmanager
async def draining(config: Config, patch: Patch) -> AsyncIterator[Service]:
    async with away(config, patch) as service:
        service.context.shards.stop_accepting()
        yield service


@asynccontextmanager
async def recovering(config: Config, patch: Patch) -> AsyncIterator[Service]:
    go_on = threading.Event()
    recover = shardset.recovered_shards

    def waits(*arguments: Any, **options: Any) -> Any:
        assert go_on.wait(60)
        return recover(*arguments, **options)

    patch.setattr(shardset, "recovered_shards", waits)
    async with away(config, patch) as service:
        yield service
        go_on.set()


@asynccontextmanager
async def unreadable(config: Config, patch: Patch) -> AsyncIterator[Service]:
    go_on = threading.Event()

    def fails(*_: Any, **__: Any) -> Any:
        assert go_on.wait(60)
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(shardset, "recovered_shards", fails)
    async with away(config, patch) as service:
        go_on.set()

        async def known() -> bool:
            return bool(service.context.shards.snapshot().recovery_error)

        await eventually(known, lambda: str(service.context.shards.snapshot()))
        yield service


STATES: dict[Entered, Told] = {
    away: Told(None, 200, "degraded", "clickhouse"),
    schema_drift: Told(None, 200, "degraded", "clickhouse"),
    paused: Told(None, 200, "degraded", "pauses"),
    shutdown_announced: Told(None, 503, "not ready", "wal"),
    log_full: Told("log_full", 503, "not ready", "wal"),
    disk_short: Told("disk_short", 503, "not ready", "wal"),
    disk_full: Told("log_failed", 503, "not ready", "wal"),
    draining: Told("stopping", 503, "not ready", "wal"),
    recovering: Told("recovering", 503, "not ready", "recovery"),
    unreadable: Told("unreadable", 503, "not ready", "recovery"),
}


async def samples(service: Service) -> dict[str, float]:
    lines = (await service.get("/metrics")).text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


@pytest.mark.parametrize(("enter", "told"), STATES.items(), ids=[state.__name__ for state in STATES])
async def test_all_say_the_same(enter: Entered, told: Told, config: Config, monkeypatch: Patch) -> None:
    config = attrs.evolve(config, data_dir=config.data_dir / enter.__name__)
    async with enter(config, monkeypatch) as service:
        before = await samples(service)
        reply = await service.post("/api/events", EVENT)
        ready, status = await service.get("/ready"), (await service.get("/api/status")).json
        after = await samples(service)
        refused = told.refusal is not None
        assert (reply.status, "Retry-After" in reply.headers) == ((503, True) if refused else (202, False))
        assert (ready.status, ready.json["status"], status["status"]) == (told.ready, told.status, told.status)
        assert ready.json["checks"][told.check] != "healthy"
        assert status["wal"]["accepting"] is (not refused)
        assert after["fanfinity_wal_accepting"] == int(not refused)
        assert after["fanfinity_ready"] == int(told.ready == 200)
        assert after[f'fanfinity_ready_check{{check="{told.check}"}}'] == 0
        rose = {
            reason
            for reason in REASONS
            for name in [f'fanfinity_events_rejected_total{{reason="{reason}"}}']
            if after[name] > before[name]
        }
        assert rose == ({told.refusal} if refused else set())
        refusing = [r for r in REFUSALS if after.get(f'fanfinity_wal_refusing{{reason="{r}"}}')]
        assert refusing == ([told.refusal] if refused else [])
        if told.refusal is not None:
            assert reply.json["detail"].startswith(_REFUSALS[told.refusal])


def test_every_state_of_refusing_is_walked() -> None:
    """But for the one that lasts for milliseconds: `test_a_queue_that_is_full_refuses_until_the_disk_has_taken_it`."""
    assert {told.refusal for told in STATES.values()} == {None, *REFUSALS} - {"saturated"}
