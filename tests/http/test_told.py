"""What senders are told of events that are taken: what in them is not understood, and which were known already."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from app.config import Config
from app.handlers.sending import known
from shards.errors import StoreUnavailable
from tests.http.documented import assert_documented
from tests.http.service import Reply, Service, eventually, running
from tests.statements import execute

pytestmark = pytest.mark.asyncio(loop_scope="module")

NDJSON = "application/x-ndjson"
STORED = "ack=stored&timeout=30"
OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e"


def view(match_id: str, **fields: Any) -> dict[str, Any]:
    return {"matchId": match_id, "eventType": "view", "eventId": str(uuid.uuid4())} | fields


async def post(service: Service, body: Any, *, query: str = "", path: str = "/api/events") -> Reply:
    """Send events, lines to `/bulk`; the reply is as documented."""
    kind = "application/json"
    if path.endswith("bulk"):
        body, kind = b"\n".join(json.dumps(event).encode() for event in body), NDJSON
    reply = await service.post(f"{path}?{query}" if query else path, body, content_type=kind)
    assert_documented("POST", path, reply)
    return reply


SILENT: list[tuple[dict[str, Any], set[str]]] = [
    ({"eventType": "match_start", "metadata": {"home": {"id": 1.0}, "away": {"id": 2}}}, {"$.metadata.home.id"}),
    (
        {"eventType": "match_start", "metadata": {"home": {"teamId": "1"}, "away": {"teamId": "2"}}},
        {"$.metadata.home", "$.metadata.away"},
    ),
    ({"eventType": "match_start", "metadata": {"homeTeam": "A", "away": "B"}}, {"$.metadata.homeTeam"}),
    ({"eventType": "match_start", "home": "A", "away": "B"}, {"$.home", "$.away"}),
    ({"metadata": {"minute": {"minute": 45, "added": 2}}}, {"$.metadata.minute"}),
    ({"eventType": "card", "teamId": 1, "metadata": {"card": "rot"}}, {"$.metadata.card"}),
    ({"metadata": {"player": "\u200b\u200b"}}, {"$.metadata.player"}),
    ({"eventType": "retraction", "metadata": {"eventId": OTHER, "replaces": OTHER}}, {"$.metadata.replaces"}),
]


@pytest.mark.parametrize(("fields", "told"), SILENT)
async def test_what_is_not_understood_is_taken_and_told(
    service: Service, fields: dict[str, Any], told: set[str]
) -> None:
    event = view("told") | fields
    for query, status in ("", 202), (STORED, 200):
        one = await post(service, event, query=query)
        many = await post(service, [view("told"), {}, event], query=query)
        bulk = await post(service, [view("told"), {}, event], query=query, path="/api/events/bulk")
        assert {reply.status for reply in (one, many, bulk)} == {status}
        assert {warning["field"] for warning in one.json["warnings"]} == told
        for reply in (many, bulk):
            assert reply.json["warnings"] == [{"index": 2, **warning} for warning in one.json["warnings"]]
            assert (reply.json["accepted"], reply.json["rejected"]) == (2, 1)


async def test_what_is_understood_is_not_told(service: Service) -> None:
    sent = [
        view("quiet", metadata={"minute": minute, "period": 1, "player": "X", "x": "47.5"})
        for minute in (47, "47", "45+2", 45.0)
    ]
    sent.append(
        view("quiet", eventType="card", teamId="1", playerId="", metadata={"card": "RED", "minute": 45, "added": 2})
    )
    sent.append(view("quiet", metadata={"replaces": OTHER}))
    assert "warnings" not in (await post(service, sent)).json
    assert "warnings" not in (await post(service, sent, path="/api/events/bulk")).json
    for event in sent:
        assert "warnings" not in (await post(service, event)).json


async def test_the_first_hundred_warnings_of_a_stream_are_told(service: Service) -> None:
    lines = [view("many", metadata={"x": -1, "minute": "late"}), view("many")] * 80
    reply = await post(service, lines, path="/api/events/bulk")
    assert [warning["index"] for warning in reply.json["warnings"]] == [2 * (n // 2) for n in range(100)]
    assert reply.json["accepted"] == 160


async def test_a_stream_that_breaks_off_tells_them_too(service: Service, config: Config) -> None:
    line = json.dumps(view("broken", metadata={"x": -1})).encode()
    body = line + b'\n"%b"\n' % (b"x" * config.max_body_bytes)
    reply = await service.post("/api/events/bulk", body, content_type=NDJSON)
    assert reply.status == 413
    assert_documented("POST", "/api/events/bulk", reply)
    assert [warning["field"] for warning in reply.json["warnings"]] == ["$.metadata.x"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def beside_a_server(tmp_path_factory: pytest.TempPathFactory, clickhouse_url: str) -> AsyncIterator[Service]:
    """A service for this module with a ClickHouse server."""
    url = f"{clickhouse_url}/told_{uuid.uuid4().hex}"
    directory = tmp_path_factory.mktemp("data")
    config = Config(data_dir=directory, port=0, monitor=None, clickhouse_url=url, checkpoint_interval_ms=200)
    async with running(config) as service:
        yield service
        await execute(service.context.store, "DROP DATABASE {db} SYNC")


@pytest.fixture(params=["service", "beside_a_server"])
def either(request: pytest.FixtureRequest) -> Service:
    """A service on each engine."""
    found: Service = request.getfixturevalue(request.param)
    return found


async def test_one_event_is_known_when_it_comes_again(either: Service) -> None:
    event = view("one")
    for known_already in (False, True, True):
        reply = await post(either, event | {"metadata": {"try": known_already}}, query=STORED)
        assert (reply.status, reply.json["alreadyKnown"]) == (200, known_already)
    assert (await post(either, event | {"matchId": "another"}, query=STORED)).json["alreadyKnown"] is False
    assert "alreadyKnown" not in (await post(either, event)).json
    await either.metrics("one", total=1)


@pytest.mark.parametrize("path", ["/api/events", "/api/events/bulk"])
async def test_of_many_those_are_named_that_were_known_before(either: Service, path: str) -> None:
    old, new = [view(f"m{n % 3}") for n in range(30)], [view(f"m{n % 3}") for n in range(30)]
    assert (await post(either, old, query=STORED, path=path)).json["alreadyKnown"] == []
    mixed = [event for pair in zip(old, new, strict=True) for event in pair]
    reply = await post(either, [{}, *mixed, *mixed], query=STORED, path=path)
    assert (reply.status, reply.json["accepted"]) == (200, 120)
    assert reply.json["alreadyKnown"] == [event["eventId"] for event in old]
    if path == "/api/events":
        assert (await post(either, mixed, query=STORED)).json["alreadyKnown"] == [event["eventId"] for event in mixed]


async def test_an_id_twice_in_one_request_counts_once_and_was_not_known(either: Service) -> None:
    event = view("twice")
    assert (await post(either, [event, event], query=STORED)).json["alreadyKnown"] == []
    assert (await post(either, [event, event], query=STORED)).json["alreadyKnown"] == [event["eventId"]]
    await either.metrics("twice", total=1)


async def test_under_an_idempotency_key_a_request_is_known_when_it_comes_again(either: Service) -> None:
    body = [{"matchId": "key", "eventType": "view"}] * 5
    for times in range(2):
        reply = await either.post(f"/api/events?{STORED}", body, Idempotency_Key="k")
        assert reply.json["alreadyKnown"] == (reply.json["eventIds"] if times else [])


async def test_an_earlier_version_that_waits_is_known_once_all_is_stored(either: Service) -> None:
    event = view("waits")
    await post(either, event)
    assert (await post(either, event, query=STORED)).json["alreadyKnown"] is True


async def test_a_request_that_is_not_stored_in_time_does_not_say_what_was_known(either: Service) -> None:
    shards = either.context.shards
    for shard in shards.snapshot().shards:
        shards.pause(shard.index)
    try:
        for body in (view("late"), [view("late")]):
            reply = await post(either, body, query="ack=stored&timeout=0.05")
            assert reply.status == 202
            assert "alreadyKnown" not in reply.json
    finally:
        for shard in shards.snapshot().shards:
            shards.resume(shard.index)


async def test_a_database_that_does_not_tell_takes_nothing_from_the_reply(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(orders: object) -> set[Any]:
        raise StoreUnavailable("away")

    monkeypatch.setattr(service.context.known, "among", away)
    for body in (view("away"), [view("away")]):
        reply = await post(service, body, query=STORED)
        assert reply.status == 200
        assert "alreadyKnown" not in reply.json


async def test_of_more_events_than_one_question_may_have_nothing_is_said(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "EVENTS_MAX", 10)
    for count, told in (10, True), (11, False):
        reply = await post(service, [view("much") for _ in range(count)], query=STORED, path="/api/events/bulk")
        assert reply.status == 200
        assert ("alreadyKnown" in reply.json) is told


async def test_a_correction_is_stored_with_what_it_takes_the_place_of(either: Service) -> None:
    """In every spelling that is taken, because what ClickHouse would not read is refused."""
    goal = view("corrected", eventType="goal", teamId="1")
    await post(either, goal)
    spellings: list[Callable[[str], bytes]] = [
        lambda named: b'{"replaces":"%b"}' % named.encode(),
        lambda named: b'{"r\\u0065places":"%b"}' % named.upper().encode(),
        lambda named: b'{"minute":1, "replaces" : "%b", "n":[18446744073709551615,1e300]}' % named.encode(),
    ]
    for spelling in spellings:
        head = json.dumps(view("corrected", eventType="goal", teamId="1"))[:-1].encode()
        text = b'%b,"metadata":%b}' % (head, spelling(goal["eventId"]))
        assert (await either.post(f"/api/events?{STORED}", text)).status == 200
    store = either.context.store
    replacing = "match_id = 'corrected' AND target != toUUIDOrZero('')"
    statement = f"SELECT toString(target) FROM {store.database}.events FINAL WHERE {replacing}"

    async def stored() -> bool:
        return await store.fetch(statement) == [(goal["eventId"],)] * len(spellings)

    await eventually(stored, lambda: "not stored")
