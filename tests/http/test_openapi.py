"""The document and the service say the same: routes, statuses, headers, bodies."""

import gzip
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import attrs
import pytest
import pytest_asyncio
from aiohttp import ClientSession, CookieJar
from jsonschema import Draft202012Validator

from app.config import Config
from app.openapi.document import document, resolve
from tests.http.conftest import MAX_BODY_BYTES
from tests.http.documented import assert_documented, validate
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service, eventually, running
from tests.statements import alter

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_PROVOKED = {
    ("GET", "/api/audit", "503"),  # test_audit.py takes the ledger away
    ("GET", "/api/receipts/{receipt}", "503"),  # the same
    ("GET", "/health/startup", "503"),  # recovery of an empty log is over before the first request
    ("GET", "/api/deadletters", "503"),  # the same
    ("GET", "/api/deadletters/{id}", "503"),
    ("DELETE", "/api/deadletters/{id}", "503"),
    ("POST", "/api/events", "429"),  # test_limits.py sends more than it may
    ("POST", "/api/matches/{matchId}/events", "429"),
    # A body that stalls for 30 s: test_bad_input.py provokes it with a shorter patience.
    ("POST", "/api/events", "408"),
    ("POST", "/api/deadletters/{id}/retry", "408"),
    *(("POST", f"/api/shards/{{shard}}/{act}", "503") for act in ("pause", "resume", "flush")),  # test_shards.py does
    ("GET", "/api/acts", "503"),  # the same
    ("DELETE", "/api/matches/{matchId}", "503"),  # test_erasures.py has the disk fail
    ("GET", "/api/erasures", "503"),  # recovery of an empty log is over before the first request
    ("GET", "/api/erasures/{id}", "503"),
    ("POST", "/login", "408"),
    *(("POST", "/operate/shards/{shard}/{act}", status) for status in ("400", "408", "503")),
    ("POST", "/login", "503"),  # no room for its body
    ("POST", "/api/events/bulk", "408"),
    ("POST", "/api/matches/{matchId}/events", "408"),
}
Operation = tuple[str, str, str]
"""Method, path with placeholders, status."""


def operations() -> Iterator[Operation]:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            for status in operation["responses"]:
                yield method.upper(), path, status


def event(match_id: str = "documented", event_type: str = "goal", **fields: Any) -> dict[str, Any]:
    return {"matchId": match_id, "eventType": event_type, "teamId": "1", "eventId": str(uuid.uuid4())} | fields


@attrs.define
class Witness:
    """Sends requests, checks each reply, and remembers what was seen."""

    service: Service
    seen: set[Operation]

    async def get(self, path: str, template: str = "", **options: Any) -> Reply:
        return self.seen_as("GET", template or path.partition("?")[0], await self.service.get(path, **options))

    async def post(self, path: str, body: Any, template: str = "", **options: Any) -> Reply:
        return self.seen_as("POST", template or path, await self.service.post(path, body, **options))

    async def delete(self, path: str, template: str, **options: Any) -> Reply:
        return self.seen_as("DELETE", template, await self.service.request("DELETE", path, **options))

    async def stream(self, path: str, template: str) -> None:
        """Look at the head of a stream, and at its first message."""
        async with self.service.session.get(self.service.url + path) as response:
            first = ""
            while not first.endswith("\n\n"):
                first += (await response.content.readline()).decode()
            self.seen_as("GET", template, Reply(response.status, response.headers.copy(), first))

    def seen_as(self, method: str, path: str, reply: Reply) -> Reply:
        assert_documented(method, path, reply)
        self.seen.add((method, path, str(reply.status)))
        return reply


@pytest.fixture(scope="module")
def seen() -> set[Operation]:
    return set()


@pytest.fixture
def witness(service: Service, seen: set[Operation]) -> Witness:
    return Witness(service, seen)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shut(config: Config, service: Service) -> AsyncIterator[Service]:
    """A service that accepts nothing, and whose ClickHouse is not there."""
    alone = attrs.evolve(config, data_dir=config.data_dir / "shut", clickhouse_url="clickhouse://u@127.0.0.1:1/none")
    async with running(alone) as shut:

        async def recovered() -> bool:
            return shut.context.shards.snapshot().recovered

        await eventually(recovered, lambda: "not recovered")
        shut.context.shards.stop_accepting()
        yield shut


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


async def test_the_document_is_sound(service: Service) -> None:
    served = (await service.get("/openapi.json")).json
    assert served == document()
    assert served["openapi"].startswith("3.1.")
    for node in walk(served):
        assert None not in node.values(), node  # half of a sentence with a comma that was not quoted
        if "$ref" in node:
            assert resolve(node)
    for schema in served["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    named = [operation["operationId"] for item in served["paths"].values() for operation in item.values()]
    assert len(named) == len(set(named))
    for path, item in served["paths"].items():
        for operation in item.values():
            given = {p["name"] for p in map(resolve, operation["parameters"]) if p["in"] == "path"}
            assert given == set(re.findall(r"{(\w+)}", path)), path


async def test_every_route_is_documented_and_every_documented_path_is_a_route(service: Service) -> None:
    routes = {(route.method, route.resource.canonical) for route in service.app.router.routes() if route.resource}
    documented = {(method, path) for method, path, _ in operations()}
    implied = {route for route in routes if route[0] in ("HEAD", "OPTIONS")}
    assert routes - implied == documented
    assert {("GET", path) for _, path in implied} <= documented


async def test_parameters_that_are_not_documented_are_refused(witness: Witness, service: Service) -> None:
    """So a parameter that a handler reads cannot be missing in the document: it would not get there."""
    paths = {(method, path) for method, path, _ in operations() if path.startswith("/api/")}
    assert len(paths) > 10
    for method, path in paths:
        target = f"{path.replace('{shard}', '0').replace('{', '').replace('}', '')}?none%C3%A9=1"
        reply = await service.request(method, target, headers=service.admin)
        problem = assert_problem(witness.seen_as(method, path, reply), 400, says="is no parameter of this request")
        assert [fault["field"] for fault in problem["errors"]] == ["none\\xe9"]
    twice = await service.get("/api/matches?limt=3&limit=1&limit=2")
    problem = assert_problem(twice, 400, says="known are: active, limit, cursor; did you mean limit?")
    assert [fault["message"] for fault in problem["errors"]][1:] == ["must be given once"]
    assert (await service.get("/health?none=1")).status == 200


async def test_ingestion_answers_as_documented(witness: Witness) -> None:
    await witness.post("/api/events", event())
    await witness.post("/api/events", [event(), {"eventType": 7}, event("another", "match_end")])
    lines = b"\n".join(json.dumps(event()).encode() for _ in range(3))
    for path in ("/api/events", "/api/events/bulk"):
        await witness.post(path, lines, content_type="application/x-ndjson")
        await witness.post(path, b"", content_type="application/x-ndjson")
        await witness.post(path, b"not json\n{}", content_type="application/x-ndjson")
        await witness.post(path, lines, content_type="application/xml")
        await witness.post(
            path, gzip.compress(b" " * MAX_BODY_BYTES * 2), content_type="application/x-ndjson", Content_Encoding="gzip"
        )
    await witness.post("/api/events/bulk", b"\n".join([lines, b"{}", b"7", lines]), content_type="application/x-ndjson")
    await witness.post("/api/events", b"{", Idempotency_Key="")
    path, template = "/api/matches/documented/events", "/api/matches/{matchId}/events"
    await witness.post(path, {"eventType": "view"}, template)
    await witness.post(path, [event("other")], template)
    await witness.post(path, b"<", template, content_type="application/xml")
    await witness.post(path, b" " * (MAX_BODY_BYTES + 1), template)
    await witness.post("/api/matches/%00/events", event(), template)
    await witness.post(f"{path}?ack=stored&timeout=30", event(), template)
    await witness.post("/api/events?ack=stored&timeout=30", event(), "/api/events")
    stored = await witness.post(
        "/api/events/bulk?ack=stored&timeout=30", lines, "/api/events/bulk", content_type="application/x-ndjson"
    )
    template = "/api/receipts/{receipt}"
    await witness.get(f"/api/receipts/{stored.json['receipt']}", template)
    await witness.get("/api/receipts/none", template)


async def test_reads_answer_as_documented(witness: Witness, service: Service) -> None:
    start = event(event_type="match_start", metadata={"home": "A", "away": {"id": 1, "name": "B"}, "competition": "C"})
    assert (await service.post("/api/events", [start, event(), event(event_type="retraction", metadata={})])).status
    template = "/api/matches/{matchId}/metrics"

    async def known() -> bool:
        return (await service.get("/api/matches/documented/metrics")).status == 200

    await eventually(known, lambda: "unknown match")
    for _ in range(2):
        await witness.get("/api/matches/documented/metrics", template)
    await witness.get("/api/matches/documented/metrics", template, headers={"If-None-Match": "*"})
    await witness.get("/api/matches", headers={"If-None-Match": "*"})
    await witness.get("/", headers={"If-None-Match": "*"})
    await witness.get("/matches/documented", "/matches/{matchId}", headers={"If-None-Match": "*"})
    await witness.get("/api/matches/unheard-of/metrics", template)
    await witness.get("/api/matches/%00/metrics", template)
    template = "/api/matches/{matchId}/events"
    await witness.get("/api/matches/documented/events?type=goal&type=retraction&team=1&limit=1", template)
    await witness.get("/api/matches/documented/events", template, headers={"If-None-Match": "*"})
    await witness.get("/api/matches/unheard-of/events", template)
    template = "/api/matches/{matchId}/events"
    await witness.get("/api/matches/documented/events?limit=1&type=goal,retraction&team=1", template)
    await witness.get("/api/matches/documented/events", template, headers={"If-None-Match": "*"})
    await witness.get("/api/matches/unheard-of/events", template)
    await witness.get("/api/matches/documented/events?type=none", template)
    await witness.get("/api/matches?limit=1")
    await witness.get("/api/matches?active=true")
    await witness.get("/api/matches?limit=none&cursor=none")
    template = "/api/matches/{matchId}/stream"
    await witness.stream("/api/matches/documented/stream", template)
    await witness.get("/api/matches/unheard-of/stream", template)
    await witness.get("/api/matches/%00/stream", template)
    template = "/api/matches/{matchId}/shots"
    await witness.get("/api/matches/documented/shots", template)
    await witness.get("/api/matches/documented/shots", template, headers={"If-None-Match": "*"})
    await witness.get("/api/matches/unheard-of/shots", template)
    await witness.get("/api/matches/%00/shots", template)
    await witness.stream("/api/stream?match=documented", "/api/stream")
    await witness.get("/api/stream?match=unheard-of", "/api/stream")
    await witness.get("/api/stream", "/api/stream")


async def test_messages_of_the_stream_are_as_documented(service: Service) -> None:
    await service.post("/api/events", event("streamed", metadata={"minute": 3}))
    async with service.context.live.subscribe("streamed") as messages:
        await service.post("/api/events", event("streamed", "red_card", playerId=4))
        schemas = {"metrics": "MatchMetrics", "event": "Highlight"}
        waiting = set(schemas)
        async for message in messages:
            validate(f"/components/schemas/{schemas[message.event]}", json.loads(await message.json()))
            waiting.discard(message.event)
            if not waiting:
                break


async def two_dead_letters(service: Service) -> list[str]:
    """Return the ids of two events that ClickHouse refused, for a constraint of this match alone."""
    await alter(service.context.store, "ADD CONSTRAINT c CHECK match_id != 'dead' OR event_type = 'view'")
    await service.post("/api/events", [event("dead"), event("dead", metadata={"a": 1}, more=2), event("dead", "view")])
    await service.context.shards.flush()
    return [
        letter["id"] for letter in (await service.get("/api/deadletters", headers=service.admin)).json["deadLetters"]
    ]


async def test_the_login_answers_as_documented(witness: Witness, service: Service) -> None:
    def form(**fields: str) -> dict[str, Any]:
        return {"data": fields, "headers": {"Origin": service.url}, "allow_redirects": False}

    async def post(path: str, **options: Any) -> None:
        witness.seen_as("POST", path, await service.request("POST", path, **options))

    await witness.get("/login")
    await witness.get("/operate")
    await witness.get("/operate", headers={"Accept": "text/html"}, allow_redirects=False)
    made = await service.request("POST", "/api/login-links", headers=service.admin)
    witness.seen_as("POST", "/api/login-links", made)
    for _ in range(2):
        await witness.get(made.json["path"], "/login", allow_redirects=False)
    await witness.get("/operate", headers=service.admin)
    await post("/login", **form(key=service.admin["Authorization"].partition(" ")[2]))
    form_of_shard = "/operate/shards/{shard}/{act}"
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        own = attrs.evolve(service, session=session)
        await own.request("POST", "/login", **form(key=service.admin["Authorization"].partition(" ")[2]))
        [masked, *_] = re.findall(r'name="masked" value="([0-9a-f]+)"', (await own.get("/operate")).text)
        for path in ("0/pause", "0/flush", "0/resume", "0/flush", "99/flush"):
            reply = await own.request("POST", f"/operate/shards/{path}", **form(masked=masked))
            witness.seen_as("POST", form_of_shard, reply)
        for options in (form(), form(masked="x" * 20_000), form() | {"data": b"{}"}):
            witness.seen_as("POST", form_of_shard, await own.request("POST", "/operate/shards/0/pause", **options))
    await post("/logout", **form())
    await post("/logout")
    await post("/login", **form(key="x" * 20_000))
    await post("/login", data=b"{}", headers={"Origin": service.url, "Content-Type": "application/json"})
    for _ in range(6):
        await post("/login", **form(key="wrong"))


async def test_acts_on_shards_answer_as_documented(witness: Witness, service: Service) -> None:
    for act in ("pause", "flush", "resume", "flush"):
        for shard in ("0", "999"):
            await witness.post(f"/api/shards/{shard}/{act}", b"", f"/api/shards/{{shard}}/{act}", **service.admin)
    await service.post("/api/events", [event(f"shards{number}") for number in range(20)])
    await witness.post("/api/shards/0/flush?timeout=0.000001", b"", "/api/shards/{shard}/flush", **service.admin)
    await witness.get("/api/acts", headers=service.admin)
    await witness.get("/api/acts?limit=0", headers=service.admin)


async def test_erasures_answer_as_documented(witness: Witness, service: Service) -> None:
    whole, one = "/api/matches/{matchId}", "/api/erasures/{id}"
    await witness.delete("/api/matches/m?refuse_for=0", whole, headers=service.admin)
    shards = range(len(service.context.shards.snapshot().shards))
    for shard in shards:
        service.context.shards.pause(shard)
    recorded = await witness.delete("/api/matches/erased-1?refuse_for=1", whole, headers=service.admin)
    await witness.delete("/api/matches/erased-2", whole, headers=service.admin)
    for path, template in ((f"/api/erasures/{recorded.json['erasure']}", one), ("/api/erasures/none", one)):
        await witness.get(path, template, headers=service.admin)
        await witness.get(f"{path}?x=1", template, headers=service.admin)
    await witness.get("/api/erasures", headers=service.admin)
    await witness.get("/api/erasures?x=1", headers=service.admin)
    for shard in shards:
        service.context.shards.resume(shard)


async def test_dead_letters_answer_as_documented(witness: Witness, service: Service) -> None:
    first, second = await two_dead_letters(service)
    one, again = "/api/deadletters/{id}", "/api/deadletters/{id}/retry"
    admin = service.admin
    await witness.get("/api/deadletters?limit=1", headers=admin)
    await witness.get("/api/deadletters?limit=none", headers=admin)
    await witness.get(f"/api/deadletters/{first}", one, headers=admin)
    await witness.get("/api/deadletters/none", one, headers=admin)
    await witness.delete("/api/deadletters/none", one, headers=admin)
    await witness.post("/api/deadletters/none/retry", b"", again, **admin)
    path = f"/api/deadletters/{first}/retry"
    await witness.post(path, {"eventType": 7}, again, **admin)
    await witness.post(path, b"<", again, content_type="application/xml", **admin)
    await witness.post(path, b" " * (MAX_BODY_BYTES + 1), again, **admin)
    await witness.get("/api/deadletters")
    await witness.get(f"/api/deadletters/{first}", one)
    await witness.delete(f"/api/deadletters/{first}", one)
    await witness.post(path, b"", again)
    await witness.post(path, {"eventType": "view"}, again, **admin)
    await witness.post(path, b"", again, **admin)
    await witness.delete(f"/api/deadletters/{second}", one, headers=admin)
    await witness.delete(f"/api/deadletters/{second}", one, headers=admin)
    await witness.get("/api/deadletters?all=true", headers=admin)


async def test_operation_and_pages_answer_as_documented(witness: Witness) -> None:
    await witness.service.post("/api/events", event("paged"))
    for path in (
        "/health",
        "/health/live",
        "/ready",
        "/health/ready",
        "/health/startup",
        "/api/status",
        "/openapi.json",
        "/docs",
        "/",
    ):
        await witness.get(path)
    for path in ("/openapi.json", "/docs"):
        await witness.get(path, headers={"If-None-Match": "*"})
    await witness.get("/api/audit", headers=witness.service.admin)
    await witness.get("/api/audit")
    for accept in ("text/plain", "application/openmetrics-text"):
        await witness.get("/metrics", headers={"Accept": accept})
    await witness.get("/matches/paged", "/matches/{matchId}")
    await witness.get("/matches/unheard-of", "/matches/{matchId}")
    await witness.stream("/stream", "/stream")
    await witness.stream("/matches/paged/stream", "/matches/{matchId}/stream")
    await witness.get("/matches/unheard-of/stream", "/matches/{matchId}/stream")
    page = (await witness.service.get("/")).text
    for path in set(re.findall(r'"(/static/[^"]+)"', page)):
        reply = await witness.get(path, "/static/{path}")
        await witness.get(path, "/static/{path}", headers={"If-None-Match": reply.headers["ETag"]})
        for range_ in ("bytes=0-9", "bytes=9999999-"):
            await witness.get(path, "/static/{path}", headers={"Range": range_})
        await witness.get(path, "/static/{path}", headers={"If-Match": '"other"'})
    await witness.get("/static/none.css", "/static/{path}")


async def test_unavailability_is_as_documented(shut: Service, seen: set[Operation]) -> None:
    witness = Witness(shut, seen)
    for path, template in (
        ("/api/events", ""),
        ("/api/events/bulk", ""),
        ("/api/matches/m/events", "/api/matches/{matchId}/events"),
        ("/api/deadletters/0-1/retry", "/api/deadletters/{id}/retry"),
    ):
        assert (await witness.post(path, event("m"), template, **shut.admin)).status == 503
    for path, template in (
        *(("/ready", ""), ("/health/ready", ""), ("/api/matches", ""), ("/", "")),
        ("/api/matches/m/metrics", "/api/matches/{matchId}/metrics"),
        ("/api/matches/m/events", "/api/matches/{matchId}/events"),
        ("/api/matches/m/stream", "/api/matches/{matchId}/stream"),
        ("/api/matches/m/shots", "/api/matches/{matchId}/shots"),
        ("/api/stream?match=m", "/api/stream"),
        ("/api/matches/m/events", "/api/matches/{matchId}/events"),
        ("/matches/m", "/matches/{matchId}"),
        ("/matches/m/stream", "/matches/{matchId}/stream"),
    ):
        assert (await witness.get(path, template)).status == 503
    for path in ("/health", "/health/startup", "/api/status", "/metrics"):
        assert (await witness.get(path)).status == 200


async def test_every_documented_answer_was_seen(seen: set[Operation]) -> None:
    """The last test of the module: nothing is documented that does not happen (500 aside, which must not)."""
    documented = {operation for operation in operations() if operation[2] != "500"}
    assert documented - seen == NOT_PROVOKED | {one for one in documented - seen if one[2] in ("401", "403")}
