"""What the browser tests talk to: the service, and pages in a browser that complain loudly."""

import json
import signal
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import attrs
from playwright.async_api import Browser, BrowserContext, Page

from tests.e2e.process import Process

DEADLINE_MS = 30_000


@attrs.define
class Site:
    """The service, and how to send it events."""

    session: aiohttp.ClientSession
    url: str
    _start: Callable[[], Awaitable[Process]]
    _process: Process | None = None

    async def start(self) -> None:
        """Start the service and wait until it answers."""
        self._process = await self._start()
        await self._process.url()

    async def stop(self) -> None:
        """Stop it gracefully."""
        assert self._process is not None
        assert await self._process.ends(signal.SIGTERM) == 0
        self._process = None

    async def close(self) -> None:
        """Stop it if it runs."""
        if self._process is not None:
            await self.stop()

    async def post(self, match_id: str, *events: dict[str, Any]) -> list[str]:
        """Send events of one match; return their ids once they are durable."""
        batch = [{"eventId": str(uuid.uuid4()), "matchId": match_id, **event} for event in events]
        headers = {"Content-Type": "application/json"}
        async with self.session.post(f"{self.url}/api/events", data=json.dumps(batch), headers=headers) as reply:
            body = await reply.json()
            assert reply.status == 202, body
            assert body["accepted"] == len(batch), body
        return [event["eventId"] for event in batch]

    async def kick_off(self, match_id: str, home: str = "Al-Hilal", away: str = "Al-Nassr", **metadata: Any) -> None:
        """Start a match between teams 1 and 2."""
        sides = {"home": {"id": "1", "name": home}, "away": {"id": "2", "name": away}}
        await self.post(match_id, {"eventType": "match_start", "metadata": sides | metadata})


@attrs.define
class Pages:
    """Opens pages and keeps what their consoles complained about."""

    browser: Browser
    url: str
    contexts: list[BrowserContext]
    complaints: list[str] = attrs.field(factory=list)

    async def open(self, path: str, **options: Any) -> Page:
        """Open a page in a context of its own, ``options`` being those of Playwright's ``new_context``."""
        context = await self.browser.new_context(**options)
        context.set_default_timeout(DEADLINE_MS)
        self.contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        await page.goto(self.url + path)
        return page

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)
