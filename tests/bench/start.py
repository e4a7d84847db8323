"""A log full of events that ClickHouse never saw: how soon a service that was killed accepts again."""

import time

import attrs

from tests.bench.bench import Bench
from tests.bench.bulk import Bulk, all_stored, stored
from tests.bench.engines import Server
from tests.bench.sender import Account
from tests.bench.service import Service

MATCH = "start"
ACCEPTING_WITHIN_S = 5.0


@attrs.frozen
class _Started:
    """Seconds from the start of the process until ``/ready`` said 200, and until an event got a 202."""

    ready_s: float
    accepted_s: float


async def run(bench: Bench) -> None:
    """Measure two starts, then wait until everything is stored."""
    async with bench.started_engine() as engine:
        assert isinstance(engine, Server)
        bulk = Bulk(match_id=MATCH, seed=bench.seed, count=int(bench.pick(1_000_000, 50_000)))
        async with Service(engine.directory, engine) as service:
            await engine.kill()
            bench.say(f"ClickHouse is away; {bulk.count:,} events go into the log")
            await bulk.send(service.url)
            expected = bulk.count
            for where in ("away", "back"):
                await service.kill()
                if where == "back":
                    await engine.start()
                await _start(bench, service, where, expected)
                expected += 1
            began = time.perf_counter()
            everything = await all_stored(engine, MATCH, expected)
            took = time.perf_counter() - began
        found = await stored(engine, MATCH)
        bench.check("everything pending is stored", everything, f"{found.ids:,} of {expected:,}")
        bench.figure("from the last start until everything is stored", f"{took:.1f} s, {expected / took:,.0f} rows/s")
        bench.check_account(
            Account(
                lost=max(0, expected - found.ids),
                extra=max(0, found.ids - expected),
                twice=found.rows - found.ids,
            )
        )


async def _start(bench: Bench, service: Service, where: str, expected: int) -> None:
    began = time.perf_counter()
    await service.start()
    ready_s = time.perf_counter() - began
    event = {"matchId": MATCH, "eventType": "cheer"}
    async with service.session.post("/api/events", json=event) as reply:
        body = await reply.text()
        accepted = _Started(ready_s, time.perf_counter() - began)
    detail = "202" if reply.status == 202 else f"{reply.status} {body}"
    bench.check(f"ClickHouse {where}: accepts as soon as it says so", reply.status == 202, detail)
    gauges = await service.gauges()
    known = gauges["fanfinity_wal_appended_records_total"]
    bench.check(
        f"ClickHouse {where}: the new process knows every event",
        known == expected + 1,
        f"{known:,.0f} of {expected + 1:,}",
    )
    bench.figure(
        f"ClickHouse {where}, {expected:,} records pending: until `/ready` says 200 / until a POST got its 202",
        f"{accepted.ready_s:.2f} / {accepted.accepted_s:.2f} s",
        target=f"< {ACCEPTING_WITHIN_S:g} s",
        met=accepted.accepted_s < ACCEPTING_WITHIN_S,
    )
    bench.figure(f"ClickHouse {where}: resident memory then", f"{service.resident_mb():.0f} MB")
