"""The command ``replay`` against the real service: every figure equals what a separate script counts in the file."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.bench.engines import DATABASE, Engine, Server
from tests.bench.events import figures, make_events
from tests.bench.recorded import count_file, differences, read_metrics
from tests.bench.replay import AT_KICKOFF, MATCH, begin_replay, finished
from tests.bench.service import Service
from tests.paths import DATA

MADE_UP = DATA / "made_up_event.json"
EVENTS = 3_000
DEADLINE_S = 60.0
SMALL_BATCHES = ("--batch", "1", "--connections", "2")


async def shown(service: Service, expected: int) -> None:
    """Wait until the metrics show at least so many events."""
    async with asyncio.timeout(DEADLINE_S):
        while await service.total(MATCH) < expected:
            await asyncio.sleep(0.02)


async def assert_stored_once(engine: Engine, expected: int) -> None:
    """Wait until the destination table holds so many rows; every one must have an id of its own."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            (row,) = await engine.query(
                f"SELECT count() AS n, uniqExact(event_id) AS ids FROM {DATABASE}.events FINAL "
                f"WHERE match_id = '{MATCH}'"
            )
            if int(row["n"]) >= expected:
                break
            await asyncio.sleep(0.1)
    assert (int(row["n"]), int(row["ids"])) == (expected, expected)


async def test_a_providers_file_is_shown_as_counted(engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("kloppy")
    counted = count_file(MADE_UP)
    async with Service(tmp_path, engine) as service:
        await finished(await begin_replay(service, MADE_UP, *AT_KICKOFF))
        await shown(service, counted["totalEvents"])
        metrics = await service.metrics(MATCH)
        assert metrics is not None
        assert differences(counted, read_metrics(metrics)) == []
        await finished(await begin_replay(service, MADE_UP, *AT_KICKOFF))
        again = await service.metrics(MATCH)
        assert again is not None
        assert differences(counted, read_metrics(again)) == []
    await assert_stored_once(engine, counted["totalEvents"])


async def test_service_killed_during_a_replay(engine: Engine, tmp_path: Path) -> None:
    file, expected = _own_file(tmp_path, seed=11)
    async with Service(tmp_path, engine) as service:
        process = await begin_replay(service, file, *SMALL_BATCHES)
        await shown(service, EVENTS // 10)
        assert process.returncode is None, "the replay was over before the fault"
        await service.kill()
        await service.start()
        assert "had to be repeated" in await finished(process)
        await assert_shown_as_counted(service, expected)
    await assert_stored_once(engine, EVENTS)


async def test_clickhouse_killed_during_a_replay(server: Server, tmp_path: Path) -> None:
    file, expected = _own_file(tmp_path, seed=12)
    async with Service(tmp_path, server) as service:
        process = await begin_replay(service, file, *SMALL_BATCHES)
        await shown(service, EVENTS // 10)
        assert process.returncode is None, "the replay was over before the fault"
        await server.kill()
        await server.start()
        assert "had to be repeated" not in await finished(process)
        await assert_shown_as_counted(service, expected)
    await assert_stored_once(server, EVENTS)


async def assert_shown_as_counted(service: Service, expected: dict[str, object]) -> None:
    """Wait for all events, then compare every figure."""
    await shown(service, EVENTS)
    metrics = await service.metrics(MATCH)
    assert metrics is not None
    assert {name: metrics[name] for name in expected} == expected


def _own_file(directory: Path, *, seed: int) -> tuple[Path, dict[str, object]]:
    print(f"seed {seed}")
    events = make_events(seed=seed, count=EVENTS, match_id=MATCH)
    file = directory / "match.ndjson"
    file.write_text("\n".join(json.dumps(event) for event in events), encoding="utf-8")
    return file, figures(events)
