"""A real Prometheus: it takes our rules, finds no fault with our metrics, and fires when ClickHouse dies."""

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from aiohttp import ClientSession

from tests.clickhouse import ClickHouseServer, free_port
from tests.e2e.process import Process
from tests.paths import ROOT

RULES = ROOT / "docker" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "fanfinity.json"
DEADLINE_S = 60
EVENT = {"matchId": "derby", "eventType": "view"}
OF_A_SMALL_LOG = {"FanfinityLogNearFull", "FanfinityLogFillsSoon"}

pytestmark = [
    pytest.mark.skipif(
        shutil.which("promtool") is None or shutil.which("prometheus") is None,
        reason="promtool and prometheus are not installed: apt-get install prometheus",
    ),
    pytest.mark.timeout(240),
]


def promtool(*arguments: str, stdin: str | None = None, cwd: Path = ROOT) -> str:
    """Run it and return what it says; fails where it does."""
    ran = subprocess.run(
        ["promtool", *arguments], input=stdin, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@attrs.frozen
class World:
    """A service that a Prometheus scrapes once a second, and the ClickHouse behind it."""

    http: ClientSession
    service: str
    prometheus: str
    clickhouse: ClickHouseServer

    async def post(self, body: Any, path: str = "/api/events") -> int:
        """Send events; return the status."""
        async with self.http.post(f"{self.service}{path}", json=body) as reply:
            return reply.status

    async def text(self, path: str) -> str:
        """Return what the service answers, whatever its status."""
        async with self.http.get(f"{self.service}{path}") as reply:
            return await reply.text()

    async def asked(self, path: str, **query: str) -> Any:
        """Return the data of an answer of Prometheus."""
        async with self.http.get(f"{self.prometheus}/api/v1/{path}", params=query) as reply:
            answer = await reply.json()
        assert answer["status"] == "success", answer
        return answer["data"]

    async def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = (await self.asked("alerts"))["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    async def until_firing(self, name: str, *, fires: bool = True) -> None:
        """Wait until an alert fires, or does not any more."""
        async with asyncio.timeout(DEADLINE_S):
            while (name in await self.firing()) != fires:
                await asyncio.sleep(0.5)


def _impatient_rules(directory: Path) -> Path:
    """Write the rules so that alerts fire as soon as their condition holds."""
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    path = directory / "alerts.yml"
    path.write_text(yaml.safe_dump(rules), "utf-8")
    return path


@asynccontextmanager
async def _prometheus(directory: Path, target: str, http: ClientSession) -> AsyncIterator[str]:
    """Run Prometheus until the block ends; yield its address."""
    config = directory / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(_impatient_rules(directory))],
                "scrape_configs": [{"job_name": "fanfinity", "static_configs": [{"targets": [target]}]}],
            }
        ),
        "utf-8",
    )
    promtool("check", "config", str(config))
    address = f"127.0.0.1:{free_port()}"
    arguments = (f"--config.file={config}", f"--storage.tsdb.path={directory}/tsdb", f"--web.listen-address={address}")
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec("prometheus", *arguments, stdout=log, stderr=log)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await _is_ready(http, f"http://{address}/-/ready"):
                assert process.returncode is None, (directory / "prometheus.log").read_text("utf-8")
                await asyncio.sleep(0.2)
        yield f"http://{address}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _is_ready(http: ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as reply:
            return reply.status == 200
    except OSError:
        return False


@pytest.fixture
async def world(tmp_path: Path, own_clickhouse: ClickHouseServer) -> AsyncIterator[World]:
    """A service whose log is full after 1 MiB, its own ClickHouse, and a Prometheus that watches it."""
    settings = {
        "DATA_DIR": tmp_path / "data",
        "HOST": "127.0.0.1",
        "PORT": free_port(),
        "MONITOR": "",
        "CLICKHOUSE_URL": f"{own_clickhouse.url}/system_test",
        "WAL_MAX_BYTES": "1MiB",
        "SHUTDOWN_TIMEOUT_S": 2,
    }
    service = await Process.start("serve", settings=settings)
    try:
        url = await service.url()
        async with ClientSession() as http, _prometheus(tmp_path, url.removeprefix("http://"), http) as prometheus:
            yield World(http, url, prometheus, own_clickhouse)
        await service.ends(signal.SIGTERM)
    finally:
        await service.close()


def test_the_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path / "alerts.yml")
    shutil.copy(Path(__file__).with_name("alerts.test.yml"), tmp_path)
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml", cwd=tmp_path)


async def test_metrics_and_every_panel_of_the_dashboard(world: World) -> None:
    """After a little of everything, `promtool` has nothing to say of the metrics, and no panel is empty."""
    for number in range(20):
        events = [EVENT | {"matchId": f"match-{number}"}] * 50 + [EVENT | {"eventType": "match_start"}]
        assert await world.post(events) == 202
        assert await world.post({"eventType": "goal"}) == 400
        await world.text("/api/matches/derby/metrics")
        await asyncio.sleep(0.3)
    assert promtool("check", "metrics", stdin=await world.text("/metrics")) == ""
    async with asyncio.timeout(DEADLINE_S):
        while missing := await _without_data(world):
            await world.post(EVENT)
            await asyncio.sleep(1)
    assert missing == []
    assert await world.firing() <= {"FanfinityEventsRejected", *OF_A_SMALL_LOG}, "all is well, but for those"


async def _without_data(world: World) -> list[str]:
    """Return the queries of the dashboard that have no answer."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(queries) > 40
    variables = {"$instance": ".*", "$__rate_interval": "10s"}
    missing = []
    for query in queries:
        asked = query
        for name, value in variables.items():
            asked = asked.replace(name, value)
        if not (await world.asked("query", query=asked))["result"]:
            missing.append(query)
    return missing


async def test_alerts_of_a_dead_clickhouse_and_of_a_full_log_fire_and_end(world: World) -> None:
    assert await world.post(EVENT) == 202
    await world.until_firing("FanfinityClickHouseDown", fires=False)
    world.clickhouse.kill()
    await world.until_firing("FanfinityClickHouseDown")
    many = [EVENT | {"metadata": {"text": "x" * 1000}}] * 500
    async with asyncio.timeout(DEADLINE_S):
        while await world.post(many) != 503:
            pass
    for name in ("FanfinityNotAccepting", "FanfinityNotReady", "FanfinityLogNearFull"):
        await world.until_firing(name)
    [full] = (await world.asked("query", query='fanfinity_wal_refusing{reason="log_full"}'))["result"]
    assert full["value"][1] == "1"
    world.clickhouse.start()
    for name in ("FanfinityClickHouseDown", "FanfinityNotAccepting", "FanfinityNotReady", "FanfinityLogNearFull"):
        await world.until_firing(name, fires=False)
    assert await world.post(EVENT) == 202
