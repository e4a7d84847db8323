"""Shards that an operator pauses, resumes and flushes, and who did it."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.access import acts as acts_module
from app.access.acts import Acts
from shards.shard import shard_of
from tests.http.documented import assert_documented
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAUSE, RESUME, FLUSH = (f"/api/shards/{{shard}}/{act}" for act in ("pause", "resume", "flush"))


async def _do(service: Service, template: str, shard: object, query: str = "") -> Reply:
    path = template.replace("{shard}", str(shard)) + query
    reply = await service.request("POST", path, headers=service.admin)
    assert_documented("POST", template, reply)
    return reply


async def _acts(service: Service) -> list[dict[str, Any]]:
    reply = await service.get("/api/acts?limit=100", headers=service.admin)
    assert_documented("GET", "/api/acts", reply)
    acts: list[dict[str, Any]] = reply.json["acts"]
    return acts


def _shard(service: Service, match_id: str) -> int:
    return shard_of(match_id, len(service.context.shards.snapshot().shards))


async def test_a_paused_shard_keeps_events_and_says_by_whom(service: Service) -> None:
    shard = _shard(service, "paused")
    paused = await _do(service, PAUSE, shard)
    assert (paused.status, paused.json["paused"], paused.json["pausedBy"]) == (200, True, "admin-token")
    assert (await _do(service, PAUSE, shard)).json["pausedSince"] == paused.json["pausedSince"]
    try:
        sent = await service.post("/api/events?ack=stored&timeout=0.5", {"matchId": "paused", "eventType": "cheer"})
        assert sent.status == 202
        await service.metrics("paused", total=1)
        ready = await service.get("/ready")
        assert (ready.status, ready.json["status"]) == (200, "degraded")
        assert f"shard {shard} by admin-token since" in ready.json["checks"]["pauses"]
        assert_problem(await _do(service, FLUSH, shard), 409, says="is paused by admin-token")
        status = (await service.get("/api/status")).json
        assert status["shards"][shard]["pausedBy"] == "admin-token"
        assert status["shards"][shard]["accounting"]["pending"] == 1
    finally:
        resumed = await _do(service, RESUME, shard)
    assert (resumed.status, resumed.json["paused"], resumed.json["pausedBy"]) == (200, False, None)
    assert (await service.get("/ready")).json["checks"]["pauses"] == "healthy"
    flushed = await _do(service, FLUSH, shard)
    assert (flushed.status, flushed.json["accounting"]["pending"]) == (200, 0)


async def test_a_flush_that_takes_too_long_goes_on(service: Service) -> None:
    shard = _shard(service, "slow")
    await service.post("/api/events", {"matchId": "slow", "eventType": "cheer"})
    assert (await _do(service, FLUSH, shard, "?timeout=0.000001")).status == 202

    async def done() -> bool:
        return bool((await service.get("/api/status")).json["shards"][shard]["accounting"]["pending"] == 0)

    await eventually(done, lambda: "pending")


@pytest.mark.parametrize(
    ("shard", "status", "says"),
    [("99", 404, "no such shard"), ("9" * 30, 404, "no such shard"), ("-1", 400, "a number"), ("x", 400, "a number")],
)
async def test_what_is_no_shard_is_told(service: Service, shard: str, status: int, says: str) -> None:
    for template in (PAUSE, RESUME, FLUSH):
        assert_problem(await _do(service, template, shard), status, says=says)


async def test_who_did_what_is_kept_before_it_is_done(service: Service) -> None:
    before = len(await _acts(service))
    headers = service.admin | {"X-Request-ID": "the-one", "X-Forwarded-For": "192.0.2.1"}
    await service.request("POST", "/api/shards/0/pause", headers=headers)
    await _do(service, RESUME, 0)
    second, first = (await _acts(service))[: len(await _acts(service)) - before]
    assert (first["act"], first["subject"], first["who"]) == ("pause", "shard 0", "admin-token")
    assert (first["requestId"], first["address"]) == ("the-one", "127.0.0.1")
    assert second["act"] == "resume"
    file = service.context.config.data_dir / "acts.ndjson"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text().splitlines()[-1])["act"] == "resume"


async def test_what_cannot_be_kept_is_not_done(service: Service) -> None:
    data_dir = service.context.config.data_dir
    file, aside = data_dir / "acts.ndjson", data_dir / "aside"
    file.rename(aside)
    file.mkdir()
    try:
        reply = await _do(service, PAUSE, 0)
        assert_problem(reply, 503, says="so nothing was done")
        assert reply.headers["Retry-After"]
    finally:
        file.rmdir()
        aside.rename(file)
    assert service.context.shards.snapshot().shards[0].paused is None


async def test_what_was_kept_and_cannot_be_read_is_told(service: Service) -> None:
    await _do(service, RESUME, 0)
    data_dir = service.context.config.data_dir
    file, aside = data_dir / "acts.ndjson", data_dir / "aside"
    file.rename(aside)
    file.mkdir()
    try:
        reply = await service.get("/api/acts", headers=service.admin)
        assert_documented("GET", "/api/acts", reply)
        assert_problem(reply, 503, says="cannot be read")
        page = await service.get("/operate", headers=service.admin | {"Accept": "text/html"})
        assert page.status == 200
        assert "What operators did cannot be read now" in page.text
    finally:
        file.rmdir()
        aside.rename(file)
    assert (await _acts(service))[0]["act"] == "resume"
    page = await service.get("/operate", headers=service.admin | {"Accept": "text/html"})
    assert "cannot be read" not in page.text


async def test_a_full_file_of_acts_keeps_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts_module, "FILE_MAX_BYTES", 1000)
    acts = Acts(tmp_path)
    for number in range(30):
        await acts.keep(who="a", address="b", request_id="c", act="pause", subject=f"shard {number}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acts.1.ndjson", "acts.ndjson"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    kept = [act["subject"] for act in await Acts(tmp_path).latest(1000)]
    assert kept == [f"shard {number}" for number in range(29, 29 - len(kept), -1)]
    assert len(kept) > 7
