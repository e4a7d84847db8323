"""What became of a request: by its receipt, and by waiting for it."""

import uuid
from typing import Any

import pytest

from shards.receipts import Receipt
from tests.http.problem import assert_problem
from tests.http.service import Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

NDJSON = "application/x-ndjson"


def event(match_id: str, **fields: Any) -> dict[str, Any]:
    return {"matchId": match_id, "eventType": "pass", "teamId": "1", "eventId": str(uuid.uuid4())} | fields


async def outcome(service: Service, receipt: str) -> dict[str, Any]:
    reply = await service.get(f"/api/receipts/{receipt}")
    assert reply.status == 200, reply.text
    assert reply.json["events"] == sum(reply.json[name] for name in ("durable", "stored", "deadLettered"))
    return dict(reply.json)


async def test_a_receipt_goes_from_durable_to_stored(service: Service) -> None:
    for shard in service.context.shards.snapshot().shards:
        service.context.shards.pause(shard.index)
    try:
        reply = await service.post("/api/events", [event(f"receipt-{number}") for number in range(20)])
        assert reply.status == 202
        found = await outcome(service, reply.json["receipt"])
        assert (found["status"], found["events"], found["durable"]) == ("durable", 20, 20)
        late = await service.post("/api/events?ack=stored&timeout=0.05", event("receipt-late"))
        assert (late.status, late.json["status"]) == (202, "accepted")
    finally:
        for shard in service.context.shards.snapshot().shards:
            service.context.shards.resume(shard.index)

    async def stored() -> bool:
        return all([(await outcome(service, r.json["receipt"]))["status"] == "stored" for r in (reply, late)])

    await eventually(stored, lambda: "not stored")


async def test_waiting_until_stored(service: Service) -> None:
    single = await service.post("/api/events?ack=stored&timeout=30", event("stored"))
    assert (single.status, single.json["status"]) == (200, "stored")
    many = await service.post("/api/matches/stored/events?ack=stored&timeout=30", [event("stored"), {}])
    assert (many.status, many.json["accepted"], many.json["rejected"]) == (200, 1, 1)
    for reply in (single, many):
        assert (await outcome(service, reply.json["receipt"]))["status"] == "stored"
    store = service.context.store
    [(rows,)] = await store.fetch(f"SELECT count() FROM {store.database}.events FINAL WHERE match_id = 'stored'")
    assert rows == 2


async def test_a_bulk_request_has_one_receipt(service: Service) -> None:
    lines = b"\n".join(
        b'{"matchId":"bulk-%d","eventType":"view","eventId":"%s"}' % (number % 7, str(uuid.uuid4()).encode())
        for number in range(3_000)
    )
    reply = await service.post("/api/events/bulk?ack=stored&timeout=30", lines, content_type=NDJSON)
    assert (reply.status, reply.json["accepted"]) == (200, 3_000)
    found = await outcome(service, reply.json["receipt"])
    assert (found["status"], found["stored"]) == ("stored", 3_000)


async def test_the_same_events_again_get_a_receipt_of_their_own(service: Service) -> None:
    body = event("again")
    first, second = [await service.post("/api/events?ack=stored&timeout=30", body) for _ in range(2)]
    assert first.json["receipt"] != second.json["receipt"]
    assert first.json["eventId"] == second.json["eventId"]


@pytest.mark.parametrize("text", ["none", "0" * 8, "%00", "a" * 1_000, "00000000.0-1-1-1"])
async def test_an_unknown_receipt(service: Service, text: str) -> None:
    assert_problem(await service.get(f"/api/receipts/{text}"), 404, says="receipt")


async def test_a_receipt_for_events_that_do_not_exist(service: Service) -> None:
    reply = await service.post("/api/events", event("forged"))
    receipt = Receipt.parse(reply.json["receipt"])
    for stretch in ("0-1-999999999-5", "99-1-1-1", "0-5-4-1", "0-1-1-2", "0-1-1-1.0-1-1-1"):
        assert_problem(await service.get(f"/api/receipts/{receipt.directory}.{stretch}"), 404, says="receipt")
