"""Load generator: one process, raw HTTP/1.1 over kept-alive connections: single events of one match, or its readers.

Open loop (``--rate``): request ``i`` is due at ``start + i / rate``, whatever became of the ones before. Its latency
runs from that moment, so time spent waiting for a free connection counts too. Closed loop (no ``--rate``): every
connection sends its next request as soon as the reply is in; latency runs from the sending.

Readers come before that: each connects and asks once, 100 of them at a time; the load begins when all were answered.

Every load ends: after ``--seconds`` nothing new is sent; what has no reply ``--linger_s`` later is ``unanswered``.
Prints one JSON object, see :class:`LoadResult`. Timers fire at whole milliseconds, so latencies hold up to 1 ms of it.
"""

import argparse
import asyncio
import gc
import json
import math
import random
import sys
import time
import uuid
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import attrs
import uvloop

SPIKE_TYPES = ("cheer", "reaction", "comment", "share", "pass", "view")
CONNECTED_AT_ONCE = 100
TICK_S = 0.001
"""Requests are sent at least so far apart, those that are due together: to wait for less keeps a core busy."""


@attrs.frozen(kw_only=True)
class LoadOptions:
    """What to send. ``rate``: requests a second, 0: closed loop. ``acknowledged``: file for ids that got a 2xx.

    ``batch``: events in a request; more than one are sent as an array.
    ``key``: sent as the bearer token.
    ``reads``: GET the URL, in place of sending events; each connection asks in its turn, so with ``rate`` equal to
    ``connections`` once a second. ``conditional``: with the ETag of the last answer it got.
    """

    url: str
    match_id: str
    seconds: float
    connections: int
    rate: float = 0.0
    seed: int = 1
    linger_s: float = 10.0
    batch: int = 1
    acknowledged: str = ""
    reads: int = 0
    conditional: int = 0
    key: str = ""


@attrs.frozen(kw_only=True)
class LoadResult:
    """What came back. Latencies in ms, of answered requests only; ``seconds`` until the last reply.

    ``arrived_s`` is how long it took until all readers were there, ``arrival_p99_ms`` and ``arrival_max_ms`` how long
    one of them, from before it connected to its first answer.
    """

    arrived_s: float
    arrival_p99_ms: float
    arrival_max_ms: float
    sent: int
    statuses: dict[str, int]
    lost_connections: int
    unanswered: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @property
    def acknowledged(self) -> int:
        """Return the number of 2xx replies."""
        return sum(n for status, n in self.statuses.items() if status.startswith("2"))

    @property
    def errors(self) -> int:
        """Return the number of requests that got anything but a 2xx, or were told that nothing is new."""
        return self.sent - self.acknowledged - self.statuses.get("304", 0)

    @property
    def per_second(self) -> float:
        """Return 2xx replies a second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


def percentile(ordered: Sequence[float], q: float) -> float:
    """Return the exact ``q`` quantile of sorted values by nearest rank; 0 of none."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else 0.0


class Requests:
    """The requests of one load: request ``i`` is the same bytes for the same seed, its event id included."""

    def __init__(self, options: LoadOptions) -> None:
        ids = str(uuid.UUID(int=random.Random(options.seed).getrandbits(128), version=4))
        self.id_prefix = ids[:24]
        self._batch = options.batch
        self._head = _head(options.url, options.key)
        self._templates = [_template(options.match_id, event_type) for event_type in SPIKE_TYPES]

    def event_ids(self, index: int) -> list[str]:
        """Return the event ids of request ``index``."""
        return [f"{self.id_prefix}{number:012x}" for number in range(index * self._batch, (index + 1) * self._batch)]

    def request(self, index: int, tag: bytes) -> bytes:
        """Return request ``index``, head and body. ``tag`` is for readers only."""
        events = []
        for number, event_id in enumerate(self.event_ids(index), start=index * self._batch):
            before, after = self._templates[number % len(self._templates)]
            events.append(b"".join((before, event_id.encode(), after)))
        body = events[0] if self._batch == 1 else b"[%b]" % b",".join(events)
        return self._head % (len(body), body)


class Readings:
    """The requests of a load of readers, as a browser sends them."""

    def __init__(self, options: LoadOptions) -> None:
        parts = urlsplit(options.url)
        self._conditional = options.conditional
        self._head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept-Encoding: gzip, deflate\r\n".encode()

    def event_ids(self, index: int) -> list[str]:
        """Return nothing: no event is sent."""
        return []

    def request(self, index: int, tag: bytes) -> bytes:
        """Return a request; ``tag`` is the ETag of the last answer on its connection, if there was one."""
        condition = b"If-None-Match: %b\r\n" % tag if tag and self._conditional else b""
        return b"%b%b\r\n" % (self._head, condition)


def _head(url: str, key: str) -> bytes:
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*(line.replace("%", "%%") for line in lines), "Content-Length: %d\r\n\r\n%b"]).encode()


def _template(match_id: str, event_type: str) -> tuple[bytes, bytes]:
    body = json.dumps(
        {
            "eventId": "@",
            "matchId": match_id,
            "eventType": event_type,
            "timestamp": "2024-01-15T14:30:00.000Z",
            "teamId": "1",
            "playerId": "10",
            "metadata": {"minute": 53, "player": "Salem", "x": 88.5, "y": 41.0},
        }
    ).encode()
    before, after = body.split(b"@")
    return before, after


class Connection(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._first: asyncio.Future[str] | None = None
        self.index = -1
        self.tag = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, index: int, request: bytes) -> None:
        """Send request ``index``."""
        assert self._transport is not None
        self.index = index
        self._transport.write(request)

    async def ask(self, request: bytes) -> str:
        """Send a request that is none of the load's, and return the status of the answer."""
        self._first = asyncio.get_running_loop().create_future()
        self.send(-1, request)
        return await self._first

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length, closing, tag = _reply_head(bytes(self._received[:end]))
        if len(self._received) < end + 4 + length:
            return
        status = self._received[9:12].decode()
        self.tag = tag
        del self._received[: end + 4 + length]
        if self._first is not None:
            self._first.set_result(status)
            self._first = None
            return
        index, self.index = self.index, -1
        self._load.replied(self, index, status, reusable=not closing)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._first is not None:
            self._first.set_exception(exc or ConnectionResetError("closed before the answer"))
        self._load.lost(self, self.index)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


def _reply_head(head: bytes) -> tuple[int, bool, bytes]:
    """Return the body's length, whether the server closes, and the ETag; ValueError for a reply without a length."""
    length, closing, tag = -1, False, b""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"content-length":
            length = int(value)
        elif name == b"connection":
            closing = value.strip().lower() == b"close"
        elif name == b"etag":
            tag = value.strip()
    if head[9:12] == b"304":
        length = 0
    if length < 0:
        raise ValueError(f"reply without Content-Length: {head!r}")
    return length, closing, tag


class Load:
    """One run of the generator."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        self._requests = Readings(options) if options.reads else Requests(options)
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._due: deque[int] = deque()
        self._since = array("d")
        self._latencies = array("d")
        self._arrivals = array("d")
        self._statuses: Counter[str] = Counter()
        self._acknowledged = array("q")
        self._lost = 0
        self._under_way = 0
        self._sending = True
        self._last_reply = 0.0
        self._ended = asyncio.Event()
        self._connecting: set[asyncio.Task[None]] = set()

    async def run(self) -> LoadResult:
        """Send the load and return what came back."""
        came = time.perf_counter()
        for start in range(0, self._options.connections, CONNECTED_AT_ONCE):
            count = min(CONNECTED_AT_ONCE, self._options.connections - start)
            await asyncio.gather(*(self._arrive() for _ in range(count)))
        arrived_s = time.perf_counter() - came
        gc.collect()
        gc.freeze()
        start = self._last_reply = time.perf_counter()
        if self._options.rate:
            await self._send_open(start)
        else:
            await self._send_closed(start)
        self._sending = False
        if self._under_way or self._due:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self._options.linger_s)
        for connection in list(self._all):
            connection.close()
        return self._result(start, arrived_s)

    async def _arrive(self) -> None:
        came = time.perf_counter()
        connection = await self._connect()
        if self._options.reads and (status := await connection.ask(self._requests.request(0, b""))) != "200":
            raise RuntimeError(f"a reader who came was answered by {status}")
        self._arrivals.append(time.perf_counter() - came)
        self._idle.append(connection)

    async def _connect(self) -> Connection:
        parts = urlsplit(self._options.url)
        _, connection = await self._loop.create_connection(
            lambda: Connection(self), parts.hostname or "", parts.port or 80
        )
        self._all.add(connection)
        return connection

    async def _send_open(self, start: float) -> None:
        rate = self._options.rate
        total = round(rate * self._options.seconds)
        self._since = array("d", (start + i / rate for i in range(total)))
        made = 0
        while made < total:
            due = min(total, int((time.perf_counter() - start) * rate) + 1)
            self._due.extend(range(made, due))
            made = due
            self._dispatch()
            if made < total:
                await asyncio.sleep(max(TICK_S, self._since[made] - time.perf_counter()))

    async def _send_closed(self, start: float) -> None:
        for _ in range(len(self._idle)):
            self._next_closed()
        await asyncio.sleep(start + self._options.seconds - time.perf_counter())

    def _next_closed(self) -> None:
        self._due.append(len(self._since))
        self._since.append(time.perf_counter())
        self._dispatch()

    def _dispatch(self) -> None:
        while self._due and self._idle:
            index = self._due.popleft()
            self._under_way += 1
            connection = self._idle.popleft()
            connection.send(index, self._requests.request(index, connection.tag))

    def replied(self, connection: Connection, index: int, status: str, *, reusable: bool) -> None:
        """Count a reply and use its connection again."""
        self._last_reply = time.perf_counter()
        self._latencies.append(self._last_reply - self._since[index])
        self._statuses[status] += 1
        if status.startswith("2"):
            self._acknowledged.append(index)
        self._under_way -= 1
        if reusable:
            self._idle.append(connection)
        else:
            connection.close()
        self._go_on()

    def lost(self, connection: Connection, index: int) -> None:
        """Count a connection that ended, and open another one while there is something to send."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if index >= 0:
            self._lost += 1
            self._under_way -= 1
        if self._sending:
            self._begin_connect()
        self._go_on()

    def _begin_connect(self) -> None:
        task = self._loop.create_task(self._reconnect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _reconnect(self) -> None:
        try:
            self._idle.append(await self._connect())
        except OSError:
            await asyncio.sleep(0.05)
            if self._sending:
                self._begin_connect()
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self._options.rate:
            self._dispatch()
        elif self._sending and self._idle:
            self._next_closed()
        if not self._sending and not self._under_way and not self._due:
            self._ended.set()

    def _result(self, start: float, arrived_s: float) -> LoadResult:
        if self._options.acknowledged:
            ids = "\n".join(one for index in self._acknowledged for one in self._requests.event_ids(index))
            Path(self._options.acknowledged).write_text(ids, encoding="ascii")
        ordered = sorted(latency * 1000 for latency in self._latencies)
        arrivals = sorted(latency * 1000 for latency in self._arrivals)
        return LoadResult(
            arrived_s=arrived_s,
            arrival_p99_ms=percentile(arrivals, 0.99),
            arrival_max_ms=percentile(arrivals, 1.0),
            sent=len(self._since),
            statuses=dict(self._statuses),
            lost_connections=self._lost,
            unanswered=len(self._since) - len(ordered) - self._lost,
            seconds=self._last_reply - start,
            p50_ms=percentile(ordered, 0.50),
            p95_ms=percentile(ordered, 0.95),
            p99_ms=percentile(ordered, 0.99),
            max_ms=percentile(ordered, 1.0),
        )


async def run_load(options: LoadOptions) -> LoadResult:
    """Run the load in a process of its own; RuntimeError with its last words if that fails."""
    arguments = [f"--{field}={value}" for field, value in attrs.asdict(options).items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"load generator failed: {err.decode(errors='replace')[-2000:]}")
    return LoadResult(**json.loads(out))


def _options(arguments: Sequence[str] | None = None) -> LoadOptions:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in attrs.fields(LoadOptions):
        required = field.default is attrs.NOTHING
        parser.add_argument(
            f"--{field.name}",
            type=cast(type, field.type),
            required=required,
            default=None if required else field.default,
        )
    return LoadOptions(**vars(parser.parse_args(arguments)))


async def _main(options: LoadOptions) -> LoadResult:
    return await Load(options).run()


if __name__ == "__main__":
    print(json.dumps(attrs.asdict(uvloop.run(_main(_options())))))
