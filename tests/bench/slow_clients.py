"""Connections that are never used well, beside clients that are: what those notice, and whether the others are cut off.

Each waits as long as the service's own patience lasts, so this takes as long in its short form.
"""

import asyncio
import resource
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import cast

import attrs

from app.web.timeouts import Timeouts
from tests.bench.bench import Bench
from tests.bench.load import LoadOptions, LoadResult, run_load
from tests.bench.service import Service

MATCH = "slow-clients"
RATE = 1_000
SLACK_S = 15.0
WARM_UP_S = 3.0
OUR_FILES = 1_500
TICKS_PER_S = 20
RATIO_MAX = 2.0
TCP_REPAIR = 19
CONNECTED_AT_ONCE = 200

HEAD = b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SLOW_HEAD = HEAD + b"X-Slow: " + b"x" * 500
BODY_BEGINS = HEAD + b"Content-Length: 500\r\n\r\n"


@attrs.frozen
class Kind:
    """How a client behaves: what it says at once, what it then says at a byte a second, whether it vanishes."""

    name: str
    at_once: bytes = b""
    slowly: bytes = b""
    vanishes: bool = False


IDLE = Kind("idle")
OTHERS = (
    Kind("headers at a byte a second", slowly=SLOW_HEAD),
    Kind("body at a byte a second", at_once=BODY_BEGINS, slowly=b" " * 500),
    Kind("half a request, then silent", at_once=HEAD),
    Kind("half a request, then gone without a FIN", at_once=BODY_BEGINS + b"{", vanishes=True),
)


class Client(asyncio.Protocol):
    """One connection that behaves as its kind does. ``open`` until the service closes it."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.open = False
        self._said = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True
        self._transport.write(self.kind.at_once)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False

    def say_a_byte(self) -> None:
        """Send the next byte, if there is one."""
        if self.open and self._transport is not None and self._said < len(self.kind.slowly):
            self._transport.write(self.kind.slowly[self._said : self._said + 1])
            self._said += 1

    def vanish(self) -> bool:
        """Close so that no packet tells of it; False where only root may, and the client stays, silent."""
        assert self._transport is not None
        with suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            self._transport.abort()
            return True
        return False

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


async def run(bench: Bench) -> None:
    """Measure the same load without them, with them, and while they are cut off."""
    async with bench.started_engine() as engine, Service(engine.directory, engine) as service:
        await _load(service, WARM_UP_S, seed=bench.seed)
        bench.say(f"{RATE:,} requests/s with nobody beside them")
        without = await _load(service, bench.pick(20, 5), seed=bench.seed + 1)
        before = connections(service.port)
        clients = await _connect(service, _room(int(bench.pick(5_000, 500))), int(bench.pick(200, 20)))
        try:
            await _check_held(bench, service, clients, before)
            beside, cutting = await _beside(service, clients, seed=bench.seed + 2)
            held = await _held(service, before)
        finally:
            for client in clients:
                client.close()
    _report(bench, without, beside, cutting)
    bench.check("all of them are cut off in the end", held <= before, f"{max(0, held - before)} sockets are left")


async def _check_held(bench: Bench, service: Service, clients: list[Client], before: int) -> None:
    await asyncio.sleep(1)  # what was sent has to be there before anybody vanishes
    gone = [client.vanish() for client in clients if client.kind.vanishes]
    if not all(gone):
        bench.say("only root can vanish without a FIN: they stay, and say nothing")
    for name, count in Counter(client.kind.name for client in clients).items():
        bench.figure(f"connections: {name}", f"{count:,}")
    there = connections(service.port) - before
    bench.check("the service holds all of them at first", there == len(clients), f"{there:,} of {len(clients):,}")


async def _beside(service: Service, clients: list[Client], *, seed: int) -> tuple[LoadResult, LoadResult]:
    """Return what others had while the clients were there, and while the idle ones, nearly all, were cut off."""
    dripping = asyncio.create_task(_drip([client for client in clients if client.kind.slowly]))
    idle_s = Timeouts().idle_s
    try:
        beside = await _load(service, idle_s - SLACK_S, seed=seed)
        return beside, await _load(service, 2 * SLACK_S, seed=seed + 1)
    finally:
        dripping.cancel()


async def _held(service: Service, before: int) -> int:
    """Return how many connections the service holds once the load's own are closed."""
    deadline = asyncio.get_running_loop().time() + SLACK_S
    while (held := connections(service.port)) > before and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.2)
    return held


def _report(bench: Bench, without: LoadResult, beside: LoadResult, cutting: LoadResult) -> None:
    bench.figure("others' POST without them, p50 / p99 / max", _latencies(without))
    bench.figure("others' POST with them, p50 / p99 / max", _latencies(beside))
    ratio = beside.p99_ms / without.p99_ms
    bench.figure(
        "with : without, p50 / p99",
        f"{beside.p50_ms / without.p50_ms:.2f} / {ratio:.2f}",
        target=f"others do not notice: p99 at most {RATIO_MAX:g}",
        met=ratio <= RATIO_MAX,
    )
    bench.figure("others' POST while all idle ones are cut off at once, p50 / p99 / max", _latencies(cutting))
    wrong, sent = (
        sum(counts) for counts in zip(*((r.errors, r.sent) for r in (without, beside, cutting)), strict=True)
    )
    bench.check("every request of others answered by 202", wrong == 0, f"{wrong} of {sent:,} not")


def _latencies(result: LoadResult) -> str:
    return f"{result.p50_ms:.1f} / {result.p99_ms:.1f} / {result.max_ms:.1f} ms"


async def _load(service: Service, seconds: float, *, seed: int) -> LoadResult:
    return await run_load(
        LoadOptions(
            url=f"{service.url}/api/events",
            match_id=MATCH,
            seconds=seconds,
            connections=32,
            rate=RATE,
            seed=seed,
        )
    )


def _room(wanted: int) -> int:
    """Return how many idle connections this process can hold, at most ``wanted``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > wanted + OUR_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + OUR_FILES), hard))
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - OUR_FILES


async def _connect(service: Service, idle: int, of_each: int) -> list[Client]:
    kinds = [IDLE] * idle + [kind for kind in OTHERS for _ in range(of_each)]
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for start in range(0, len(kinds), CONNECTED_AT_ONCE):
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda kind=kind: Client(kind), "127.0.0.1", service.port)  # type: ignore[misc]
                for kind in kinds[start : start + CONNECTED_AT_ONCE]
            )
        )
        clients += [client for _, client in made]
    return clients


async def _drip(clients: list[Client]) -> None:
    """Have each client say a byte a second, not all at the same moment."""
    while True:
        for turn in range(TICKS_PER_S):
            for client in clients[turn::TICKS_PER_S]:
                client.say_a_byte()
            await asyncio.sleep(1 / TICKS_PER_S)


def connections(port: int) -> int:
    """Return how many connections to a port of this machine a process holds at the listening end (Linux)."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(_held_at(port, line.split()) for line in lines)


def _held_at(port: int, fields: list[str]) -> bool:
    local, state, inode = fields[1], fields[3], fields[9]
    listens, orphaned = state == "0A", inode == "0"
    return int(local.rpartition(":")[2], 16) == port and not listens and not orphaned
