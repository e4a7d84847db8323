"""The long run of the fuzzer: ``python -m tests.torture.fuzz --minutes 60 --seed 1``.

Starts the service as a process on a directory of its own. First come requests made from the OpenAPI document, then for
so many minutes those that mean harm, kind by kind, each measured: the longest stand of the event loop, the processor
time of the process, its memory. Exits with 1 where a reply is not as documented, a request costs more than it may, an
event is not accounted for, or the service ends otherwise than it should. The limits are those of the contract; where
the machine is shared, a request that is beyond one is sent again, and the least of its costs counts.
"""

import asyncio
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs
import click

from app.web.admin_token import AdminToken
from tests.bench import machine
from tests.clickhouse import ClickHouseServer
from tests.e2e.process import Process
from tests.fuzz.campaign import Campaign
from tests.fuzz.cost import Limits, Meter
from tests.fuzz.shapes import Scale
from tests.fuzz.standing import Standing
from tests.torture import costs

EACH = 12
"""Requests of a kind in each round."""

_MIB = 1 << 20


@attrs.frozen(kw_only=True)
class Options:
    """What to run."""

    requests: int
    minutes: float
    seed: int
    engine: str
    factor: float
    most_mib: float
    known: bool
    report: bool


@click.command
@click.option("--requests", type=click.IntRange(0), default=20_000, show_default=True, help="Made from the document.")
@click.option("--minutes", type=float, default=0.0, show_default=True, help="Of requests that mean harm, measured.")
@click.option("--seed", type=int, default=None, help="Repeats an earlier run.  [default: a new one]")
@click.option("--engine", type=click.Choice(("server", "embedded")), default="server", show_default=True)
@click.option("--factor", type=float, default=1.0, show_default=True, help="So many times the limits are allowed.")
@click.option("--most-mib", type=float, default=10.0, show_default=True, help="The largest body; /bulk: four times.")
@click.option("--known/--no-known", default=True, show_default=True, help="The worst that are known, at full size.")
@click.option("--report", is_flag=True, help=f"Write the worst of each kind into {costs.REPORT.name}.")
def main(seed: int | None, **options: object) -> None:
    """Send requests of every kind, check every reply against the OpenAPI document, and measure those that mean harm."""
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    click.echo(f"seed {seed}")
    sys.exit(asyncio.run(run(Options(seed=seed, **options))))  # type: ignore[arg-type]


async def run(options: Options) -> int:
    """Return the exit code: 0 where everything was as it should be."""
    code_before = machine.code()
    with tempfile.TemporaryDirectory(prefix="fanfinity-fuzz-") as directory, _clickhouse(options, directory) as url:
        standing = Standing(Path(directory))
        data = Path(directory) / "data"
        settings = {"PORT": 0, "DATA_DIR": data, "MONITOR": "", "CHECKPOINT_INTERVAL_MS": 200, "CLICKHOUSE_URL": url}
        process = await Process.start("serve", settings=settings, environment=standing.environment)
        stopped = threading.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _stop, process, stopped)
        try:
            campaign = Campaign(
                await process.url(),
                options.seed,
                AdminToken.read(data).secret,
                meter=Meter(process.pid, standing),
                limits=Limits(factor=options.factor),
                say=click.echo,
            )
            await asyncio.to_thread(_send, campaign, options, stopped)
            appended = await asyncio.to_thread(campaign.appended)
            code = await process.ends(signal.SIGTERM)
        finally:
            await process.close()
            standing.close()
    faults = [*_faults(campaign, appended, code), *process.faults]
    _tell(campaign, appended, faults)
    if options.report:
        costs.write(_finished(campaign, options, machine.measured(code_before)))
    return int(bool(faults))


@contextmanager
def _clickhouse(options: Options, directory: str) -> Iterator[str]:
    """Run a ClickHouse, if one is wanted, and return its address; the embedded engine has none."""
    if options.engine == "embedded":
        yield ""
        return
    server = ClickHouseServer(Path(directory) / "server")
    server.start()
    yield f"{server.url}/fanfinity"
    server.stop()


def _stop(process: Process, stopped: threading.Event) -> None:
    """Leave no service behind when the run is ended from outside."""
    stopped.set()
    process.send(signal.SIGKILL)


def _send(campaign: Campaign, options: Options, stopped: threading.Event) -> None:
    began = time.monotonic()
    if options.requests:
        campaign.run(options.requests)
        click.echo(f"{campaign.sent:,} requests of the document in {time.monotonic() - began:.0f} s")
    if options.known:
        campaign.known()
    if options.minutes:
        size = int(options.most_mib * _MIB)
        until = time.monotonic() + options.minutes * 60
        scale = Scale(body_bytes=size, bulk_bytes=4 * size, bomb_bytes=26 * size, chunked_bytes=size // 5)
        campaign.harm(scale, each=EACH, until=lambda: stopped.is_set() or time.monotonic() > until)


def _faults(campaign: Campaign, appended: int, code: int) -> Iterator[str]:
    yield from campaign.failures
    for (kind, _), finding in campaign.findings.items():
        yield f"{kind} (seed {campaign.seed}, round {finding.seed}): {finding.text}"
    if not campaign.accepted <= appended <= campaign.accepted + campaign.perhaps:
        yield f"{campaign.accepted:,} events were acknowledged, {campaign.perhaps:,} may be, {appended:,} appended"
    if code:
        yield f"the service ended with {code}"


def _tell(campaign: Campaign, appended: int, faults: list[str]) -> None:
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(campaign.statuses.items()))
    click.echo(f"{campaign.sent:,} requests answered: {statuses}")
    click.echo(f"{campaign.accepted:,} events acknowledged, {appended:,} appended")
    if campaign.worst:
        click.echo(costs.summary(campaign.worst))
    for fault in faults:
        click.echo(f"\n{fault}", err=True)
    click.echo(f"{len(faults)} faults")


def _finished(campaign: Campaign, options: Options, code: str) -> costs.Run:
    return costs.Run(
        at=datetime.now(UTC),
        seed=options.seed,
        minutes=options.minutes,
        engine=options.engine,
        machine={"Code": code, **machine.describe()},
        worst=campaign.worst,
        findings=len(campaign.findings),
    )


if __name__ == "__main__":
    main()
