"""A graceful end behind a balancer: told first, served meanwhile, and then nobody is cut off."""

import asyncio
import contextlib
import signal
import time

import aiohttp

from tests.clickhouse import free_port
from tests.e2e.asking import MATCH, get, post
from tests.e2e.process import Start

DELAY_S = 2.0
ANSWERED = b"HTTP/1.1 202"


async def test_while_it_leaves_it_is_not_ready_and_serves_and_ends_connections(
    start: Start, http: aiohttp.ClientSession
) -> None:
    service = await start(SHUTDOWN_DELAY_S=DELAY_S)
    url = await service.url()
    async with http.get(f"{url}/ready") as reply:
        assert (reply.status, reply.headers.get("Connection")) == (200, None)
    began = time.monotonic()
    service.send(signal.SIGTERM)
    assert (await service.event("service stopping"))["served_s"] == DELAY_S
    async with http.get(f"{url}/ready") as reply:
        assert (reply.status, reply.headers["Connection"]) == (503, "close")
    while time.monotonic() - began < DELAY_S - 0.5:
        await post(http, url, 5)
        async with http.get(f"{url}/api/matches/{MATCH}/metrics") as reply:
            assert (reply.status, reply.headers["Connection"]) == (200, "close")
        assert (await get(http, f"{url}/health"))["status"] == "healthy"
        await asyncio.sleep(0.05)
    assert await service.ends() == 0
    assert time.monotonic() - began >= DELAY_S
    stopped = await service.event("service stopped")
    assert (stopped["drained"], stopped["pending"]) == (True, 0)
    assert service.faults == []


async def test_a_second_signal_ends_the_delay_at_once(start: Start) -> None:
    service = await start(SHUTDOWN_DELAY_S=600)
    await service.url()
    service.send(signal.SIGTERM)
    await service.event("service stopping")
    await asyncio.sleep(1)  # those that come together are one request to end
    assert await service.ends(signal.SIGTERM) == 128 + signal.SIGTERM


async def test_a_shutdown_that_outlasts_dockers_patience_is_told_at_the_start(start: Start) -> None:
    long = await start(SHUTDOWN_DELAY_S=3)
    await long.url()
    assert (await long.event("shutdown may take long"))["longest_s"] == 11
    assert await long.ends(signal.SIGTERM) == 0
    short = await start(SHUTDOWN_DELAY_S=2)
    await short.url()
    assert await short.ends(signal.SIGTERM) == 0
    assert not any(line["event"] == "shutdown may take long" for line in short.records)


async def test_whoever_has_connected_when_the_port_closes_is_answered(start: Start) -> None:
    """Each connection sends one request, as those of nginx do by default, at the pace of a balancer's traffic."""
    service = await start(CLICKHOUSE_URL=f"clickhouse://127.0.0.1:{free_port()}", SHUTDOWN_TIMEOUT_S=1)
    port = int((await service.url()).rpartition(":")[2])
    body = b'{"matchId":"derby","eventType":"cheer"}'
    head = b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    cut: list[bytes] = []
    answered = 0

    async def send() -> bool:
        nonlocal answered
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return False
        with contextlib.suppress(ConnectionError):
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            reply = await reader.read(len(ANSWERED))
            answered += reply == ANSWERED
            if reply == ANSWERED:
                writer.close()
                return True
        cut.append(b"connected, and not answered")
        return True

    async def go_on() -> None:
        while await send():
            pass

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(go_on())
        while answered < 300:
            await asyncio.sleep(0.01)
        service.send(signal.SIGTERM)
    assert cut == []
    assert await service.ends() == 0
