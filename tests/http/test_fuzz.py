"""A short run of the fuzzer against the service as a process; ``python -m tests.torture.fuzz`` is the long one.

The machine is shared by tests, so a request may cost several times what the contract says before it fails here; the
long run holds every request to the limits themselves.
"""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from app.web.admin_token import AdminToken
from tests.e2e.process import Process
from tests.faults.clock import NoCompiler
from tests.fuzz.campaign import Campaign
from tests.fuzz.cost import Limits, Meter
from tests.fuzz.shapes import Scale
from tests.fuzz.standing import Standing

REQUESTS = 300
FACTOR = 3.0
SMALL = Scale(body_bytes=1 << 20, bulk_bytes=2 << 20, bomb_bytes=16 << 20, chunked_bytes=1 << 17, events=5_000)
KNOWN_MIB = 10.1
EACH = 4
SEED = int(os.environ.get("FUZZ_SEED", "1"))


async def test_every_reply_is_documented_whatever_is_sent(tmp_path: Path) -> None:
    print(f"FUZZ_SEED={SEED}")
    settings = {"PORT": 0, "DATA_DIR": tmp_path, "MONITOR": "", "CHECKPOINT_INTERVAL_MS": 200}
    process = await Process.start("serve", settings=settings)
    try:
        campaign = Campaign(await process.url(), SEED, AdminToken.read(tmp_path).secret)
        await asyncio.to_thread(campaign.run, REQUESTS)
        assert not campaign.failures, "\n\n".join(campaign.failures)
        assert campaign.sent >= REQUESTS
        assert {200, 202, 400, 401, 404, 405, 415} <= set(campaign.statuses)
        assert campaign.by_operation["GET", "/api/deadletters", 200], "the token lets nobody in"
        assert await asyncio.to_thread(campaign.appended) == campaign.accepted
        assert process.faults == []
        assert await process.ends(signal.SIGTERM) == 0
    finally:
        await process.close()


@pytest.mark.timeout(300)
async def test_no_request_that_means_harm_costs_more_than_it_may(tmp_path: Path) -> None:
    print(f"FUZZ_SEED={SEED}")
    try:
        standing = Standing(tmp_path)
    except NoCompiler as error:
        pytest.skip(str(error))
    data = tmp_path / "data"
    settings = {"PORT": 0, "DATA_DIR": data, "MONITOR": "", "CHECKPOINT_INTERVAL_MS": 200}
    process = await Process.start("serve", settings=settings, environment=standing.environment)
    try:
        meter = Meter(process.pid, standing)
        url = await process.url()
        token = AdminToken.read(data).secret
        campaign = Campaign(url, SEED, token, meter=meter, limits=Limits(factor=FACTOR))
        await asyncio.to_thread(campaign.known, most_mib=KNOWN_MIB)
        await asyncio.to_thread(campaign.harm, SMALL, each=EACH)
        faults = [*campaign.failures, *(f"{kind}: {found.text}" for (kind, _), found in campaign.findings.items())]
        assert not faults, "\n\n".join(faults)
        assert {202, 400, 413, 415} <= set(campaign.statuses)
        appended = await asyncio.to_thread(campaign.appended)
        assert campaign.accepted <= appended <= campaign.accepted + campaign.perhaps
        assert process.faults == []
        assert await process.ends(signal.SIGTERM) == 0
    finally:
        await process.close()
        standing.close()
