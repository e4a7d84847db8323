"""Viewers of streams, for the tests."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import ClientTimeout, StreamReader

from tests.http.service import DEADLINE_S, Service


@attrs.frozen
class Sent:
    """One server-sent event."""

    event: str
    id: str
    data: Any


@attrs.define
class Viewer:
    """Reads a stream as a browser does: fields, an empty line, the next one."""

    content: StreamReader

    async def next(self, event: str = "") -> Sent:
        """Return the next message, or the next one of a kind."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                sent = await self._message()
                if sent is None:
                    raise EOFError
                if event in ("", sent.event):
                    return sent

    async def until_total(self, total: int) -> list[int]:
        """Return the totals of snapshots up to the one that shows so many events."""
        totals = [0]
        while totals[-1] < total:
            totals.append((await self.next("metrics")).data["totalEvents"])
        return totals[1:]

    async def _message(self) -> Sent | None:
        fields: dict[str, list[str]] = {}
        while line := (await self.content.readline()).decode():
            name, _, value = line.rstrip("\n").partition(":")
            if not name and "data" in fields:
                text = "\n".join(fields["data"])
                return Sent(fields["event"][-1], fields.get("id", [""])[-1], json.loads(text))
            fields.setdefault(name, []).append(value.removeprefix(" "))
        return None


@asynccontextmanager
async def watching(service: Service, match_id: str, *, query: str = "", **headers: str) -> AsyncIterator[Viewer]:
    url = f"{service.url}/api/matches/{match_id}/stream{query}"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with service.session.get(url, headers=sent, timeout=ClientTimeout(total=None)) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield Viewer(response.content)


def event(match_id: str, event_type: str = "pass", **fields: Any) -> dict[str, Any]:
    return {"matchId": match_id, "eventType": event_type, "eventId": str(uuid.uuid4()), "teamId": "1"} | fields


async def send(service: Service, *events: dict[str, Any]) -> None:
    assert (await service.post("/api/events", list(events))).status == 202
