"""The service behind the proxies as docker/ configures them: HTTP/2, TLS, streams, the address of the client."""

import asyncio
import json
import signal
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.clickhouse import free_port
from tests.e2e.asking import until_up
from tests.e2e.process import Process
from tests.system.proxies.configured import PROXIES, in_front_of
from tests.system.tools import run, tool

STREAMED_MAX_S: Final = 0.05
HIGHLIGHTS: Final = 40
JSON: Final = ("--header", "Content-Type: application/json")
START: Final = '{"eventType": "match_start"}'


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[str]:
    """Address of a service with the embedded engine, which believes the proxy."""
    settings = {"HOST": "127.0.0.1", "PORT": 0, "DATA_DIR": tmp_path / "data", "MONITOR": "", "LOG_FORMAT": "json"}
    process = await Process.start(
        "serve", settings=settings | {"TRUSTED_PROXIES": "127.0.0.1", "ADDRESS_RATE_LIMIT": 1000}
    )
    url = await process.url()
    async with aiohttp.ClientSession() as http:
        await until_up(http, url)
    yield url
    assert await process.ends(signal.SIGTERM) == 0
    await process.close()


@pytest.fixture(params=PROXIES)
async def outside(request: pytest.FixtureRequest, service: str, secrets: Path, tmp_path: Path) -> AsyncIterator[str]:
    """Address of the proxy in front of it."""
    directory = tmp_path / "proxy"
    directory.mkdir()
    port = int(service.rpartition(":")[2])
    with in_front_of(port, request.param, port=free_port(), secrets=secrets, directory=directory) as url:
        yield url


def curl(secrets: Path, *arguments: str) -> tuple[str, ...]:
    """The command that asks over HTTP/2, and believes the certificate and no other."""
    return (tool("curl"), "--silent", "--show-error", "--http2", "--cacert", f"{secrets}/tls_certificate", *arguments)


async def asked(secrets: Path, *arguments: str) -> list[str]:
    """Version of HTTP, status and body of an answer."""
    form = r"\n%{http_version} %{http_code}"
    said = await asyncio.to_thread(run, *curl(secrets, *arguments, "--write-out", form))
    body, _, last = said.rpartition("\n")
    return [*last.split(), body]


async def test_a_post_over_http2_is_taken_and_comes_from_its_client(outside: str, secrets: Path) -> None:
    event = json.dumps({"matchId": "derby", "eventType": "goal", "teamId": "1"})
    forged = ("--header", "X-Forwarded-For: 192.0.2.7", "--header", "Forwarded: for=192.0.2.8")
    version, status, body = await asked(secrets, f"{outside}/api/events", *JSON, *forged, "--data", event)
    assert (version, status, json.loads(body)["status"]) == ("2", "202", "accepted")
    version, status, page = await asked(secrets, f"{outside}/matches/derby")
    assert (version, status) == ("2", "200")
    assert "derby" in page
    assert (await asked(secrets, f"{outside}/metrics"))[:2] == ["2", "404"]


async def test_a_stream_of_lines_has_no_bound_and_is_taken_as_it_comes(
    outside: str, service: str, secrets: Path
) -> None:
    bulk = (f"{outside}/api/events/bulk", "--header", "Content-Type: application/x-ndjson", "--upload-file", "-")
    process = await asyncio.create_subprocess_exec(
        *curl(secrets, "--request", "POST", *bulk), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    line = json.dumps({"matchId": "bulk", "eventType": "cheer", "metadata": {"text": "x" * 900}}).encode() + b"\n"
    process.stdin.write(line)
    async with aiohttp.ClientSession() as http:
        async with asyncio.timeout(20):
            while True:  # the first line is seen while the request goes on
                async with http.get(f"{service}/api/matches/bulk/metrics") as reply:
                    if reply.status == 200:
                        break
                await asyncio.sleep(0.05)
    for _ in range(14_000):  # beyond what any other request may have
        process.stdin.write(line)
        await process.stdin.drain()
    process.stdin.close()
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert json.loads(said)["accepted"] == 14_001


async def test_a_highlight_comes_through_on_the_stream_at_once(outside: str, service: str, secrets: Path) -> None:
    assert (await asked(secrets, f"{outside}/api/matches/derby/events", *JSON, "--data", START))[1] == "202"
    process = await asyncio.create_subprocess_exec(
        *curl(secrets, "--no-buffer", f"{outside}/api/matches/derby/stream"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readuntil(b"data:"), 20)
    waits = []
    async with aiohttp.ClientSession() as http:
        for number in range(HIGHLIGHTS):
            event = {"eventType": "goal", "teamId": "1", "metadata": {"text": f"goal-{number}-"}}
            sent = time.monotonic()
            async with http.post(f"{service}/api/matches/derby/events", json=event) as reply:
                assert reply.status == 202
            async with asyncio.timeout(20):
                while f"goal-{number}-".encode() not in await process.stdout.readline():
                    pass
            waits.append(time.monotonic() - sent)
    process.kill()
    await process.wait()
    middle = statistics.median(waits)
    print(f"highlight through the proxy: median {middle * 1000:.1f} ms, most {max(waits) * 1000:.1f} ms")
    assert middle < STREAMED_MAX_S
