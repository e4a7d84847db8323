"""The long run of the fuzzer: ``python -m tests.torture.fuzz --requests 20000 --seed 1``.

Starts the service as a process on a directory of its own, and exits with 1 where a reply is not as documented, an event
is not accounted for, or the service ends otherwise than it should.
"""

import asyncio
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from app.web.admin_token import AdminToken
from tests.e2e.process import Process
from tests.fuzz.campaign import Campaign


@click.command
@click.option("--requests", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--seed", type=int, default=None, help="Repeats an earlier run.  [default: a new one]")
def main(requests: int, seed: int | None) -> None:
    """Send requests of every kind, and check every reply against the OpenAPI document."""
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    click.echo(f"seed {seed}")
    sys.exit(asyncio.run(run(requests, seed)))


async def run(requests: int, seed: int) -> int:
    """Return the exit code: 0 where everything was as documented."""
    with tempfile.TemporaryDirectory(prefix="fanfinity-fuzz-") as directory:
        settings = {"PORT": 0, "DATA_DIR": Path(directory), "MONITOR": "", "CHECKPOINT_INTERVAL_MS": 200}
        process = await Process.start("serve", settings=settings)
        try:
            campaign = Campaign(await process.url(), seed, AdminToken.read(Path(directory)).secret)
            began = time.monotonic()
            await asyncio.to_thread(campaign.run, requests)
            seconds = time.monotonic() - began
            appended = await asyncio.to_thread(campaign.appended)
            code = await process.ends(signal.SIGTERM)
        finally:
            await process.close()
    faults = [*campaign.failures, *process.faults]
    if appended != campaign.accepted:
        faults.append(f"{campaign.accepted} events were acknowledged, {appended} appended")
    if code:
        faults.append(f"the service ended with {code}")
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(campaign.statuses.items()))
    click.echo(f"{campaign.sent:,} requests in {seconds:.0f} s: {statuses}")
    click.echo(f"{campaign.accepted:,} events acknowledged, {appended:,} appended")
    for fault in faults:
        click.echo(f"\n{fault}", err=True)
    click.echo(f"{len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    main()
