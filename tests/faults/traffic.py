"""A load with a record of its own: what was sent, and what was acknowledged, kept in a file.

Events are numbered; a number alone gives the event's id, its match and its content, so that an account can be taken
from numbers. Most go one a request, some in batches, one request in a hundred is sent again although it was
acknowledged. Every request is repeated with the same ids until it is acknowledged.
"""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

CONNECTIONS = 32
REQUEST_TIMEOUT_S = 20.0
RETRY_PAUSE_S = 0.1
CATCH_UP_S = 2.0
BATCH = 20
TYPES = ("cheer", "reaction", "comment", "share", "prediction", "view")
FEW_MATCHES = 5


class Record:
    """Numbers of events: ``sent`` of them were put on the wire at least once; the acknowledged ones are in a file.

    A line is written after each 202 and before anything else is sent over that connection.
    """

    def __init__(self, path: Path, *, seed: int) -> None:
        self.path = path
        self.sent = 0
        self.acknowledged = 0
        self._prefix = str(uuid.UUID(int=random.Random(seed).getrandbits(128), version=4))[:24]
        self._file = path.open("ab", buffering=0)

    def take(self, count: int) -> range:
        """Return the numbers of the next events; from now on they count as sent."""
        numbers = range(self.sent, self.sent + count)
        self.sent += count
        return numbers

    def note(self, numbers: range) -> None:
        """Write down that events were acknowledged."""
        self._file.write(f"{numbers.start} {numbers.stop}\n".encode())
        self.acknowledged += len(numbers)

    def read_acknowledged(self) -> set[int]:
        """Return the acknowledged numbers, from the file."""
        lines = (line.split() for line in self.path.read_text(encoding="ascii").splitlines())
        return {number for start, stop in lines for number in range(int(start), int(stop))}

    def event_id(self, number: int) -> str:
        """Return an event's id."""
        return f"{self._prefix}{number:012x}"

    def number(self, event_id: str) -> int | None:
        """Return the number of an id; None where this record never sent it."""
        if not event_id.startswith(self._prefix):
            return None
        number = int(event_id[24:], 16)
        return number if number < self.sent else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def match_of(number: int) -> str:
    """Return an event's match: three of four belong to one."""
    return "derby" if number % 4 else f"other-{number // 4 % FEW_MATCHES}"


MATCHES = ("derby", *(f"other-{n}" for n in range(FEW_MATCHES)))


def event(number: int, *, event_id: str) -> dict[str, object]:
    """Return an event; ``metadata`` holds what SQL and JSON stumble over."""
    return {
        "eventId": event_id,
        "matchId": match_of(number),
        "eventType": TYPES[number % len(TYPES)],
        "timestamp": f"2024-01-15T{18 + number // 60 % 2}:{number % 60:02d}:00.000Z",
        "metadata": {"number": number, "text": "يا سلام ⚽ 'x' $tag$ \\"},
    }


MakeEvent = Callable[..., dict[str, object]]


@attrs.define(eq=False)
class Traffic:
    """``async with`` runs the load; leaving it waits until everything sent is acknowledged.

    Attributes:
        urls: where the service listens; each connection uses one of them, in turn.
        rate: requests a second that are due, whatever becomes of them.
        statuses: replies by status; ``0`` counts requests without a reply.
        unconnected: of those without a reply, the ones that nobody listened to.
        make_event: makes the event of a number, with the ``event_id`` given.
        refusals: replies with 503, by what they say.
        faults: replies that no service may give.
    """

    urls: Sequence[str]
    record: Record
    rate: float
    seed: int
    make_event: MakeEvent = event
    statuses: Counter[int] = attrs.field(factory=Counter)
    unconnected: int = 0
    refusals: Counter[str] = attrs.field(factory=Counter)
    faults: list[str] = attrs.field(factory=list)
    _at: float = 0.0
    _ended: bool = False
    _given_up: bool = False
    _tasks: list[asyncio.Task[None]] = attrs.field(factory=list)
    _chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    async def __aenter__(self) -> Self:
        self._at = asyncio.get_running_loop().time()
        self._tasks = [asyncio.create_task(self._work(turn)) for turn in range(CONNECTIONS)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        if error is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=error is not None)
        assert not self.faults, self.faults[:3]

    def stop(self) -> None:
        """Send nothing new any more; requests that were refused are not repeated either."""
        self._ended = self._given_up = True

    async def more(self, count: int, *, deadline_s: float = 60.0) -> None:
        """Return when so many more events are acknowledged than are now."""
        wanted = self.record.acknowledged + count
        async with asyncio.timeout(deadline_s):
            while self.record.acknowledged < wanted:
                self._assert_alive()
                await asyncio.sleep(0.005)

    async def refused(self, count: int, *, deadline_s: float = 60.0) -> None:
        """Return when so many more requests were answered by 503."""
        wanted = self.statuses[503] + count
        async with asyncio.timeout(deadline_s):
            while self.statuses[503] < wanted:
                self._assert_alive()
                await asyncio.sleep(0.005)

    def _assert_alive(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    async def _work(self, turn: int) -> None:
        client = _Client(self.urls[turn % len(self.urls)])
        try:
            while not self._ended:
                numbers = self.record.take(BATCH if self._chance.random() < 0.02 else 1)
                request = client.request(
                    [self.make_event(number, event_id=self.record.event_id(number)) for number in numbers]
                )
                while not (acknowledged := await self._acknowledged(client, request)) and not self._given_up:
                    await self._wait_to_repeat(client)
                if not acknowledged:
                    return
                self.record.note(numbers)
                if self._chance.random() < 0.01:
                    await self._acknowledged(client, request)
                await self._wait_for_turn()
        finally:
            client.close()

    async def _wait_for_turn(self) -> None:
        now = asyncio.get_running_loop().time()
        self._at = max(self._at + 1 / self.rate, now - CATCH_UP_S)
        await asyncio.sleep(self._at - now)

    async def _wait_to_repeat(self, client: "_Client") -> None:
        """Wait as for any request where the service answered: one that refuses is offered no less."""
        if client.connected:
            await self._wait_for_turn()
        else:
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _acknowledged(self, client: "_Client", request: bytes) -> bool:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                status, head, body = await client.exchange(request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self.unconnected += not client.connected
            client.close()
            self.statuses[0] += 1
            return False
        self.statuses[status] += 1
        if status == 503:
            self.refusals[json.loads(body)["detail"]] += 1
        if status == 503 and b"retry-after:" not in head.lower():
            self.faults.append(f"503 without Retry-After: {head!r}")
        elif status not in (202, 503):
            self.faults.append(f"{status}: {body[:500]!r}")
        elif status == 202 and b'"rejected"' in body and b'"rejected":0' not in body:
            self.faults.append(f"not all accepted: {body[:500]!r}")
        return status != 503


class _Client:
    """One kept-alive connection, opened when needed."""

    def __init__(self, url: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def connected(self) -> bool:
        return self._streams is not None

    def request(self, events: Sequence[dict[str, object]]) -> bytes:
        body = json.dumps(events[0] if len(events) == 1 else events).encode()
        head = f"POST /api/events HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def exchange(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Return status, head and body of the reply; OSError or IncompleteReadError where there is none."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        body = await reader.readexactly(length)
        if b"connection: close" in lines:
            self.close()
        return int(head[9:12]), head, body

    def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            with suppress(OSError):
                streams[1].transport.abort()
