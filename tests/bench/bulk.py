"""Loads too large for a journal of ids: events are numbered, and the account is taken by counting in ClickHouse.

Bodies are joined from a template, so that the sender is not what is measured.
"""

import asyncio
import json
import random
import uuid
from collections.abc import Iterator
from functools import cached_property

import aiohttp
import attrs

from tests.bench.engines import DATABASE, Engine
from tests.bench.sender import REQUEST_TIMEOUT_S, RETRY_PAUSE_S

ID_PREFIX_LENGTH = 24


@attrs.define(kw_only=True, slots=False)
class Bulk:
    """``count`` events of one match, the same ones for the same seed, sent in batches until each is acknowledged.

    Attributes:
        rate: events a second that are due; 0: as many as go.
        acknowledged: how many events got a 202 so far.
        resent: how many batches had to go again.
    """

    match_id: str
    seed: int
    count: int
    batch: int = 500
    rate: float = 0.0
    connections: int = 4
    acknowledged: int = 0
    resent: int = 0

    @cached_property
    def id_prefix(self) -> str:
        """Return what the ids of all its events begin with; the number follows, in hexadecimal."""
        return str(uuid.UUID(int=random.Random(self.seed).getrandbits(128), version=4))[:ID_PREFIX_LENGTH]

    async def send(self, url: str) -> None:
        """Send every event; AssertionError for a reply that sending again cannot mend."""
        turns = iter(range(0, self.count, self.batch))
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            asyncio.TaskGroup() as group,
        ):
            began = asyncio.get_running_loop().time()
            for _ in range(self.connections):
                group.create_task(self._work(session, f"{url}/api/events", turns, began))

    async def _work(self, session: aiohttp.ClientSession, url: str, turns: Iterator[int], began: float) -> None:
        for start in turns:
            if self.rate:
                await asyncio.sleep(began + start / self.rate - asyncio.get_running_loop().time())
            numbers = range(start, min(start + self.batch, self.count))
            body = self.body(numbers)
            while not await self._accepted(session, url, body, len(numbers)):
                self.resent += 1
                await asyncio.sleep(RETRY_PAUSE_S)
            self.acknowledged += len(numbers)

    async def _accepted(self, session: aiohttp.ClientSession, url: str, body: bytes, count: int) -> bool:
        try:
            async with session.post(url, data=body) as reply:
                if reply.status == 503:
                    return False
                answer = await reply.json(content_type=None)
                assert (reply.status, answer.get("accepted")) == (202, count), answer
                return True
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def body(self, numbers: range) -> bytes:
        """Return a JSON array of events."""
        before, after = self._template
        events = (f"{before}{number:012x}{after}" for number in numbers)
        return f"[{','.join(events)}]".encode()

    @cached_property
    def _template(self) -> tuple[str, str]:
        event = {
            "eventId": f"{self.id_prefix}@",
            "matchId": self.match_id,
            "eventType": "cheer",
            "timestamp": "2024-01-15T18:30:00.000Z",
            "metadata": {"text": "يا سلام ⚽ 'x' $tag$", "minute": 31},
        }
        before, _, after = json.dumps(event, ensure_ascii=False).partition("@")
        return before, after


@attrs.frozen
class Stored:
    """Rows as ``FINAL`` counts them, and distinct ids among them."""

    rows: int
    ids: int


async def stored(engine: Engine, match_id: str, *, id_prefix: str = "") -> Stored:
    """Return what the destination table holds of a match, or of its events whose ids begin so."""
    (row,) = await engine.query(
        f"SELECT count() AS rows, uniqExact(event_id) AS ids FROM {DATABASE}.events FINAL "
        f"WHERE match_id = '{match_id}' AND startsWith(toString(event_id), '{id_prefix}')"
    )
    return Stored(int(row["rows"]), int(row["ids"]))


async def all_stored(engine: Engine, match_id: str, expected: int, *, timeout_s: float = 300.0) -> bool:
    """Wait until so many distinct events of a match are counted; False at the deadline.

    The whole table is counted until there may be enough: that costs ClickHouse nothing.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while loop.time() < deadline:
        (row,) = await engine.query(f"SELECT count() AS n FROM {DATABASE}.events")
        if int(row["n"]) >= expected and (await stored(engine, match_id)).ids >= expected:
            return True
        await asyncio.sleep(0.05)
    return False
