"""200 bodies of 9 MB at once from clients that are fast: the memory of the service, while and after, and its health.

``python -m tests.bench.large_bodies URL CLIENTS BYTES`` is the crowd, in a process of its own; prints a JSON object.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs

from tests.bench.bench import Bench
from tests.bench.service import Service

MATCH = "large-bodies"
BODY_BYTES = 9_000_000
METADATA_BYTES = 8_000
"""Of each event, so that what a body holds is its bytes, and not rows on their way into ClickHouse."""

CROWD_S = 180.0
HEALTH_EVERY_S = 0.05
GIVEN_BACK_S = 60.0
WARM_UP = 4
RESIDENT_MAX_MB = 600
KEPT_MAX_MB = 50
HEALTH_MAX_S = 1.0


@attrs.define
class Health:
    """Asks for ``/health`` over a connection of its own, again and again, and keeps what was slowest."""

    service: Service
    asked: int = 0
    wrong: int = 0
    slowest_s: float = 0.0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Ask until the block ends."""
        asking = asyncio.create_task(self._run())
        try:
            yield
        finally:
            asking.cancel()
            await asyncio.wait({asking})

    async def _run(self) -> None:
        async with aiohttp.ClientSession(self.service.url) as session:
            while True:
                began = time.perf_counter()
                async with session.get("/health") as reply:
                    self.wrong += reply.status != 200
                    await reply.read()
                self.asked += 1
                self.slowest_s = max(self.slowest_s, time.perf_counter() - began)
                await asyncio.sleep(HEALTH_EVERY_S)


async def run(bench: Bench) -> None:
    """Measure the crowd."""
    clients, size = int(bench.pick(200, 20)), int(bench.pick(BODY_BYTES, BODY_BYTES // 10))
    async with bench.started_engine() as engine, Service(engine.directory, engine) as service:
        await crowd(service, WARM_UP, size)  # what is loaded once is there before
        await _stored(service)
        await asyncio.sleep(bench.pick(10, 2))
        before_mb = service.resident_mb()
        health = Health(service)
        Path(f"/proc/{service.pid}/clear_refs").write_text("5", encoding="ascii")  # forget the most so far
        async with health.watched():
            bench.say(f"{clients} bodies of {size:,} bytes at once")
            statuses = await crowd(service, clients, size)
        await _stored(service)
        most_mb = _most_mb(service)
        await asyncio.sleep(bench.pick(GIVEN_BACK_S, 5))
        _report(bench, health, statuses, before_mb, most_mb, service.resident_mb())


def _report(
    bench: Bench, health: Health, statuses: Counter[str], before_mb: float, most_mb: float, after_mb: float
) -> None:
    server = bench.engine == "server"
    told = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    bench.figure("replies", told)
    bench.figure("resident memory before", f"{before_mb:.0f} MB")
    bench.figure(
        "resident memory at its most",
        f"{most_mb:.0f} MB, {most_mb - before_mb:.0f} more",
        target=f"at most {RESIDENT_MAX_MB} MB with ClickHouse as a server",
        met=most_mb <= RESIDENT_MAX_MB or not server,
    )
    bench.figure(
        "resident memory a minute later",
        f"{after_mb:.0f} MB, {after_mb - before_mb:+.0f}",
        target=f"within {KEPT_MAX_MB} MB of before",
        met=after_mb - before_mb <= KEPT_MAX_MB,
    )
    bench.figure(
        "slowest of `/health` meanwhile",
        f"{health.slowest_s * 1000:.0f} ms of {health.asked:,}",
        target=f"under {HEALTH_MAX_S:g} s",
        met=health.slowest_s < HEALTH_MAX_S,
    )
    bench.check("`/health` says 200", health.wrong == 0, f"{health.wrong} of {health.asked:,} do not")
    others = {status: count for status, count in statuses.items() if status not in ("202", "503")}
    bench.check("each is taken, or refused with 503", not others, str(others))


async def _stored(service: Service, *, deadline_s: float = 300.0) -> None:
    """Wait until what was accepted is with ClickHouse, so that rows on their way are no memory of bodies."""
    deadline = time.monotonic() + deadline_s
    while sum(value for name, value in (await service.gauges()).items() if name.startswith("fanfinity_shard_depth")):
        assert time.monotonic() < deadline, f"rows wait for longer than {deadline_s:g} s"
        await asyncio.sleep(0.2)


def _most_mb(service: Service) -> float:
    status = Path(f"/proc/{service.pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1000


async def crowd(service: Service, clients: int, size: int) -> Counter[str]:
    """Send the bodies from a process of their own; return how many replies had each status."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, service.url, str(clients), str(size), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, "the crowd failed"
    return Counter(json.loads(out))


def body(size: int) -> bytes:
    """Return a JSON array of events of about so many bytes, without ids."""
    event = {"matchId": MATCH, "eventType": "comment", "metadata": {"text": "x" * METADATA_BYTES}}
    text = json.dumps(event)
    return f"[{','.join([text] * max(1, size // len(text)))}]".encode()


async def _sent(url: str, clients: int, size: int) -> Counter[str]:
    sent = body(size)

    async def one(session: aiohttp.ClientSession) -> str:
        try:
            async with session.post("/api/events", data=sent, headers={"Content-Type": "application/json"}) as reply:
                await reply.read()
                return str(reply.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__

    timeout = aiohttp.ClientTimeout(total=CROWD_S)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
        return Counter(await asyncio.gather(*(one(session) for _ in range(clients))))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_sent(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
