"""Rate limits by key and by address: what is refused, that the time to wait holds, and that nobody else notices."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from ipaddress import ip_network
from itertools import count
from typing import Any

import attrs
import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector

from app.access.keys import ApiKey
from app.access.limits import RateLimit
from app.access.principal import Scope
from app.bodies.room import STREAMS_MAX
from app.config import Config
from tests.http.documented import assert_documented
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service, eventually, running
from tests.logged import lines_of

NOBODY = "clickhouse://127.0.0.1:1/none"
NDJSON = "application/x-ndjson"
EVENT = {"matchId": "limited", "eventType": "cheer"}
RATE = 10
POLICY = '"key";q=20;qu="events";w=2'
SENDING = ("/api/events", "/api/matches/limited/events")

Serve = Callable[..., AbstractAsyncContextManager[Service]]
_keys = count()


def a_key(*scopes: Scope) -> tuple[dict[str, str], ApiKey]:
    """Return the header of a new key, and the key."""
    text, key = ApiKey.new(f"key-{next(_keys)}", scopes or (Scope.INGEST,))
    return {"Authorization": f"Bearer {text}"}, key


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Run a service with some settings, whose ClickHouse is away."""

    def run(**options: Any) -> AbstractAsyncContextManager[Service]:
        data_dir = tmp_path_factory.mktemp("data")
        config = Config(
            data_dir=data_dir, port=0, monitor=None, clickhouse_url=NOBODY, shutdown_timeout_s=0.5, **options
        )
        return running(config)

    return run


@attrs.define
class Clock:
    """A clock of the limits that goes on when it is told to."""

    ns: int = 0

    def __call__(self) -> int:
        return self.ns

    def pass_s(self, seconds: int) -> None:
        self.ns += seconds * 1_000_000_000


async def accepts(service: Service) -> None:
    async def accepting() -> bool:
        return service.context.shards.snapshot().accepting

    await eventually(accepting, lambda: "not accepting")


async def ready(service: Service) -> Clock:
    """Wait until events are accepted; return the clock that the service's limits have from now on."""
    await accepts(service)
    clock, limits = Clock(), service.context.limits
    for name in ("keys", "addresses"):
        if (limit := getattr(limits, name)) is not None:
            setattr(limits, name, RateLimit(limit.policy, limit.rate, clock_ns=clock))
    return clock


def standing(reply: Reply) -> tuple[int, int]:
    """Return what a reply says is left, and the seconds until all is."""
    _, left, reset = reply.headers["RateLimit"].split(";")
    return int(left.removeprefix("r=")), int(reset.removeprefix("t="))


async def send(service: Service, events: int | Any, path: str = "/api/events", **headers: str) -> Reply:
    body = [EVENT] * events if isinstance(events, int) else events
    return await service.post(path, body, **headers)


def refused(reply: Reply, *, path: str = "/api/events") -> int:
    """Check a reply to be a 429, and return its time to wait."""
    assert_problem(reply, 429, says="at its limit")
    assert_documented("POST", path, reply)
    assert reply.json["type"] == "/problems/rate-limited"
    wait_s = int(reply.headers["Retry-After"])
    assert standing(reply)[1] == wait_s
    return wait_s


@pytest.mark.parametrize("path", SENDING)
async def test_one_key_at_its_limit_is_told_when_to_come_again_and_others_notice_nothing(
    serve: Serve, path: str
) -> None:
    (mine, key), (other, another) = a_key(), a_key(Scope.REACT)
    template = path.replace("limited", "{matchId}")
    async with serve(api_keys=(key, another), rate_limit=RATE) as service:
        clock = await ready(service)
        reply = await send(service, 15, path, **mine)
        assert_documented("POST", template, reply)
        assert (reply.status, reply.headers["RateLimit-Policy"], standing(reply)) == (202, POLICY, (5, 2))
        wait_s = refused(await send(service, 12, path, **mine), path=template)
        assert (wait_s, service.appended) == (1, 15)
        assert (await send(service, 5, path, **mine)).status == 202
        assert refused(await send(service, 1, path, **mine), path=template) == 2
        assert (await send(service, 20, path, **other)).status == 202
        assert service.appended == 40
        again_s = refused(await send(service, 12, path, **mine), path=template)
        clock.pass_s(again_s)
        assert (await send(service, 12, path, **mine)).status == 202
        assert service.appended == 52
        metrics = (await service.get("/metrics", headers=service.admin)).text
        assert 'fanfinity_events_rejected_total{reason="rate_limited"} 14.0' in metrics
        assert 'status="429"' in metrics


async def test_what_is_larger_than_a_burst_passes_when_nothing_is_owed_and_is_owed_then(serve: Serve) -> None:
    mine, key = a_key()
    async with serve(api_keys=(key,), rate_limit=RATE) as service:
        clock = await ready(service)
        assert standing(await send(service, 40, **mine)) == (0, 4)
        wait_s = refused(await send(service, 40, **mine))
        assert (wait_s, service.appended) == (4, 40)
        clock.pass_s(wait_s - 1)
        assert refused(await send(service, 40, **mine)) == 1
        clock.pass_s(1)
        assert (await send(service, 40, **mine)).status == 202


async def test_faults_cost_as_much_as_events(serve: Serve) -> None:
    mine, key = a_key()
    async with serve(api_keys=(key,), rate_limit=1_000) as service:
        await ready(service)
        left = 2_000
        for body, options, cost, status in (
            ([{"eventType": 7}] * 100, {}, 100, 400),
            ([EVENT, {}] * 50, {}, 100, 202),
            ({}, {}, 1, 400),
            (b"", {}, 1, 400),
            (b"[]", {}, 1, 400),
            (b"not json", {}, 1, 400),
            (b"{}\n" * 30, {"content_type": NDJSON}, 30, 400),
            (b"<", {"content_type": "application/xml"}, 1, 415),
            (b"0," * 60_000, {"content_type": "application/json"}, 1, 400),
            (EVENT, {"Idempotency_Key": ""}, 1, 400),
        ):
            reply = await service.post("/api/events", body, **options, **mine)
            assert reply.status == status, body
            left -= cost
            assert standing(reply)[0] == left, body
        with ExitStack() as streams:
            for _ in range(STREAMS_MAX):
                streams.enter_context(service.context.room.stream())
            full = await service.post("/api/events/bulk", EVENT, content_type=NDJSON, **mine)
            assert (full.status, standing(full)[0]) == (503, left)
        service.context.shards.stop_accepting()
        assert (await send(service, EVENT, **mine)).status == 503
        assert standing(await send(service, EVENT, **mine))[0] == left


async def test_a_body_that_may_not_come_is_not_read(serve: Serve) -> None:
    mine, key = a_key()
    async with serve(api_keys=(key,), rate_limit=1) as service:
        await ready(service)
        assert (await send(service, 2, **mine)).status == 202
        proof = f"Authorization: {mine['Authorization']}"
        lines = ("POST /api/events HTTP/1.1", "Host: x", proof, "Content-Length: 1000000", "", "")
        reply = await service.send_raw("\r\n".join(lines).encode())
        assert refused(reply) == 2


async def test_a_stream_waits_for_its_turn_and_is_never_refused(serve: Serve) -> None:
    mine, key = a_key()
    lines = json.dumps(EVENT).encode() + b"\n"
    async with serve(api_keys=(key,), rate_limit=50) as service:
        await accepts(service)
        began = time.monotonic()
        sending = asyncio.create_task(service.post("/api/events/bulk", lines * 200, content_type=NDJSON, **mine))

        async def burst() -> bool:
            return service.appended >= 100

        await eventually(burst, lambda: f"{service.appended}")
        while not sending.done():
            assert service.appended <= 100 + 50 * (time.monotonic() - began)
            await asyncio.sleep(0.02)
        reply = await sending
        assert (reply.status, reply.json["accepted"], service.appended) == (202, 200, 200)
        assert 1.9 < time.monotonic() - began < 20
        assert standing(reply)[0] < 50
        assert_documented("POST", "/api/events/bulk", reply)


async def test_a_stream_that_waits_is_told_how_far_it_came_when_the_service_ends(serve: Serve) -> None:
    mine, key = a_key()
    lines = b"{}\n" + json.dumps(EVENT).encode() + b"\n"
    async with serve(api_keys=(key,), rate_limit=10) as service:
        await accepts(service)
        sending = asyncio.create_task(service.post("/api/events/bulk", lines * 500, content_type=NDJSON, **mine))

        async def burst() -> bool:
            return service.appended >= 10

        await eventually(burst, lambda: f"{service.appended}")
        service.context.shutdown.begin()
        reply = await sending
        problem = assert_problem(reply, 503)
        assert problem["accepted"] == service.appended < 100
        assert problem["durableLines"] == 2 * service.appended
        assert_documented("POST", "/api/events/bulk", reply)


async def test_without_limits_nothing_is_said_of_them(serve: Serve) -> None:
    mine, key = a_key()
    async with serve(api_keys=(key,), address_rate_limit=1) as service:
        await ready(service)
        reply = await send(service, 1_000, **mine)
        assert reply.status == 202
        assert {"RateLimit", "RateLimit-Policy", "Retry-After"}.isdisjoint(reply.headers)


@pytest_asyncio.fixture
async def from_elsewhere() -> AsyncIterator[Callable[..., Any]]:
    """Send some events from 127.0.0.2."""
    async with ClientSession(connector=TCPConnector(local_addr=("127.0.0.2", 0))) as session:

        async def post(service: Service, events: int, **headers: str) -> Reply:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.post(f"{service.url}/api/events", json=[EVENT] * events, headers=sent) as reply:
                return Reply(reply.status, reply.headers.copy(), await reply.text())

        yield post


async def test_each_address_has_a_limit_of_its_own(serve: Serve, from_elsewhere: Callable[..., Any]) -> None:
    async with serve(address_rate_limit=RATE, rate_limit=1) as service:
        await ready(service)
        reply = await send(service, 20)
        assert (reply.status, reply.headers["RateLimit-Policy"]) == (202, POLICY.replace("key", "address"))
        assert refused(await send(service, 1)) == 2
        assert (await from_elsewhere(service, 20)).status == 202
        assert (await from_elsewhere(service, 1)).status == 429


async def test_addresses_are_those_that_a_trusted_proxy_names(
    serve: Serve, from_elsewhere: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(address_rate_limit=RATE, trusted_proxies=(ip_network("127.0.0.1"),)) as service:
        await ready(service)
        for client in ("203.0.113.1", "203.0.113.2", "2001:db8:0:1::1"):
            assert (await send(service, 20, X_Forwarded_For=f"198.51.100.1, {client}")).status == 202
        for client in ("203.0.113.1", "198.51.100.9, 203.0.113.1:4711", "2001:db8:0:1:ffff::"):
            refused(await send(service, 1, X_Forwarded_For=client))
        refused(await send(service, 1, Forwarded="for=203.0.113.2;proto=https"))
        assert (await send(service, 20)).status == 202
        appended = service.appended
        for _ in range(3):
            for headers in ({"X_Forwarded_For": "203.0.113.7"}, {"Forwarded": "for=203.0.113.7"}):
                stranger = await from_elsewhere(service, 1, **headers)
                problem = assert_problem(stranger, 403, says="FANFINITY_TRUSTED_PROXIES")
                assert problem["type"] == "/problems/unknown-proxy"
                assert_documented("POST", "/api/events", stranger)
        assert service.appended == appended
        [line] = lines_of(caplog, "forwarded requests refused")
        assert (line["remote"], line["repeated"]) == ("127.0.0.2", 0)
        assert (await from_elsewhere(service, 20)).status == 202


async def test_a_forwarded_request_with_a_key_needs_no_trusted_proxy(serve: Serve) -> None:
    mine, key = a_key()
    async with serve(api_keys=(key,), address_rate_limit=1, rate_limit=RATE) as service:
        await ready(service)
        reply = await send(service, 20, X_Forwarded_For="203.0.113.7", **mine)
        assert (reply.status, reply.headers["RateLimit-Policy"]) == (202, POLICY)
