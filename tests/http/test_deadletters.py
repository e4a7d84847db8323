"""Dead letters over HTTP and by the command line, against the embedded engine with a constraint that refuses some."""

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
import pytest_asyncio

from app.schemas.events import Origin
from app.schemas.outgoing import as_sent
from tests.clickhouse import free_port
from tests.http.command import Ended, run
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service, eventually
from tests.statements import alter

pytestmark = pytest.mark.asyncio(loop_scope="module")

LETTERS = "/api/deadletters"


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def refusal(service: Service) -> None:
    """From the start, ClickHouse refuses every event with the text "refused" in its metadata."""

    async def up() -> bool:
        return service.context.shards.snapshot().store.up

    await eventually(up, lambda: "not up")
    await alter(service.context.store, "ADD CONSTRAINT c CHECK position(metadata, 'refused') = 0")


async def put_aside(service: Service, **fields: Any) -> dict[str, Any]:
    """Send an event that ClickHouse refuses, and one that it takes; return the dead letter."""
    sent = {"matchId": "m", "eventType": "cheer", "eventId": str(uuid.uuid4()), "metadata": {"why": "refused"}} | fields
    neighbour = {"matchId": sent["matchId"], "eventType": "cheer"}
    assert (await service.post("/api/events", [sent, neighbour])).status == 202
    await service.context.shards.flush()
    reply = await service.get(f"{LETTERS}?limit=100", headers=service.admin)
    [letter] = [one for one in reply.json["deadLetters"] if one["event"]["eventId"] == sent["eventId"]]
    return letter


async def accounting(service: Service) -> dict[str, int]:
    """The figures of the status, whose sum is checked on the way."""
    counts: dict[str, int] = (await service.get("/api/status")).json["accounting"]
    assert counts["appended"] == sum(count for part, count in counts.items() if part != "appended")
    assert counts["damaged"] == 0
    return counts


async def retry(service: Service, letter: dict[str, Any], body: Any = b"", **headers: str) -> Reply:
    content_type = "application/json" if body else None
    return await service.post(
        f"{LETTERS}/{letter['id']}/retry", body, content_type=content_type, **service.admin, **headers
    )


async def counted(service: Service, match_id: str) -> int:
    """Events of a match that are stored, past every cache."""
    await service.context.shards.flush()
    aggregates = await service.context.reads.aggregates([match_id])
    assert aggregates[match_id].pending_events == 0
    return aggregates[match_id].total


async def test_a_letter_tells_what_was_sent_and_why_it_was_refused(service: Service) -> None:
    metadata = {"why": "refused", "big": 123456789012345678901234567890, "at": 1.10}
    sent = {"matchId": "told", "eventType": "goal", "teamId": 7, "extra": [1], "metadata": metadata}
    letter = await put_aside(service, **sent, timestamp="2024-01-15T14:03:07.25+03:00")
    assert letter["code"] == 469
    assert "CONSTRAINT" in letter["error"].upper()
    assert (letter["status"], letter["settledAt"], letter["requeuedAs"]) == ("open", None, None)
    event = letter["event"]
    assert event["matchId"] == "told"
    assert (event["eventType"], event["teamId"]) == ("goal", "7")
    assert event["timestamp"] == "2024-01-15T11:03:07.250Z"
    assert event["extra"] == [1]
    assert event["metadata"] == metadata
    reply = await service.get(f"{LETTERS}/{letter['id']}", headers=service.admin)
    assert reply.json == letter
    assert reply.headers["Cache-Control"] == "no-store"


async def test_retried_after_the_cause_is_mended_it_counts_once(service: Service) -> None:
    letter = await put_aside(service, matchId="retried")
    before = await accounting(service)
    assert await counted(service, "retried") == 1
    await alter(service.context.store, "DROP CONSTRAINT c")

    reply = await retry(service, letter)

    assert reply.status == 202
    assert reply.json["status"] == "requeued"
    assert reply.json["settledAt"]
    assert reply.json["requeuedAs"] == letter["event"]
    assert await counted(service, "retried") == 2
    assert (await service.post("/api/events", letter["event"])).status == 202
    assert await counted(service, "retried") == 2
    after = await accounting(service)
    assert (after["deadLettered"], after["requeued"]) == (before["deadLettered"] - 1, before["requeued"] + 1)
    metrics = (await service.get("/metrics")).text
    assert f"fanfinity_dead_letters {after['deadLettered']:.1f}" in metrics
    assert f"fanfinity_wal_requeued_records_total {after['requeued']:.1f}" in metrics
    assert_problem(await retry(service, letter), 409, says="requeued")
    assert_problem(
        await service.request("DELETE", f"{LETTERS}/{letter['id']}", headers=service.admin), 409, says="requeued"
    )
    listed = (await service.get(f"{LETTERS}?limit=100", headers=service.admin)).json["deadLetters"]
    assert letter["id"] not in [one["id"] for one in listed]
    everything = (await service.get(f"{LETTERS}?limit=100&all=true", headers=service.admin)).json["deadLetters"]
    assert reply.json in everything
    await alter(service.context.store, "ADD CONSTRAINT c CHECK position(metadata, 'refused') = 0")


async def test_mended_and_retried_it_counts_as_mended(service: Service) -> None:
    letter = await put_aside(service, matchId="mended", eventType="shot", teamId="1")
    event = letter["event"] | {"eventType": "goal", "metadata": {"minute": 3}, "new": True}
    reply = await retry(service, letter, event)
    assert reply.status == 202, reply.text
    assert reply.json["requeuedAs"] == event
    assert reply.json["receivedAt"] == letter["receivedAt"]
    assert await counted(service, "mended") == 2
    metrics = await service.metrics("mended", total=2)
    assert metrics["eventsByType"] == {"cheer": 1, "goal": 1}


async def test_what_a_repair_leaves_out_is_the_letters(service: Service) -> None:
    letter = await put_aside(service, matchId="left-out", timestamp="2024-01-15T14:03:07Z")
    reply = await retry(service, letter, gzip.compress(b'\xef\xbb\xbf {"eventType":"view"}'), Content_Encoding="gzip")
    assert reply.status == 202, reply.text
    assert reply.json["requeuedAs"] == {
        "matchId": "left-out",
        "eventId": letter["event"]["eventId"],
        "eventType": "view",
        "timestamp": letter["receivedAt"],
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"matchId": "another"}, "$.matchId differs from the dead letter's"),
        ({"eventId": "0190a6e4-7c1e-7d3a-9b5f-2f6f0c4d8e21"}, "$.eventId differs from the dead letter's"),
        ({"eventId": 5}, "$.eventId must be a UUID"),
        ({"matchId": ""}, "$.matchId must not be empty"),
        ({"eventType": "gaol"}, "is not a known event type"),
        ({"eventType": "goal"}, "$.teamId is required"),
        ({"timestamp": "2024-01-15T14:00:00"}, "has no offset"),
        ({"metadata": {"_unmapped": {}}}, "reserved"),
    ],
)
async def test_a_repair_obeys_the_rules_of_every_event(service: Service, change: dict[str, Any], says: str) -> None:
    letter = await put_aside(service, matchId="ruled")
    appended = service.appended
    reply = await retry(service, letter, letter["event"] | {"metadata": {}} | change)
    assert_problem(reply, 400, says=says)
    assert service.appended == appended
    assert (await service.get(f"{LETTERS}/{letter['id']}", headers=service.admin)).json == letter


async def test_every_fault_of_a_repair_is_named(service: Service) -> None:
    letter = await put_aside(service)
    wrong = {"matchId": "another", "eventId": str(uuid.uuid4()), "eventType": "gaol", "playerId": {}}
    problem = assert_problem(await retry(service, letter, wrong), 400)
    assert [fault["field"] for fault in problem["errors"]] == ["$.matchId", "$.eventId", "$.eventType", "$.playerId"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[{}]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"eventType":"view"}', "application/x-ndjson", 415),
        (b"<event/>", "application/xml", 415),
        (b" " * (2 << 20), "application/json", 413),
    ],
)
async def test_a_body_that_is_no_event_is_refused(
    service: Service, body: bytes, content_type: str, status: int
) -> None:
    letter = await put_aside(service)
    reply = await service.post(f"{LETTERS}/{letter['id']}/retry", body, content_type=content_type, **service.admin)
    assert_problem(reply, status)
    assert (await service.get(f"{LETTERS}/{letter['id']}", headers=service.admin)).json["status"] == "open"


async def test_refused_again_it_is_another_letter(service: Service) -> None:
    letter = await put_aside(service, matchId="again")
    assert (await retry(service, letter)).status == 202
    await service.post("/api/events", {"matchId": "again", "eventType": "view"})
    again: list[dict[str, Any]] = []

    async def listed() -> bool:
        found = (await service.get(f"{LETTERS}?limit=100", headers=service.admin)).json["deadLetters"]
        again[:] = [one for one in found if one["event"] == letter["event"]]
        return bool(again)

    await eventually(listed, lambda: "no new letter")
    assert again[0]["id"] != letter["id"]
    assert again[0]["receivedAt"] == letter["receivedAt"]
    await accounting(service)


async def test_discarded_it_is_not_listed_and_never_counted(service: Service) -> None:
    letter = await put_aside(service, matchId="discarded")
    before = await accounting(service)
    reply = await service.request("DELETE", f"{LETTERS}/{letter['id']}", headers=service.admin)
    assert reply.status == 200
    assert reply.json["status"] == "discarded"
    assert reply.json["requeuedAs"] is None
    after = await accounting(service)
    assert (after["deadLettered"], after["discarded"]) == (before["deadLettered"] - 1, before["discarded"] + 1)
    assert_problem(await retry(service, letter), 409, says="discarded")
    assert await counted(service, "discarded") == 1


async def test_pages_hold_each_letter_once_newest_first(service: Service) -> None:
    for _ in range(5):
        await put_aside(service, matchId="paged")
    whole = (await service.get(f"{LETTERS}?limit=100", headers=service.admin)).json
    assert whole["nextCursor"] is None
    pages = []
    cursor = ""
    while cursor is not None:
        page = (await service.get(f"{LETTERS}?limit=2{cursor and f'&cursor={cursor}'}", headers=service.admin)).json
        pages += page["deadLetters"]
        cursor = page["nextCursor"]
    assert pages == whole["deadLetters"]
    assert [one["at"] for one in pages] == sorted((one["at"] for one in pages), reverse=True)


async def test_parameters_are_checked(service: Service) -> None:
    problem = assert_problem(await service.get(f"{LETTERS}?limit=0&cursor=x&all=some", headers=service.admin), 400)
    assert sorted(fault["field"] for fault in problem["errors"]) == ["all", "cursor", "limit"]


@pytest.mark.parametrize("letter_id", ["0-0", "99-1", "x", "0-1-2", "%00", "%F0%9F%98%80", "..."])
async def test_an_unknown_letter_is_a_404(service: Service, letter_id: str) -> None:
    assert_problem(await service.get(f"{LETTERS}/{letter_id}", headers=service.admin), 404)
    assert_problem(await service.request("DELETE", f"{LETTERS}/{letter_id}", headers=service.admin), 404)
    assert_problem(await service.post(f"{LETTERS}/{letter_id}/retry", b"", **service.admin), 404)


async def test_as_sent_and_parsed_again_an_event_is_the_same(service: Service) -> None:
    schema = service.context.events_schema
    body = b"""{"matchId":"m \\u00e9","eventId":"0190a6e4-7c1e-7d3a-9b5f-2f6f0c4d8e21","eventType":"goal","teamId":1,
      "timestamp":"2024-01-15T14:00:00.123Z","metadata":{"n":1e400,"_unmapped2":{"x":[1.0]}},"other":{"a":1},"z":null}"""
    first = schema.parse(body, origin=Origin())
    again = schema.parse(msgspec.json.encode(as_sent(first)), origin=Origin())
    assert attrs.evolve(again, received_ns=first.received_ns, order_ns=first.order_ns) == first


async def command(service: Service, *arguments: object) -> Ended:
    return await run("deadletters", *arguments, environment=service.environment)


async def test_the_command_lists_shows_and_retries(service: Service, tmp_path: Path) -> None:
    letter = await put_aside(service, matchId="commanded", eventType="goal", teamId="1")
    listed = await command(service, "list", "--limit", 1)
    assert listed.code == 0
    assert letter["id"] in listed.out
    assert "commanded" in listed.out
    as_json = json.loads((await command(service, "list", "--json", "--all", "--limit", 150)).out)
    assert letter in as_json
    shown = await command(service, "show", letter["id"])
    assert f"code {letter['code']}" in shown.out
    assert letter["event"]["eventId"] in shown.out
    assert json.loads((await command(service, "show", letter["id"], "--json")).out) == letter

    event = json.loads((await command(service, "show", letter["id"], "--event")).out)
    assert event == letter["event"]
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event | {"eventType": "gaol"}))
    refused = await command(service, "retry", letter["id"], "--file", file)
    assert (refused.code, refused.out) == (1, "")
    assert "$.eventType" in refused.err
    file.write_text(json.dumps(event | {"metadata": {}}))
    retried = await command(service, "retry", letter["id"], "--file", file)
    assert (retried.code, retried.out) == (0, f"{letter['id']} is requeued\n")
    again = await command(service, "retry", letter["id"])
    assert again.code == 1
    assert "not open any more (requeued)" in again.err
    assert (await service.get(f"{LETTERS}/{letter['id']}", headers=service.admin)).json["status"] == "requeued"


async def test_the_command_discards_and_says_what_is_not_there(service: Service, tmp_path: Path) -> None:
    letter = await put_aside(service)
    done = await command(service, "discard", letter["id"], "--json")
    assert (done.code, json.loads(done.out)["status"]) == (0, "discarded")
    unknown = await command(service, "show", "no/such")
    assert (unknown.code, unknown.out) == (1, "")
    assert "no dead letter with this id" in unknown.err
    empty = tmp_path / "empty"
    empty.touch()
    assert (await command(service, "retry", letter["id"], "--file", empty)).code == 1
    nobody = await run("deadletters", "list", "--url", f"http://127.0.0.1:{free_port()}")
    assert nobody.code == 1
    assert len(nobody.err.splitlines()) == 1


async def test_the_command_retries_all(service: Service) -> None:
    for _ in range(3):
        await put_aside(service, matchId="all")
    waiting = [
        one["id"] for one in (await service.get(f"{LETTERS}?limit=100", headers=service.admin)).json["deadLetters"]
    ]
    await alter(service.context.store, "DROP CONSTRAINT c")
    outcome = await command(service, "retry-all", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == {"requeued": waiting[::-1], "refused": {}}
    assert (await service.get(LETTERS, headers=service.admin)).json == {"deadLetters": [], "nextCursor": None}
    assert await counted(service, "all") == 6
    assert (await accounting(service))["deadLettered"] == 0
    assert (await command(service, "retry-all")).out == "0 requeued, 0 refused\n"
    assert "no dead letters" in (await command(service, "list")).out
    await alter(service.context.store, "ADD CONSTRAINT c CHECK position(metadata, 'refused') = 0")
