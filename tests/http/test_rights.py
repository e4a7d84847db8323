"""A ClickHouse user with no more rights than it needs, and one whose profile has limits for people."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from app.config import Config
from tests.clickhouse import ClickHouseServer
from tests.http.service import Service, eventually, running
from tests.paths import ROOT

EVENTS = 300
MATCHES = 120

_USERS = """<clickhouse>
<profiles><default/><narrow><max_result_rows>100</max_result_rows><max_rows_to_read>200</max_rows_to_read>
<max_query_size>5000</max_query_size>{constraints}</narrow></profiles>
<quotas><default/></quotas>
<users>
<default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default>
<fans><password>p@ss</password><networks><ip>::/0</ip></networks><profile>{profile}</profile><quota>default</quota>
<grants>{grants}</grants></fans>
</users></clickhouse>"""
_FIXED = "<constraints><max_query_size><const/></max_query_size></constraints>"


def documented_grants() -> list[str]:
    """The statements of docs/CAPACITY.md that give a user what the service needs, without the name of the user."""
    text = (ROOT / "docs/CAPACITY.md").read_text(encoding="utf-8")
    statements = [line.removesuffix(" TO fanfinity;") for line in text.splitlines() if line.startswith("GRANT ")]
    assert len(statements) > 2
    return statements


@contextmanager
def clickhouse(directory: Path, *, grants: list[str], profile: str = "default", constraints: str = "") -> Iterator[str]:
    """Run a ClickHouse with the user ``fans``; yield the URL of the user's database."""
    users, configuration = directory / "users.xml", directory / "config.xml"
    queries = "".join(f"<query>{grant}</query>" for grant in grants)
    users.write_text(_USERS.format(profile=profile, constraints=constraints, grants=queries))
    configuration.write_text(f"<clickhouse><users_config>{users}</users_config></clickhouse>")
    server = ClickHouseServer(directory / "clickhouse")
    server.profile = (f"--config-file={configuration}",)
    server.start()
    try:
        yield f"clickhouse://fans:p%40ss@127.0.0.1:{server.tcp_port}/fanfinity"
    finally:
        server.stop()


@asynccontextmanager
async def service_with(url: str, directory: Path) -> AsyncIterator[Service]:
    config = Config(
        data_dir=directory / "data", port=0, monitor=None, clickhouse_url=url, checkpoint_interval_ms=200,
        retention_days=30, shutdown_timeout_s=5,
    )  # fmt: skip
    async with running(config) as service:
        yield service


async def check(service: Service) -> None:
    """Send events, and read them in every way that reads."""
    events = [
        {"matchId": f"m{n % MATCHES}", "eventType": "goal" if n % 3 else "cheer", "teamId": "1"} for n in range(EVENTS)
    ]
    reply = await service.post("/api/events?ack=stored&timeout=30", events)
    assert (reply.status, reply.json["alreadyKnown"]) == (200, [])
    listed = await service.get("/api/matches?limit=100")
    assert listed.status == 200, listed.text
    assert len(listed.json["matches"]) == 100
    for match in ("m0", "m1"):
        await service.metrics(match, total=EVENTS // MATCHES + (int(match[1:]) < EVENTS % MATCHES))
    assert (await service.get("/api/matches/m0/events")).json["events"]
    assert (await service.get("/")).status == 200
    assert (await service.post("/api/events", [{"matchId": "m1", "eventType": "cheer"}] * 10)).status == 202
    await service.metrics("m1", total=EVENTS // MATCHES + 11)  # joined to what is not stored yet, in a temporary table
    assert (await service.get("/api/audit", headers=service.admin)).json["differencesTotal"] == 0
    await erase(service, "m0")
    ready = await service.get("/ready")
    assert (ready.status, ready.json["status"]) == (200, "ready"), ready.text


async def erase(service: Service, match_id: str) -> None:
    """Erase a match, and wait until that is done."""
    recorded = await service.request("DELETE", f"/api/matches/{match_id}", headers=service.admin)
    assert recorded.status == 202
    state: dict[str, object] = {}

    async def done() -> bool:
        reply = await service.get(f"/api/erasures/{recorded.json['erasure']}", headers=service.admin)
        state.update(reply.json)
        return reply.status == 404

    await eventually(done, lambda: str(state))
    assert (await service.get(f"/api/matches/{match_id}/metrics")).status == 404


async def test_the_grants_that_are_documented_are_enough(tmp_path: Path) -> None:
    with clickhouse(tmp_path, grants=documented_grants()) as url:
        async with service_with(url, tmp_path) as service:
            await check(service)


async def test_a_grant_that_is_missing_is_named(tmp_path: Path) -> None:
    grants = [grant for grant in documented_grants() if "ENGINE" not in grant]
    with clickhouse(tmp_path, grants=grants) as url:
        async with service_with(url, tmp_path) as service:
            await told(service, "lacks the grant TABLE ENGINE ON ReplacingMergeTree; the grants that are needed")


async def test_limits_of_the_users_profile_do_not_count(tmp_path: Path) -> None:
    with clickhouse(tmp_path, grants=documented_grants(), profile="narrow") as url:
        async with service_with(url, tmp_path) as service:
            await check(service)


async def test_a_setting_that_the_profile_fixes_is_named(tmp_path: Path) -> None:
    with clickhouse(tmp_path, grants=documented_grants(), profile="narrow", constraints=_FIXED) as url:
        async with service_with(url, tmp_path) as service:
            await told(service, "SETTING_CONSTRAINT_VIOLATION: the profile of the user fixes max_query_size")


async def told(service: Service, words: str) -> None:
    """Wait until `/ready` says this of ClickHouse, which is degraded and not refused."""

    async def says() -> bool:
        ready = await service.get("/ready")
        return ready.status == 200 and words in ready.json["checks"]["clickhouse"]

    shown = ""

    async def noted() -> bool:
        nonlocal shown
        shown = (await service.get("/ready")).text
        return await says()

    await eventually(noted, lambda: shown)
