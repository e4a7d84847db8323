"""300 clients that send 10 MiB at 1 KiB a second each: what another client's POST takes with and without them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import attrs

from tests.bench import large_bodies
from tests.bench.bench import Bench
from tests.bench.load import LoadOptions, LoadResult, run_load
from tests.bench.service import Service
from tests.bench.slow_clients import connections

MATCH = "slow-bodies"
RATE = 200
BODY_BYTES = 10 << 20
LARGE_BYTES = 2 << 20
PIECE = b" " * 1024
RATIO_MAX = 2.0
HEAD = (
    b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES
)


@attrs.define
class SlowBody(asyncio.Protocol):
    """One client that sends its body slowly, for as long as the service lets it."""

    status: str = ""
    open: bool = False
    _transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True
        self._transport.write(HEAD)

    def data_received(self, data: bytes) -> None:
        self.status = self.status or data[9:12].decode("latin-1")

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False

    def send(self) -> None:
        """Send the next piece, if the connection is there."""
        if self.open and self._transport is not None:
            self._transport.write(PIECE)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


async def run(bench: Bench) -> None:
    """Measure the same load without them and with them."""
    clients, seconds = int(bench.pick(300, 60)), bench.pick(20, 5)
    async with bench.started_engine() as engine, Service(engine.directory, engine) as service:
        await _load(service, 3, seed=bench.seed)
        bench.say(f"{RATE} requests/s with nobody beside them")
        without = await _load(service, seconds, seed=bench.seed + 1)
        before, before_mb = connections(service.port), service.resident_mb()
        bench.say(f"the same with {clients} that send a KiB a second each")
        async with _slow(service, clients) as slow:
            beside = await _load(service, seconds, seed=bench.seed + 2)
            large = await large_bodies.crowd(service, 1, LARGE_BYTES)
            there, with_mb = connections(service.port) - before, service.resident_mb()
    _report(bench, without, beside)
    bench.check("a large body of another client is taken beside them", large == {"202": 1}, str(dict(large)))
    told = {status: sum(one.status == status for one in slow) for status in {one.status for one in slow}}
    bench.figure("of them still sending at the end", f"{there} of {clients}; answered: {_told(told)}")
    bench.figure("resident memory without / with them", f"{before_mb:.0f} / {with_mb:.0f} MB")


def _report(bench: Bench, without: LoadResult, beside: LoadResult) -> None:
    bench.figure("others' POST without them, p50 / p99 / max", _latencies(without))
    bench.figure("others' POST with them, p50 / p99 / max", _latencies(beside))
    ratio = beside.p99_ms / without.p99_ms
    bench.figure(
        "with : without, p50 / p99",
        f"{beside.p50_ms / without.p50_ms:.2f} / {ratio:.2f}",
        target=f"others do not notice: p99 at most {RATIO_MAX:g}",
        met=ratio <= RATIO_MAX,
    )
    wrong, sent = without.errors + beside.errors, without.sent + beside.sent
    bench.check("every request of others answered by 202", wrong == 0, f"{wrong} of {sent:,} not")


@asynccontextmanager
async def _slow(service: Service, clients: int) -> AsyncIterator[list[SlowBody]]:
    """Have them connect, and send slowly until the block ends."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(SlowBody, "127.0.0.1", service.port) for _ in range(clients)]
    slow = [client for _, client in made]
    sending = asyncio.create_task(_drip(slow))
    try:
        await asyncio.sleep(1)
        yield slow
    finally:
        sending.cancel()
        for client in slow:
            client.close()


async def _drip(clients: list[SlowBody]) -> None:
    """Have each send a KiB a second, not all at the same moment."""
    while True:
        for turn in range(20):
            for client in clients[turn::20]:
                client.send()
            await asyncio.sleep(1 / 20)


def _latencies(result: LoadResult) -> str:
    return f"{result.p50_ms:.1f} / {result.p99_ms:.1f} / {result.max_ms:.1f} ms"


def _told(statuses: dict[str, int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()) if status) or "none"


async def _load(service: Service, seconds: float, *, seed: int) -> LoadResult:
    return await run_load(
        LoadOptions(
            url=f"{service.url}/api/events", match_id=MATCH, seconds=seconds, connections=16, rate=RATE, seed=seed
        )
    )
