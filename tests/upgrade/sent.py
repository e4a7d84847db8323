"""What was sent, numbered, and what has to be read of it: the first copy of each stands."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import aiohttp
import attrs

MATCHES = 20
TYPES = ("cheer", "comment", "view")
LATER_TYPE = "reaction"
"""Type of all later copies: no answer may hold it."""

BATCH = 500
_CONNECTIONS = 4


def match_of(number: int) -> str:
    """Return the match of an event."""
    return f"match-{number % MATCHES}"


def event(number: int, *, is_copy: bool = False) -> Mapping[str, object]:
    """Return the event of a number, or a later copy that differs."""
    return {
        "eventId": f"00000000-0000-4000-8000-{number:012x}",
        "matchId": match_of(number),
        "eventType": LATER_TYPE if is_copy else TYPES[number // MATCHES % len(TYPES)],
        "metadata": {"n": number},
    }


@attrs.define
class Sent:
    """Events 0 to ``count`` - 1, each acknowledged; the copies of some of them are not counted."""

    count: int = 0

    async def send(self, url: str, events: int) -> None:
        """Send so many new events."""
        numbers = range(self.count, self.count + events)
        await _post_all(url, [numbers[at : at + BATCH] for at in range(0, events, BATCH)], is_copy=False)
        self.count += events

    async def send_again(self, url: str, copies: int) -> None:
        """Send copies of so many events of before, spread over all."""
        numbers = range(0, self.count, max(1, self.count // copies)) if copies else range(0)
        await _post_all(url, [numbers[at : at + BATCH] for at in range(0, len(numbers), BATCH)], is_copy=True)

    def expected(self) -> dict[str, Counter[str]]:
        """Return the count of events by match and type."""
        found = {match_of(number): Counter[str]() for number in range(MATCHES)}
        whole, rest = divmod(self.count, MATCHES * len(TYPES))
        for number in range(MATCHES * len(TYPES)):
            events = whole + (number < rest)
            if events:
                found[match_of(number)][TYPES[number // MATCHES]] += events
        return found


async def _post_all(url: str, batches: Sequence[range], *, is_copy: bool) -> None:
    waiting = iter(batches)
    async with aiohttp.ClientSession(url) as session, asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(_work(session, waiting, is_copy=is_copy))


async def _work(session: aiohttp.ClientSession, waiting: Iterator[range], *, is_copy: bool) -> None:
    for numbers in waiting:
        body = json.dumps([event(number, is_copy=is_copy) for number in numbers])
        async with session.post("/api/events", data=body, headers={"Content-Type": "application/json"}) as reply:
            answer = await reply.json()
            assert (reply.status, answer.get("accepted")) == (202, len(numbers)), answer
