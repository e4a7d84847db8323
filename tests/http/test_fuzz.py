"""A short run of the fuzzer against the service as a process; ``python -m tests.torture.fuzz`` is the long one."""

import asyncio
import os
import signal
from pathlib import Path

from app.web.admin_token import AdminToken
from tests.e2e.process import Process
from tests.fuzz.campaign import Campaign

REQUESTS = 500
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
