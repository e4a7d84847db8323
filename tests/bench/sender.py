"""A client with a memory of its own: what it sent and what was acknowledged, whatever happens to the service.

Sends batches over several connections, and each again, same ids, until it is acknowledged.
"""

import asyncio
from collections.abc import Sequence

import aiohttp
import attrs

from tests.bench.engines import DATABASE, Engine
from tests.bench.events import Event

RETRY_PAUSE_S = 0.05
REQUEST_TIMEOUT_S = 20.0


@attrs.define
class Journal:
    """Event ids: put on the wire at least once, and acknowledged. ``resent`` counts batches that had to go again."""

    sent: set[str] = attrs.field(factory=set)
    acknowledged: set[str] = attrs.field(factory=set)
    resent: int = 0


@attrs.frozen
class Account:
    """What ClickHouse holds of one match against the journal. All three must be 0."""

    lost: int
    extra: int
    twice: int

    @property
    def clean(self) -> bool:
        """Return whether nothing is amiss."""
        return not (self.lost or self.extra or self.twice)


async def send_all(
    url: str,
    events: Sequence[Event],
    journal: Journal,
    *,
    batch: int,
    workers: int = 4,
    give_up_after_s: float = 120.0,
    pause_s: float = 0.0,
) -> None:
    """Send every event until each is acknowledged; each worker pauses for ``pause_s`` between two batches.

    AssertionError for a reply that sending again cannot mend; TimeoutError after ``give_up_after_s``.
    """
    batches = [events[start : start + batch] for start in range(0, len(events), batch)]
    waiting = iter(batches)

    async def work(session: aiohttp.ClientSession) -> None:
        for events in waiting:
            await _send(session, url, events, journal)
            await asyncio.sleep(pause_s)

    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    async with (
        asyncio.timeout(give_up_after_s),
        aiohttp.ClientSession(timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(workers):
            group.create_task(work(session))


async def _send(session: aiohttp.ClientSession, url: str, events: Sequence[Event], journal: Journal) -> None:
    ids = [event["eventId"] for event in events]
    journal.sent.update(ids)
    while not await _acknowledged(session, url, events):
        journal.resent += 1
        await asyncio.sleep(RETRY_PAUSE_S)
    journal.acknowledged.update(ids)


async def _acknowledged(session: aiohttp.ClientSession, url: str, events: Sequence[Event]) -> bool:
    try:
        async with session.post(f"{url}/api/events", json=list(events)) as reply:
            if reply.status == 503:
                return False
            body = await reply.json(content_type=None)
            assert reply.status == 202, body
            assert (body["accepted"], body["rejected"]) == (len(events), 0), body
            return True
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def account(engine: Engine, match_id: str, journal: Journal) -> Account:
    """Return what the destination table holds of the match, now."""
    rows = await engine.query(
        f"SELECT toString(event_id) AS id, count() AS rows FROM {DATABASE}.events FINAL "
        f"WHERE match_id = '{match_id}' GROUP BY id"
    )
    stored = {row["id"]: int(row["rows"]) for row in rows}
    return Account(
        lost=len(journal.acknowledged - stored.keys()),
        extra=len(stored.keys() - journal.sent),
        twice=sum(rows > 1 for rows in stored.values()),
    )


async def settled_account(engine: Engine, match_id: str, journal: Journal, *, timeout_s: float = 60.0) -> Account:
    """Return the account as soon as nothing is lost any more, else the one at the deadline."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        found = await account(engine, match_id, journal)
        if not found.lost or asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(0.2)
