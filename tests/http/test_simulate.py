"""``fanfinity simulate`` as a user runs it, against the running service."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.commands.simulate import Fixture
from tests.bench.engines import Embedded
from tests.bench.service import Service
from tests.http.command import DEADLINE_S, run

SHORT = ("--minutes", 10, "--fans", 10, "--seed", 5)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Service]:
    async with Service(tmp_path, Embedded(tmp_path)) as served:
        yield served


async def test_a_match_is_shown_as_it_was_made_up(served: Service) -> None:
    """What the metrics show equals a count of the same fixture, retracted goals left out."""
    ended = await run("simulate", "--url", served.url, *SHORT, "--speed", 600)
    moments = [moment.event for moment in Fixture(seed=5, matches=1, minutes=10, fans_per_minute=10).moments()]
    withdrawn = {e["metadata"]["eventId"] for e in moments if e["eventType"] == "retraction"}
    counted = Counter(e["eventType"] for e in moments if e["eventId"] not in withdrawn)

    assert ended.code == 0, ended.err
    assert f"{len(moments):,} accepted, 0 rejected, 0 not acknowledged (seed 5)" in ended.out
    assert f"{served.url}/matches/sim-5-1" in ended.out
    async with asyncio.timeout(DEADLINE_S):
        while await served.total("sim-5-1") < counted.total():
            await asyncio.sleep(0.02)
    metrics = await served.metrics("sim-5-1")
    assert metrics is not None
    assert metrics["eventsByType"] == dict(counted)
    assert metrics["status"] == "finished"
    assert metrics["score"] is not None


async def test_a_knockout_goes_on_to_a_shoot_out(served: Service) -> None:
    """Kicks of the shoot-out are counted as such, and not as goals."""
    fixture = Fixture(seed=2, matches=1, minutes=10, fans_per_minute=1, knockout=True)
    counted = Counter(moment.event["eventType"] for moment in fixture.moments())
    options = ("--minutes", 10, "--fans", 1, "--seed", 2, "--knockout", "--speed", 600)
    ended = await run("simulate", "--url", served.url, *options)

    assert ended.code == 0, ended.err + ended.out
    assert counted["shootout_goal"] + counted["shootout_miss"] >= 6
    async with asyncio.timeout(DEADLINE_S):
        while await served.total("sim-2-1") < counted.total():
            await asyncio.sleep(0.02)
    metrics = await served.metrics("sim-2-1")
    assert metrics is not None
    assert metrics["eventsByType"] == dict(counted)
    assert metrics["goals"] == counted["goal"] + counted["own_goal"]
    assert metrics["score"]["home"] == metrics["score"]["away"]


async def test_many_matches_at_a_steady_rate(served: Service) -> None:
    ended = await run("simulate", "--url", served.url, "--matches", 3, *SHORT, "--rate", 500, "--batch", 1)

    assert ended.code == 0, ended.err
    found = re.search(r"([\d,]+) events in ([\d.]+) s", ended.out)
    assert found is not None, ended.out
    assert float(found[2]) >= int(found[1].replace(",", "")) / 500 - 0.1, "faster than it was told to"
    assert re.search(r"p50 [\d.]+, p95 [\d.]+, p99 [\d.]+", ended.out)
    assert all([await served.total(f"sim-5-{number}") for number in (1, 2, 3)])


async def test_a_summary_for_programs(served: Service, tmp_path: Path) -> None:
    ended = await run("simulate", "--url", served.url, "--json", *SHORT, "--speed", 6000)
    assert ended.code == 0
    made = json.loads(ended.out)
    assert made["events"] == made["accepted"] > 0
    assert (made["rejected"], made["notAcknowledged"], made["interrupted"], made["failure"]) == (0, 0, False, "")
    assert set(made["answeredInMs"]) == {"p50", "p95", "p99"}
    [match] = made["matches"]
    assert f"/matches/{match}" not in ended.out

    recorded = tmp_path / "recorded.ndjson"
    good = {"matchId": "recorded", "eventType": "goal", "teamId": "1", "timestamp": "2024-01-15T14:30:00Z"}
    recorded.write_text("\n".join(map(json.dumps, [good, good | {"timestamp": "never"}])))
    ended = await run("replay", "--url", served.url, "--json", recorded)
    sent = json.loads(ended.out)
    assert ended.code == 1
    assert (sent["accepted"], sent["events"]) == (1, sent["accepted"] + sent["rejected"])
    assert len(sent["rejections"]) + len(sent["faults"]) == 1


async def test_two_paces_are_refused() -> None:
    ended = await run("simulate", "--speed", 10, "--rate", 10)

    assert ended.code == 2
    assert "exclude each other" in ended.err
