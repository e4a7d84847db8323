"""Small questions to a service that runs as a process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.e2e.process import DEADLINE_S

MATCH = "derby"


async def post(http: aiohttp.ClientSession, url: str, count: int, *, prefix: str = "a") -> None:
    """Send that many events of `MATCH`; those of one prefix are the same each time."""
    events = [
        {
            "eventId": f"00000000-0000-4000-8000-{prefix * 4}{number:08x}",
            "matchId": MATCH,
            "eventType": "cheer",
            "timestamp": "2024-01-15T14:30:00Z",
        }
        for number in range(count)
    ]
    async with http.post(f"{url}/api/events", json=events) as reply:
        assert reply.status == 202, await reply.text()


async def get(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """Return the body of an answer, whatever its status."""
    async with http.get(url) as reply:
        body: dict[str, Any] = await reply.json()
        return body


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds; TimeoutError if it does not within `DEADLINE_S`."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(0.05)


async def until_up(http: aiohttp.ClientSession, url: str) -> None:
    """Wait until the service is ready, with ClickHouse."""

    async def up() -> bool:
        return bool((await get(http, f"{url}/ready"))["status"] == "ready")

    await until(up)
