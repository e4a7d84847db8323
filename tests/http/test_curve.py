"""The curve of a match over HTTP, its parameters, and what else the metrics tell of it."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from shards.errors import StoreUnavailable
from tests.http.problem import assert_problem
from tests.http.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

MATCH = "curved"
MOMENTS = {"14:00:00": "1", "14:00:09": "2", "14:00:10": "2", "14:01:59": "", "14:06:00": "2"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def match(service: Service) -> None:
    start = {"home": {"id": "1", "name": "Al-Hilal"}, "away": {"id": "2", "name": "Al-Nassr"}}
    events: list[dict[str, Any]] = [
        {"eventType": "cheer" if not team else "pass", "timestamp": f"2024-01-15T{at}Z", "teamId": team or None}
        for at, team in MOMENTS.items()
    ]
    events[3].pop("teamId")
    events.append({"eventType": "match_start", "timestamp": "2024-01-15T14:00:00Z", "metadata": start})
    assert (await service.post(f"/api/matches/{MATCH}/events", events)).status == 202
    await service.metrics(MATCH, total=6)


async def curve(service: Service, query: str) -> dict[str, Any]:
    reply = await service.get(f"/api/matches/{MATCH}/metrics?{query}")
    assert reply.status == 200, reply.text
    return dict(reply.json["curve"])


def counts(shown: dict[str, Any]) -> list[tuple[str, int]]:
    return [(point["timestamp"][11:19], point["eventCount"]) for point in shown["points"]]


async def test_only_who_asks_gets_a_curve(service: Service) -> None:
    assert "curve" not in (await service.get(f"/api/matches/{MATCH}/metrics")).json


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [
        ("10s", [("14:00:00", 3), ("14:00:10", 1), ("14:01:50", 1), ("14:06:00", 1)]),
        ("1m", [("14:00:00", 4), ("14:01:00", 1), ("14:06:00", 1)]),
        ("5m", [("14:00:00", 5), ("14:05:00", 1)]),
    ],
)
async def test_buckets_add_up_to_the_total(service: Service, bucket: str, expected: list[tuple[str, int]]) -> None:
    shown = await curve(service, f"bucket={bucket}")
    assert (shown["bucket"], shown["from"], shown["to"]) == (bucket, None, None)
    assert counts(shown) == expected
    assert shown["points"][0]["eventsByTeam"]["1"] == 1


async def test_a_range_cuts_the_curve_and_nothing_else(service: Service) -> None:
    range_ = "from=2024-01-15T14:00:10Z&to=2024-01-15T15:06:00%2B01:00"
    assert counts(await curve(service, f"bucket=10s&{range_}")) == [("14:00:10", 1), ("14:01:50", 1)]
    whole = (await service.get(f"/api/matches/{MATCH}/metrics?{range_}")).json
    assert counts(whole["curve"]) == [("14:01:00", 1)]
    assert (whole["totalEvents"], len(whole["eventsPerMinute"])) == (6, 3)
    assert (whole["curve"]["from"], whole["curve"]["to"]) == ("2024-01-15T14:00:10.000Z", "2024-01-15T14:06:00.000Z")


async def test_tells_who_drives_the_match(service: Service) -> None:
    shown = (await service.get(f"/api/matches/{MATCH}/metrics")).json
    assert shown["engagementByTeam"] == [
        {"teamId": "2", "name": "Al-Nassr", "eventCount": 3, "share": 0.75},
        {"teamId": "1", "name": "Al-Hilal", "eventCount": 1, "share": 0.25},
    ]
    assert shown["momentum"] == {
        "from": "2024-01-15T14:02:00Z",
        "to": "2024-01-15T14:07:00Z",
        "teams": [{"teamId": "2", "name": "Al-Nassr", "eventCount": 1, "share": 1.0}],
        "leader": "2",
    }
    [peak] = shown["peakPeriods"]
    assert peak.pop("cause")["eventType"] == "match_start"
    assert peak == {"from": "2024-01-15T14:00:00Z", "to": "2024-01-15T14:01:00Z", "eventCount": 4, "excess": 2.0}


async def test_short_buckets_are_counted_in_the_one_query_for_all(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await curve(service, "bucket=10s")
    store, fetch, asked = service.context.store, service.context.store.fetch, 0

    async def counting(*statements: str) -> list[tuple[object, ...]]:
        nonlocal asked
        asked += MATCH in statements[-1]
        return await fetch(*statements)

    monkeypatch.setattr(store, "fetch", counting)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() < began + 2:
        await asyncio.gather(*(curve(service, f"bucket={bucket}") for bucket in ("10s", "1m", "5m")))
    assert 0 < asked <= 2 * (loop.time() - began) + 1


async def test_short_buckets_of_an_answer_that_has_none_are_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.post("/api/matches/coarse/events", {"eventType": "cheer"})
    await service.metrics("coarse", total=1)

    async def away(*statements: str) -> list[tuple[object, ...]]:
        raise StoreUnavailable("the test has taken it away")

    monkeypatch.setattr(service.context.store, "fetch", away)
    reply = await service.get("/api/matches/coarse/metrics?bucket=10s")
    assert_problem(reply, 503)
    assert "Retry-After" in reply.headers
    assert (await service.get("/api/matches/coarse/metrics?bucket=5m")).status == 200


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("bucket=1h", ["bucket"]),
        ("bucket=", ["bucket"]),
        ("bucket=10S&from=yesterday", ["bucket", "from"]),
        ("from=2024-01-15T14:00:00", ["from"]),
        ("from=2024-01-15T14:00:00Z&to=2024-01-15T14:00:00Z", ["to"]),
        ("to=2024-13-15T14:00:00Z", ["to"]),
        ("to=%F0%9F%94%A5&from='", ["from", "to"]),
        ("from=0001-01-01T00:00:00%2B14:00", ["from"]),
        ("to=9999-12-31T23:59:59-14:00", ["to"]),
        ("bukket=1m&bucket=2m&from=now&from=then", ["bukket", "from", "bucket", "from"]),
    ],
)
async def test_a_curve_that_cannot_be_is_refused_with_all_its_faults(
    service: Service, query: str, fields: list[str]
) -> None:
    reply = await service.get(f"/api/matches/{MATCH}/metrics?{query}")
    assert_problem(reply, 400)
    assert [fault["field"] for fault in reply.json["errors"]] == fields


@pytest.mark.parametrize("query", ["from=0001-01-01T00:00:00Z", "to=9999-12-31T23:59:59.999Z"])
async def test_the_calendar_can_be_used_to_its_ends(service: Service, query: str) -> None:
    reply = await service.get(f"/api/matches/{MATCH}/metrics?{query}")
    assert reply.status == 200
    assert sum(point["eventCount"] for point in reply.json["curve"]["points"]) == reply.json["totalEvents"]
