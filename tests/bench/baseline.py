"""The yardstick: an aiohttp application that reads the body, answers 202, and does nothing else.

To GETs of metrics it answers with so many bytes that are always the same.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvloop
from aiohttp import web

from tests.clickhouse import free_port

REPLY = b'{"eventId":"00000000-0000-4000-8000-000000000000","status":"accepted"}'


@asynccontextmanager
async def bare_aiohttp(*, answer_bytes: int = 0) -> AsyncIterator[str]:
    """Serve it in a process of its own; yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, str(port), str(answer_bytes))
    try:
        deadline = time.monotonic() + 20
        async with aiohttp.ClientSession() as session:
            while not await _is_ready(session, url):
                assert time.monotonic() < deadline, "the bare application does not answer"
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/ready") as reply:
            return reply.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def _accept(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=202, body=REPLY, content_type="application/json")


async def _healthy(request: web.Request) -> web.Response:
    return web.Response()


def _main(port: int, answer_bytes: int) -> None:
    answer = b" " * answer_bytes

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    application = web.Application()
    application.router.add_post("/api/events", _accept)
    application.router.add_get("/api/matches/{matchId}/metrics", metrics)
    application.router.add_get("/ready", _healthy)
    uvloop.install()
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
