"""Pages of other sites that send: preflights, plain text, and what is said to whom."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from app.config import Config
from tests.http.documented import assert_documented
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service, eventually, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTED, OTHER = "https://fans.example", "https://evil.example"
ORIGINS = {
    "listed": LISTED,
    "none": None,
    "other": OTHER,
    "null": "null",
    "star": "*",
    "empty": "",
    "other scheme": LISTED.replace("https", "http"),
    "other port": f"{LISTED}:8443",
    "upper case": LISTED.upper(),
    "slash": f"{LISTED}/",
    "subdomain": "https://a.fans.example",
    "suffix": f"{LISTED}.evil.example",
    "two in one": f"{LISTED}, {OTHER}",
}
SENDING = ("/api/events", "/api/events/bulk", "/api/matches/browsers/events")
READING = ("/api/matches", "/api/matches/browsers/metrics", "/openapi.json")
CLOSED = ("/api/deadletters", "/api/status", "/api/receipts/none", "/metrics", "/", "/docs", "/none")
EVENT = json.dumps({"matchId": "browsers", "eventType": "cheer"}).encode()
WANTED = {"content-type", "idempotency-key", "authorization", "x-request-id"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sending(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service that lists an origin, whose ClickHouse is away."""
    config = Config(
        data_dir=tmp_path_factory.mktemp("data"),
        port=0,
        monitor=None,
        clickhouse_url="clickhouse://127.0.0.1:1/none",
        shutdown_timeout_s=0.5,
        cors_origins=frozenset({LISTED}),
    )
    async with running(config) as service:

        async def accepting() -> bool:
            return service.context.shards.snapshot().accepting

        await eventually(accepting, lambda: "not accepting")
        yield service


def origin_of(kind: str) -> dict[str, str]:
    origin = ORIGINS[kind]
    return {} if origin is None else {"Origin": origin}


async def preflight(service: Service, path: str, origin: Mapping[str, str], method: str = "POST") -> Reply:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
    return await service.request("OPTIONS", path, headers={**origin, **asked})


def names(reply: Reply, header: str) -> set[str]:
    return {name.strip().lower() for name in reply.headers.get(header, "").split(",")} - {""}


@pytest.mark.parametrize("kind", ORIGINS)
@pytest.mark.parametrize("path", SENDING)
async def test_a_preflight_for_sending(sending: Service, path: str, kind: str) -> None:
    reply = await preflight(sending, path, origin_of(kind))
    assert (reply.status, reply.text) == (204, "")
    methods = {"get", "head", "post"} if "matches" in path else {"post"}
    assert names(reply, "Allow") == methods | {"options"}
    assert "Access-Control-Allow-Credentials" not in reply.headers
    if kind == "listed":
        assert reply.headers["Access-Control-Allow-Origin"] == LISTED
        assert names(reply, "Access-Control-Allow-Methods") == methods
        assert names(reply, "Access-Control-Allow-Headers") >= WANTED
        assert int(reply.headers["Access-Control-Max-Age"]) > 0
        assert names(reply, "Vary") == {"origin"}
    else:
        assert reply.headers.get("Access-Control-Allow-Origin") == ("*" if "matches" in path else None)
        assert not names(reply, "Access-Control-Allow-Headers") & (WANTED - {"x-request-id"})


@pytest.mark.parametrize("kind", ORIGINS)
@pytest.mark.parametrize("path", SENDING)
async def test_what_is_said_to_a_page_that_sends(sending: Service, path: str, kind: str) -> None:
    typed = {**origin_of(kind), "Content-Type": "application/x-ndjson"}
    for status, body, headers in (
        (202, EVENT, typed),
        (400, b"{}", typed),
        (415, EVENT, {**typed, "Content-Type": "image/png"}),
        (400, EVENT, {**typed, "Idempotency-Key": ""}),
        (415, EVENT, {**typed, "Content-Encoding": "zstd"}),
    ):
        reply = await sending.request("POST", path, data=body, headers=headers)
        assert reply.status == status, reply.text
        assert reply.headers.get("Access-Control-Allow-Origin") == (LISTED if kind == "listed" else None)
        assert names(reply, "Vary") == ({"origin"} if kind == "listed" else set())
        exposed = {"retry-after", "ratelimit", "ratelimit-policy", "x-request-id"} if kind == "listed" else set()
        assert names(reply, "Access-Control-Expose-Headers") == exposed
        assert "Access-Control-Allow-Credentials" not in reply.headers


@pytest.mark.parametrize("kind", ORIGINS)
@pytest.mark.parametrize("type_", ["text/plain", "text/plain;charset=UTF-8", "Text/Plain; charset=us-ascii", None])
async def test_what_a_beacon_sends_is_read_from_listed_pages_only(
    sending: Service, kind: str, type_: str | None
) -> None:
    given = {} if type_ is None else {"Content-Type": type_}
    headers = {**origin_of(kind), **given}
    skipped = [] if type_ else ["Content-Type"]
    for path in ("/api/events", "/api/matches/browsers/events"):
        for body in (EVENT, b"[%b]" % EVENT):
            before = sending.appended
            reply = await sending.request("POST", path, data=body, headers=headers, skip_auto_headers=skipped)
            is_taken = kind == "listed" or (kind == "none" and type_ is None)
            assert reply.status == (202 if is_taken else 415), reply.text
            assert sending.appended - before == int(is_taken)
            assert_documented("POST", path.replace("browsers", "{matchId}"), reply)
    bulk = await sending.request("POST", "/api/events/bulk", data=EVENT, headers=headers, skip_auto_headers=skipped)
    assert bulk.status == (202 if is_taken and type_ is None else 415)


async def test_plain_text_in_another_charset_and_two_origins_are_refused(sending: Service) -> None:
    latin = {"Origin": LISTED, "Content-Type": "text/plain; charset=latin-1"}
    assert (await sending.request("POST", "/api/events", data=EVENT, headers=latin)).status == 415
    lines = [f"Origin: {origin}" for origin in (LISTED, LISTED)]
    head = "\r\n".join(["POST /api/events HTTP/1.1", "Host: x", *lines, f"Content-Length: {len(EVENT)}", "", ""])
    reply = await sending.send_raw(head.encode() + EVENT)
    assert_problem(reply, 415, says="Content-Type")
    assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("kind", ORIGINS)
async def test_reading_is_as_open_as_before_to_every_page(sending: Service, kind: str) -> None:
    for path in (*READING, "/api/matches/browsers/events"):
        reply = await sending.get(path, headers=origin_of(kind))
        assert reply.headers["Access-Control-Allow-Origin"] == "*", path
        assert "origin" not in names(reply, "Vary")
    for path in READING:
        asked = await preflight(sending, path, origin_of(kind), "GET")
        assert asked.headers["Access-Control-Allow-Origin"] == "*"
        assert names(asked, "Access-Control-Allow-Methods") == {"get", "head"}
        assert "content-type" not in names(asked, "Access-Control-Allow-Headers")


async def test_a_listed_page_reaches_nothing_else(sending: Service) -> None:
    for path in CLOSED:
        for method in ("GET", "POST", "DELETE"):
            reply = await sending.request(method, path, headers={"Origin": LISTED, **sending.admin})
            assert "Access-Control-Allow-Origin" not in reply.headers, path
        assert "Access-Control-Allow-Origin" not in (await preflight(sending, path, {"Origin": LISTED})).headers
    letter = {"Origin": LISTED, "Content-Type": "text/plain", **sending.admin}
    retry = await sending.request("POST", "/api/deadletters/0-1/retry", data=b"{}", headers=letter)
    assert retry.status in (404, 415, 503)


async def test_refusals_for_want_of_room_or_a_proof_can_be_read(tmp_path: Any) -> None:
    config = Config(
        data_dir=tmp_path / "data",
        port=0,
        monitor=None,
        clickhouse_url="clickhouse://127.0.0.1:1/none",
        shutdown_timeout_s=0.5,
        cors_origins=frozenset({LISTED}),
        address_rate_limit=1,
    )
    async with running(config) as service:

        async def accepting() -> bool:
            return service.context.shards.snapshot().accepting

        await eventually(accepting, lambda: "not accepting")
        headers = {"Origin": LISTED, "Content-Type": "text/plain"}
        replies = [await service.request("POST", "/api/events", data=EVENT, headers=headers) for _ in range(3)]
        assert [reply.status for reply in replies] == [202, 202, 429]
        service.context.shards.stop_accepting()
        replies.append(await service.request("POST", "/api/events", data=EVENT, headers=headers))
        assert replies[-1].status == 503
        assert all(reply.headers["Access-Control-Allow-Origin"] == LISTED for reply in replies)
        assert all("ratelimit" in names(reply, "Access-Control-Expose-Headers") for reply in replies)
        assert (await preflight(service, "/api/events", {"Origin": LISTED})).status == 204


async def test_a_key_in_a_query_is_told_to_nobody(sending: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    secret = "ff_fans_S3cretS3cretS3cret"
    headers = {"Origin": LISTED, "Content-Type": "text/plain"}
    replies = []
    for path in SENDING:
        for query in (
            f"key={secret}",
            f"key={secret}&key={secret}",
            f"kye={secret}",
            f"ack=none&timeout=x&key={secret}",
            f"key=%00{secret}",
        ):
            replies += [
                await sending.request("POST", f"{path}?{query}", data=body, headers=headers)
                for body in (EVENT, b"{", b"")
            ]
    replies += [await sending.get(f"{path}?key={secret}") for path in READING]
    replies.append(await sending.send_raw(f"POST /api/events?key={secret} HTTP/9.9\r\nHost: x\r\n\r\n".encode()))
    replies.append(await sending.send_raw(f"POST /api/events?key={secret} HTTP/1.1\r\n: x\r\n\r\n".encode()))
    assert {reply.status for reply in replies} >= {202, 400}
    assert all("S3cret" not in reply.text + str(reply.headers) for reply in replies)
    assert "S3cret" not in caplog.text
    assert_problem(replies[3], 400, says="must be given once")
    assert_problem(replies[6], 400, says="did you mean key?")
