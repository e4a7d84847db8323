"""Erasure over HTTP and by the command line: what each side is told, from the request to the end."""

import asyncio
import errno
import json
import os
import re
import uuid
from typing import Any

import pytest

from tests.http.command import run
from tests.http.problem import assert_problem
from tests.http.service import Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


def fresh() -> str:
    """The id of a match that no other test uses."""
    return f"match-{uuid.uuid4().hex[:8]}"


async def send(service: Service, match_id: str, count: int = 1, **fields: Any) -> dict[str, Any]:
    sent = [{"matchId": match_id, "eventType": "cheer"} | fields for _ in range(count)]
    reply = await service.post("/api/events?ack=stored", sent)
    assert reply.status in (200, 202)
    return dict(reply.json)


async def erase(service: Service, match_id: str, query: str = "") -> dict[str, Any]:
    reply = await service.request("DELETE", f"/api/matches/{match_id}{query}", headers=service.admin)
    assert reply.status == 202, reply.text
    return dict(reply.json)


async def done(service: Service, erasure: str) -> None:
    """Wait until an erasure is not known any more, because it is done."""

    async def gone() -> bool:
        return (await service.get(f"/api/erasures/{erasure}", headers=service.admin)).status == 404

    await eventually(gone, lambda: f"{erasure} is not done")


async def total(service: Service, match_id: str) -> int:
    reply = await service.get(f"/api/matches/{match_id}/metrics")
    if reply.status == 404:
        return 0
    assert reply.status == 200
    return int(reply.json["totalEvents"])


async def test_a_match_is_gone_from_every_answer_and_begins_anew(service: Service) -> None:
    match_id = fresh()
    await send(service, match_id, 5, eventType="goal", teamId="1")
    assert await total(service, match_id) == 5
    told = await erase(service, match_id)
    assert (told["matchId"], told["status"], told["refusedUntil"]) == (match_id, "erasing", None)

    for path in ("metrics", "stream"):
        assert_problem(await service.get(f"/api/matches/{match_id}/{path}"), 404)
    assert_problem(await service.get(f"/api/matches/{match_id}/events"), 404)
    assert (await service.get(f"/matches/{match_id}", headers={"Accept": "text/html"})).status == 404
    assert match_id not in (await service.get("/api/matches?limit=100")).text
    assert match_id not in (await service.get("/")).text
    await done(service, told["erasure"])
    assert_problem(await service.get(f"/api/matches/{match_id}/metrics"), 404)

    await send(service, match_id, 2)
    await service.metrics(match_id, total=2)


async def test_how_far_it_is_can_be_read_while_it_waits(service: Service) -> None:
    match_id = fresh()
    await send(service, match_id)
    shards = service.context.shards
    for shard in range(len(shards.snapshot().shards)):
        shards.pause(shard)
    try:
        told = await erase(service, match_id)
        one = (await service.get(f"/api/erasures/{told['erasure']}", headers=service.admin)).json
        assert (one["matchId"], one["step"], one["lastError"]) == (match_id, "settle", "")
        listed = (await service.get("/api/erasures", headers=service.admin)).json["erasures"]
        assert [erasure["erasure"] for erasure in listed] == [told["erasure"]]
        status = (await service.get("/api/status")).json["erasures"]
        assert (status["open"], status["step"], status["since"]) == (1, "settle", told["timestamp"])
        assert "fanfinity_erasures_open 1.0" in (await service.get("/metrics")).text
        await send(service, match_id, 3)
        assert await total(service, match_id) == 0
    finally:
        for shard in range(len(shards.snapshot().shards)):
            shards.resume(shard)
    await done(service, told["erasure"])
    await service.metrics(match_id, total=3)
    status = (await service.get("/api/status")).json["erasures"]
    assert status == {"open": 0, "step": None, "since": None, "lastError": ""}


async def test_a_stream_ends_when_its_match_is_erased(service: Service) -> None:
    match_id = fresh()
    await send(service, match_id)
    async with service.session.get(f"{service.url}/api/matches/{match_id}/stream") as stream:
        assert stream.status == 200
        await stream.content.readuntil(b"\n\n")
        told = await erase(service, match_id)
        async with asyncio.timeout(10):
            assert await stream.content.read() is not None
    await done(service, told["erasure"])


async def test_events_can_be_refused_after_it(service: Service) -> None:
    match_id = fresh()
    await send(service, match_id)
    told = await erase(service, match_id, "?refuse_for=3600")
    await done(service, told["erasure"])
    problem = assert_problem(await service.post("/api/events", {"matchId": match_id, "eventType": "cheer"}), 400)
    [fault] = problem["errors"]
    assert fault["field"] == "$.matchId"
    assert told["refusedUntil"] in fault["message"]
    other = fresh()
    reply = await service.post("/api/events", [{"matchId": name, "eventType": "cheer"} for name in (match_id, other)])
    assert (reply.status, reply.json["accepted"], reply.json["rejected"]) == (202, 1, 1)
    assert reply.json["errors"][0]["index"] == 0


@pytest.mark.parametrize("given", ["0", "-1", "x", "nan", "1e99", ""])
async def test_a_time_of_refusal_that_is_none_is_named(service: Service, given: str) -> None:
    reply = await service.request("DELETE", f"/api/matches/m?refuse_for={given}", headers=service.admin)
    problem = assert_problem(reply, 400)
    assert [fault["field"] for fault in problem["errors"]] == ["refuse_for"]


async def test_a_receipt_tells_of_events_that_were_erased_before_they_were_stored(service: Service) -> None:
    match_id, shards = fresh(), service.context.shards
    for shard in range(len(shards.snapshot().shards)):
        shards.pause(shard)
    reply = await service.post("/api/events", [{"matchId": match_id, "eventType": "cheer"}] * 4)
    told = await erase(service, match_id)
    for shard in range(len(shards.snapshot().shards)):
        shards.resume(shard)
    await done(service, told["erasure"])
    outcome = (await service.get(f"/api/receipts/{reply.json['receipt']}")).json
    assert (outcome["status"], outcome["erased"], outcome["stored"]) == ("erased", 4, 0)
    accounting = (await service.get("/api/status")).json["accounting"]
    assert accounting["erased"] >= 4
    assert accounting["appended"] == sum(count for part, count in accounting.items() if part != "appended")
    audit = (await service.get("/api/audit", headers=service.admin)).json
    assert (audit["verdict"], sum(shard["erased"] for shard in audit["shards"])) == ("whole", accounting["erased"])


async def test_an_erasure_that_the_disk_does_not_take_is_refused_and_hides_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    match_id = fresh()
    await send(service, match_id)

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(service.context.shards.erasures._file, "add", full)
        reply = await service.request("DELETE", f"/api/matches/{match_id}", headers=service.admin)
        assert_problem(reply, 503)
        assert int(reply.headers["Retry-After"]) > 0
    await service.metrics(match_id, total=1)
    assert (await service.get("/api/erasures", headers=service.admin)).json == {"erasures": []}


async def test_who_erased_what_is_kept(service: Service) -> None:
    match_id = fresh()
    await erase(service, match_id)
    [latest, *_] = (await service.get("/api/acts", headers=service.admin)).json["acts"]
    assert (latest["act"], latest["subject"]) == ("erase", f"match {match_id}")


async def test_the_command_erases_and_says_when_it_is_done(service: Service) -> None:
    match_id = fresh()
    await send(service, match_id, 3)
    ended = await run("erase", match_id, "--yes", environment=service.environment)
    assert (ended.code, ended.out.strip()) == (0, f"{match_id} is erased")
    assert await total(service, match_id) == 0
    ended = await run("erase", match_id, "--yes", "--no-wait", "--refuse-for", "60", environment=service.environment)
    assert ended.code == 0
    assert re.match(r"recorded as [0-9a-f]{16}; ", ended.out)


async def test_the_command_asks_first_and_never_on_its_own(service: Service) -> None:
    ended = await run("erase", "m", environment=service.environment)
    assert ended.code == 1
    assert "--yes" in ended.err
    assert json.loads((await service.get("/api/erasures", headers=service.admin)).text) == {"erasures": []}
