"""What clients are told, and not told, when the service itself is at fault."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError, web

from app.config import Config
from shards.errors import (
    NotAccepting,
    Saturated,
    SchemaMismatch,
    StoreFailed,
    StoreUnavailable,
    Unavailable,
    WalFailed,
    WalFull,
)
from tests.http.problem import assert_problem
from tests.http.service import Service, running
from tests.logged import lines_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "/var/lib/secret.py"
REFUSALS = [kind(SECRET, retry_after_s=7) for kind in (Unavailable, NotAccepting, Saturated, WalFull, WalFailed)]
STORE_ERRORS = [StoreUnavailable(SECRET), StoreFailed(SECRET, code=241), SchemaMismatch([SECRET])]


async def fail(request: web.Request) -> web.StreamResponse:
    raise RuntimeError(SECRET)


async def refuse(request: web.Request) -> web.StreamResponse:
    raise REFUSALS[int(request.match_info["which"])]


async def fail_in_store(request: web.Request) -> web.StreamResponse:
    raise STORE_ERRORS[int(request.match_info["which"])]


async def fail_midway(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun")
    raise RuntimeError(SECRET)


async def gone(request: web.Request) -> web.StreamResponse:
    raise web.HTTPGone(text=SECRET)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service without ClickHouse, and with handlers that fail in every way."""
    url = "clickhouse://127.0.0.1:1/none"
    config = Config(data_dir=tmp_path_factory.mktemp("data"), port=0, monitor=None, clickhouse_url=url)
    routes = [
        web.get("/fail", fail),
        web.get("/refuse/{which}", refuse),
        web.get("/store/{which}", fail_in_store),
        web.get("/midway", fail_midway),
        web.get("/gone", gone),
    ]
    async with running(config, routes=routes) as service:
        yield service


async def test_the_instance_of_a_problem_names_no_other_host(service: Service) -> None:
    reply = await service.send_raw(b"GET //evil.example/x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (reply.status, reply.json["instance"]) == (404, "/evil.example/x")


async def test_what_was_not_foreseen_is_logged_and_not_shown(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        reply = await service.get("/fail", headers={"X-Request-ID": "abc"})
    assert_problem(reply, 500, says="X-Request-ID")
    assert SECRET not in reply.text
    assert reply.headers["X-Request-ID"] == "abc"
    [line] = lines_of(caplog, "request failed")
    assert (line["method"], line["route"], line["request_id"]) == ("GET", "/fail", "abc")
    assert SECRET in str(line["exc_info"])


@pytest.mark.parametrize("which", range(len(REFUSALS)))
async def test_no_room_says_when_to_come_back(service: Service, which: int) -> None:
    reply = await service.get(f"/refuse/{which}")
    assert_problem(reply, 503, says="again after Retry-After")
    assert reply.headers["Retry-After"] == "7"
    assert SECRET not in reply.text


@pytest.mark.parametrize("which", range(len(STORE_ERRORS)))
async def test_a_store_that_cannot_answer_says_when_to_come_back(service: Service, which: int) -> None:
    reply = await service.get(f"/store/{which}")
    assert_problem(reply, 503, says="database cannot answer")
    assert int(reply.headers["Retry-After"]) >= 1
    assert SECRET not in reply.text


async def test_a_response_that_has_begun_is_cut_off(service: Service) -> None:
    with pytest.raises(ClientPayloadError):
        await service.get("/midway")
    assert (await service.get("/health")).status == 200


async def test_other_http_errors_are_problems_too(service: Service) -> None:
    reply = await service.get("/gone")
    assert_problem(reply, 410)
    assert SECRET not in reply.text


async def test_a_client_that_leaves_is_no_error(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        await service.send_and_leave(b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    await asyncio.sleep(0)
    assert (await service.get("/health")).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_responses_do_not_name_what_the_service_is_built_with(service: Service) -> None:
    for reply in (await service.get("/health"), await service.get("/fail"), await service.send_raw(b"x\r\n\r\n")):
        assert reply.headers["Server"] == "fanfinity"
