"""Every route, and everybody who may come: exactly what the contract's table says, in the document, too."""

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import pytest_asyncio
from multidict import CIMultiDict

from app.access.keys import ApiKey
from app.access.principal import Scope
from app.config import Config
from app.openapi.document import document
from tests.http.documented import assert_documented
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service, eventually, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENTED: Mapping[str | frozenset[str], list[dict[str, list[str]]]] = {
    "public": [{}, {"key": ["read"]}],
    frozenset({"react", "ingest"}): [{}, {"key": ["ingest"]}, {"key": ["react"]}, {"keyInQuery": ["react"]}],
    frozenset({"ingest", "read", "admin"}): [{}, {"key": ["ingest"]}, {"key": ["read"]}],
    frozenset({"read", "admin"}): [{}, {"key": ["read"]}],
    frozenset({"admin"}): [{"key": ["admin"]}],
}
"""How the document names those who may come; ``{}``: as long as there is no key, or reading is public."""

NOBODY = frozenset({"no key", "unknown", "wrong", "revoked", "expired", "no bearer", "twice"})
"""Those who have proved nothing."""

EVERYBODY = "everybody"
MATCH = "liga-1"
EVENT = {"matchId": MATCH, "eventType": "cheer"}

TABLE: Mapping[tuple[str, str], str | frozenset[str]] = {
    ("GET", "/health"): EVERYBODY,
    ("GET", "/health/live"): EVERYBODY,
    ("GET", "/health/ready"): EVERYBODY,
    ("GET", "/health/startup"): EVERYBODY,
    ("GET", "/ready"): EVERYBODY,
    ("GET", "/static/{path}"): EVERYBODY,
    ("GET", "/login"): EVERYBODY,
    ("POST", "/login"): EVERYBODY,
    ("POST", "/logout"): EVERYBODY,
    ("GET", "/"): "public",
    ("GET", "/stream"): "public",
    ("GET", "/matches/{matchId}"): "public",
    ("GET", "/matches/{matchId}/stream"): "public",
    ("GET", "/docs"): "public",
    ("GET", "/openapi.json"): "public",
    ("GET", "/api/matches"): "public",
    ("GET", "/api/matches/{matchId}/metrics"): "public",
    ("GET", "/api/matches/{matchId}/stream"): "public",
    ("GET", "/api/matches/{matchId}/shots"): "public",
    ("GET", "/api/stream"): "public",
    ("POST", "/api/events"): frozenset({"react", "ingest"}),
    ("POST", "/api/events/bulk"): frozenset({"react", "ingest"}),
    ("POST", "/api/matches/{matchId}/events"): frozenset({"react", "ingest"}),
    ("GET", "/api/receipts/{receipt}"): frozenset({"ingest", "read", "admin"}),
    ("GET", "/api/matches/{matchId}/events"): frozenset({"read", "admin"}),
    ("GET", "/metrics"): frozenset({"read", "admin"}),
    ("GET", "/api/status"): frozenset({"read", "admin"}),
    ("GET", "/operate"): frozenset({"admin"}),
    ("POST", "/operate/shards/{shard}/{act}"): frozenset({"admin"}),
    ("GET", "/api/acts"): frozenset({"admin"}),
    ("POST", "/api/shards/{shard}/pause"): frozenset({"admin"}),
    ("POST", "/api/shards/{shard}/resume"): frozenset({"admin"}),
    ("POST", "/api/shards/{shard}/flush"): frozenset({"admin"}),
    ("POST", "/api/login-links"): frozenset({"admin"}),
    ("DELETE", "/api/matches/{matchId}"): frozenset({"admin"}),
    ("GET", "/api/erasures"): frozenset({"admin"}),
    ("GET", "/api/erasures/{id}"): frozenset({"admin"}),
    ("GET", "/api/audit"): frozenset({"admin"}),
    ("GET", "/api/deadletters"): frozenset({"admin"}),
    ("GET", "/api/deadletters/{id}"): frozenset({"admin"}),
    ("POST", "/api/deadletters/{id}/retry"): frozenset({"admin"}),
    ("DELETE", "/api/deadletters/{id}"): frozenset({"admin"}),
}
"""The scopes that open each route, by hand from the contract."""

OWN_FORMS = {"/login", "/logout", "/operate/shards/{shard}/{act}"}
ABOUT_ONE_MATCH = {path for _, path in TABLE if "{matchId}" in path}
SENDING = {path for (method, path), who in TABLE.items() if method == "POST" and "react" in who}


@attrs.frozen
class Guarded:
    """A service with keys: the headers of each who may come, and the service itself."""

    service: Service
    headers: Mapping[str, Any]

    async def ask(self, who: str, method: str, path: str) -> Reply:
        """Ask as somebody; the body is one cheer."""
        receipt = (await self.receipt("ingest")) if "{receipt}" in path else ""
        path = path.format(matchId=MATCH, id="0-1", receipt=receipt, path="style.css", shard="99", act="pause")
        headers = CIMultiDict(self.headers[who])
        if method == "POST" and "events" in path:
            kind = "application/x-ndjson" if path.endswith("bulk") else "application/json"
            headers["Content-Type"] = kind
            return await self.service.request(method, path, json=EVENT, headers=headers)
        async with self.service.session.request(method, f"{self.service.url}{path}", headers=headers) as reply:
            text = "" if reply.content_type == "text/event-stream" else await reply.text()
            return Reply(reply.status, reply.headers.copy(), text)

    async def receipt(self, who: str) -> str:
        """Send a cheer as somebody, and return its receipt."""
        reply = await self.service.request("POST", "/api/events", json=EVENT, headers=self.headers[who])
        return str(reply.json["receipt"])


def _guard() -> tuple[tuple[ApiKey, ...], dict[str, Any]]:
    keys: list[ApiKey] = []
    headers: dict[str, Any] = {"no key": {}}
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for name, scopes, options in (
        *((scope.value, [scope], {}) for scope in Scope),
        ("expired", list(Scope), {"until": yesterday}),
        ("all", list(Scope), {}),
        ("other-matches", list(Scope), {"prefixes": ["cup-", "liga-2"]}),
        ("these-matches", list(Scope), {"prefixes": ["cup-", "liga-1"]}),
        ("revoked", list(Scope), {}),
    ):
        text, key = ApiKey.new(name, scopes, **options)
        headers[name] = {"Authorization": f"Bearer {text}"}
        keys += [key] if name != "revoked" else []
    headers["wrong"] = {"Authorization": f"Bearer ff_all_{'A' * 27}"}
    headers["unknown"] = {"Authorization": f"Bearer ff_nobody_{'A' * 27}"}
    headers["no bearer"] = {"Authorization": headers["all"]["Authorization"].replace("Bearer", "Basic")}
    headers["twice"] = [("Authorization", headers["all"]["Authorization"])] * 2
    return tuple(keys), headers


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[True, False], ids=["public", "private"])
async def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    keys, headers = _guard()
    config = Config(
        data_dir=tmp_path_factory.mktemp("data"),
        port=0,
        monitor=None,
        checkpoint_interval_ms=500,
        api_keys=keys,
        public_read=request.param,
    )
    async with running(config) as service:
        yield Guarded(service, {**headers, "token": service.admin})


def _expected(who: str, method: str, path: str, *, public: bool) -> int:
    """Return 401, 403, or 0 for whatever else the route answers."""
    opened = TABLE[method, path]
    if opened == EVERYBODY or (opened == "public" and public):
        return 0
    scopes = frozenset({"read", "admin"}) if opened == "public" else frozenset(opened)
    if who in NOBODY:
        return 401
    if who == "token" or who == "all":
        return 0
    if who in ("other-matches", "these-matches"):
        if path in SENDING or path in ABOUT_ONE_MATCH:
            return 403 if who == "other-matches" else 0
        return 403
    return 0 if who in scopes else 403


WHO = (*sorted(NOBODY), *Scope, "all", "token", "these-matches", "other-matches")


@pytest.mark.parametrize("who", WHO)
async def test_the_table(guarded: Guarded, who: str) -> None:
    public = guarded.service.context.config.public_read
    wrong = {}
    for method, path in TABLE:
        reply = await guarded.ask(who, method, path)
        expected = _expected(who, method, path, public=public)
        if path in OWN_FORMS:
            continue  # a foreign form is a 403 whoever sends it, see test_login.py
        if (reply.status if reply.status in (401, 403) else 0) != expected:
            wrong[method, path] = (expected, reply.status, reply.text[:200])
        if expected:
            assert_problem(reply, expected, says="key" if who not in ("no bearer", "twice") else "Bearer")
            assert_documented(method, path, reply)
            assert ("WWW-Authenticate" in reply.headers) == (expected == 401)
    assert wrong == {}


async def test_a_stream_of_several_matches_needs_a_key_for_each(guarded: Guarded) -> None:
    """The highlights of all are for every reader's key: it sends those of the matches that the key is for."""
    is_open = guarded.service.context.config.public_read
    refused = 200 if is_open else 403
    await guarded.ask("all", "POST", f"/api/matches/{MATCH}/events")

    async def known() -> bool:
        return (await guarded.ask("all", "GET", f"/api/matches/{MATCH}/metrics")).status == 200

    await eventually(known, lambda: "the match is not known")
    for who, query, status in (
        ("these-matches", f"match={MATCH}", 200),
        ("other-matches", f"match={MATCH}", refused),
        ("these-matches", f"match={MATCH}&match=other", 404 if is_open else 403),
        ("these-matches", "highlights=live", 200),
        ("other-matches", "highlights=live", 200),
        ("ingest", "highlights=live", refused),
    ):
        reply = await guarded.ask(who, "GET", f"/api/stream?{query}")
        assert reply.status == status, (who, query, reply.text)
    assert (await guarded.ask("these-matches", "GET", f"/metrics?match={MATCH}")).status == 403


async def test_every_route_is_in_the_table(guarded: Guarded) -> None:
    routes = {
        (route.method, route.resource.canonical)
        for route in guarded.service.app.router.routes()
        if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
    }
    assert routes == set(TABLE)


async def test_the_document_says_the_same() -> None:
    for (method, path), who in TABLE.items():
        security = document()["paths"][path][method.lower()].get("security")
        assert security == (None if who == EVERYBODY else DOCUMENTED[who]), (method, path)


async def test_a_fan_sends_what_fans_send_and_nothing_else(guarded: Guarded) -> None:
    def sent(**fields: Any) -> dict[str, Any]:
        return {"matchId": "react", "eventType": "cheer"} | fields

    other = str(uuid.uuid4())
    wrong = [
        (sent(eventType="goal", teamId="1"), "$.eventType"),
        (sent(eventType="match_start"), "$.eventType"),
        (sent(eventType="retraction", metadata={"eventId": other}), "$.eventType"),
        (sent(metadata={"replaces": other}), "$.metadata.replaces"),
        (sent(metadata={"replaces": None}), "$.metadata.replaces"),
    ]
    service, headers = guarded.service, guarded.headers["react"]
    for event, field in wrong:
        for body in (event, [event]):
            reply = await service.request("POST", "/api/events", json=body, headers=headers)
            problem = assert_problem(reply, 403, says="scope react")
            assert field in reply.text
            assert problem["type"] == "/problems/forbidden"
    text = b'{"matchId":"react","eventType":"cheer","metadata":{"\\u0072eplaces":"%s"}}' % other.encode()
    sending = headers | {"Content-Type": "application/json"}
    assert_problem(await service.request("POST", "/api/events", data=text, headers=sending), 403, says="scope react")
    mixed = [*(event for event, _ in wrong), sent(), sent(metadata={"a": {"replaces": other}})]
    reply = await service.request("POST", "/api/events", json=mixed, headers=headers)
    assert (reply.status, reply.json["accepted"], reply.json["rejected"]) == (202, 2, len(wrong))
    invalid = [sent(eventType="goal", teamId="1"), sent(eventType="nothing")]
    reply = await service.request("POST", "/api/events", json=invalid, headers=headers)
    assert_problem(reply, 400, says="scope react")
    lines = b"\n".join(json.dumps(event).encode() for event in mixed)
    bulk = headers | {"Content-Type": "application/x-ndjson"}
    reply = await service.request("POST", "/api/events/bulk", data=lines, headers=bulk)
    assert (reply.status, reply.json["accepted"], reply.json["rejected"]) == (202, 2, len(wrong))


async def test_a_key_for_some_matches_sends_to_these(guarded: Guarded) -> None:
    events = [{"matchId": match, "eventType": "cheer"} for match in ("liga-1", "liga-10", "liga-2", "cup-", "Cup-1")]
    headers = guarded.headers["these-matches"]
    reply = await guarded.service.request("POST", "/api/events", json=events, headers=headers)
    assert (reply.status, [rejected["index"] for rejected in reply.json["errors"]]) == (202, [2, 4])
    assert_problem(
        await guarded.service.request("POST", "/api/events", json=events[2], headers=headers),
        403,
        says="not among the matches that this key is for",
    )


async def test_only_a_key_for_fans_may_stand_in_a_url(guarded: Guarded) -> None:
    def secret(who: str) -> str:
        return str(guarded.headers[who]["Authorization"]).partition(" ")[2]

    async def sent(who: str) -> Reply:
        return await guarded.service.post(f"/api/events?key={secret(who)}", EVENT)

    assert (await sent("react")).status == 202
    assert_problem(await sent("ingest"), 403, says="whose one scope is react")
    assert_problem(await sent("all"), 403, says="whose one scope is react")
    assert_problem(await sent("revoked"), 401, says="not known")
    reply = await guarded.service.post(f"/api/events?key={secret('react')}", EVENT | {"eventType": "goal", "teamId": 1})
    assert_problem(reply, 403, says="scope react")
    assert (await guarded.service.get(f"/api/status?key={secret('react')}")).status == 401


async def test_a_receipt_is_read_by_whom_it_was_given_to_or_by_readers(guarded: Guarded) -> None:
    async def status(who: str, receipt: str) -> int:
        reply = await guarded.service.get(f"/api/receipts/{receipt}", headers=guarded.headers[who])
        return reply.status

    of_ingest, of_all = await guarded.receipt("ingest"), await guarded.receipt("all")
    assert await status("ingest", of_ingest) == 200
    assert await status("ingest", of_all) == 403
    assert await status("these-matches", of_all) == 403
    assert await status("read", of_all) == 200
    assert await status("read", of_all.rpartition(".")[0]) == 200
    assert await status("ingest", of_ingest.rpartition(".")[0]) == 403
    assert await status("ingest", of_ingest[:-1] + ("0" if of_ingest[-1] != "0" else "1")) == 403
    assert await status("these-matches", await guarded.receipt("these-matches")) == 200


async def test_a_key_is_in_no_log_and_no_answer(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    answers = []
    for who in ("all", "wrong", "unknown", "revoked", "expired", "react"):
        for method, path in TABLE:
            answers.append((await guarded.ask(who, method, path)).text)
    secrets = [guarded.headers[who]["Authorization"][-27:] for who in ("all", "revoked", "expired", "react")]
    for text in (caplog.text, *answers):
        assert not any(secret in text for secret in secrets)
    assert not any(secret in repr(guarded.service.context) for secret in secrets)


@pytest.mark.parametrize("given", [{"Authorization": f"Bearer ff_old_{'A' * 27}"}, {"Authorization": "Basic eDp5"}, {}])
async def test_without_keys_all_but_what_is_for_operators_is_open(service: Service, given: dict[str, str]) -> None:
    for method, path in [of for of in TABLE if of[1] not in OWN_FORMS]:
        name = path.format(matchId=MATCH, id="0-1", receipt="none", path="style.css", shard="99")
        options = {"json": EVENT} if method == "POST" else {}
        kind = {"Content-Type": "application/x-ndjson"} if path.endswith("bulk") else {}
        async with service.session.request(method, service.url + name, headers=given | kind, **options) as reply:
            assert (reply.status == 401) == (TABLE[method, path] == frozenset({"admin"})), (method, path)
            assert reply.status != 403
