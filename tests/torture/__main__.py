"""``make torture``: every fault we can cause, alone and two at a time, under load, for as long as you like; counted.

One service and one ClickHouse as processes, a load over HTTP with a record of its own, a reader. At the end the
account: events acknowledged and not stored (lost), stored and never sent (extra), counted more than once (twice), and
answers that showed less than an earlier one (went back). Then places inside the service fail, its clock is moved (each
with a service of its own: :mod:`tests.torture.failpoints`, :mod:`tests.torture.clocks`), and the log is recovered from
the states that power failures leave, so many of them (:mod:`tests.power`). Exits with 1 unless all are 0. A process
that ends without having been told to ends the run. The same seed gives the same faults in the same order. ``--report``
writes the totals.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import attrs

from tests.bench import machine
from tests.faults.clock import MovedClock, NoCompiler
from tests.faults.disk import MountRefused, SmallDisk
from tests.faults.failing import Failures
from tests.faults.faults import Fault
from tests.faults.moving import Moved
from tests.faults.traffic import Traffic
from tests.faults.world import World
from tests.power.samples import sampled
from tests.torture import clocks, failpoints, report
from tests.torture.deck import one_round
from tests.torture.report import Totals
from tests.torture.watch import Watch

SETTLE_S = 180.0
SETTINGS = {
    "FANFINITY_FLUSH_INTERVAL_MS": "50",
    "FANFINITY_CHECKPOINT_INTERVAL_MS": "300",
    "FANFINITY_WAL_MAX_BYTES": "48MiB",  # on a disk of 64 MB, so that its own files do not fill it
}


@attrs.define
class Torture:
    """One run.

    Attributes:
        minutes: how long faults are caused.
        whole_round: go on until each fault of the deck was caused, also when the time is over.
    """

    world: World
    minutes: float
    rate: float
    whole_round: bool
    caused: Counter[str] = attrs.field(factory=Counter)
    together: int = 0

    async def run(self, machine: Mapping[str, str]) -> Totals:
        """Cause faults until the time is over, let all heal, and take the account."""
        watch = Watch(self.world)
        began, up_before = time.monotonic(), self.world.service.up_s
        async with self.world.load(rate=self.rate) as load:
            watching = asyncio.create_task(watch.run())
            await load.more(1)
            await self._cause(load, watch)
            watching.cancel()
            await asyncio.wait({watching})
            if not watching.cancelled():
                watching.result()
        load_s, up_s = time.monotonic() - began, self.world.service.up_s - up_before
        await self.world.healthy(deadline_s=SETTLE_S)
        account = await self.world.settled(deadline_s=SETTLE_S)
        return Totals(
            at=datetime.now(UTC),
            seed=self.world.seed,
            rate=self.rate,
            load_s=load_s,
            up_s=up_s,
            machine=machine,
            caused=self.caused,
            together=self.together,
            aborts=self.world.server.clickhouse.aborts,
            load=load,
            watch=watch,
            account=account,
            dead_letters=int(await self.world.gauge("fanfinity_dead_letters")),
        )

    async def _cause(self, load: Traffic, watch: Watch) -> None:
        chance = random.Random(self.world.seed)
        began = time.monotonic()
        first_round = True
        while True:
            for faults in one_round(self.world, chance):
                seconds = int(time.monotonic() - began)
                if seconds >= self.minutes * 60 and not (first_round and self.whole_round):
                    return
                names = " + ".join(fault.name for fault in faults)
                print(f"{seconds // 60:3d}:{seconds % 60:02d} {names}", flush=True)
                watch.during = names
                await self._one(faults, chance)
                watch.during = ""
                await load.more(int(chance.uniform(0.1, 1.0) * self.rate))
            first_round = False

    async def _one(self, faults: tuple[Fault, ...], chance: random.Random) -> None:
        for fault in faults:
            await fault.inject(self.world)
            self.caused[fault.name] += 1
            await asyncio.sleep(fault.lasts_s + chance.uniform(0.1, 1.0))
        for fault in reversed(faults):
            await fault.heal(self.world)
        self.together += len(faults) > 1
        assert self.world.server.clickhouse.running
        self.world.assert_service_lives()


async def _world(directory: Path, seed: int) -> World:
    """Return a world with all that this machine can break, and say what it cannot."""
    small_disk = moved_clock = True
    try:
        await SmallDisk(directory / "try", megabytes=1).try_out()
    except MountRefused as error:
        small_disk = False
        print(f"left out: full disks ({error})")
    try:
        MovedClock(directory)
    except NoCompiler as error:
        moved_clock = False
        print(f"left out: a clock that is moved ({error})")
    return World(directory, seed=seed, small_disk=small_disk, moved_clock=moved_clock, environment=SETTINGS)


async def _failures(options: argparse.Namespace) -> Failures:
    failures = await failpoints.ran(
        minutes=options.others_minutes, seed=options.seed, rate=options.rate, directory=options.directory
    )
    print(failpoints.summary(failures))
    return failures


async def _moved(options: argparse.Namespace) -> Moved | None:
    try:
        moved = await clocks.ran(minutes=options.others_minutes, seed=options.seed, directory=options.directory)
    except NoCompiler:
        return None
    print(clocks.summary(moved))
    return moved


async def _main(options: argparse.Namespace) -> bool:
    code_before = machine.code()
    about = machine.describe()
    with tempfile.TemporaryDirectory(prefix="torture-", dir=options.directory) as directory:
        world = await _world(Path(directory), options.seed)
        async with world:
            torture = Torture(world, options.minutes, options.rate, options.whole_round)
            totals = await torture.run({"Code": machine.measured(code_before), **about})
    # Leaving the world has checked how both processes ended.
    if options.others_minutes:
        totals = attrs.evolve(totals, failures=await _failures(options), moved=await _moved(options))
    if options.power_states:
        print(f"power failures: {options.power_states} states")
        power = await asyncio.to_thread(sampled, options.power_states, options.seed, processes=os.cpu_count() or 1)
        totals = attrs.evolve(totals, power=power)
    print(report.summary(totals))
    if options.report:
        report.write(totals, options.report)
        print(f"wrote {options.report}")
    return totals.clean


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="how long faults are caused (default: 8)")
    parser.add_argument(
        "--whole-round",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on when the time is over until every fault was caused, as often as a long run must have it",
    )
    parser.add_argument(
        "--report", type=Path, nargs="?", const=report.REPORT, help=f"write the totals (default: {report.REPORT})"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="default: another one each time")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second (default: 1000)")
    parser.add_argument(
        "--power-states", type=int, default=100_000, help="states of power failures to recover (default: 100000)"
    )
    parser.add_argument(
        "--others-minutes",
        type=float,
        default=10.0,
        help="how long places inside the service fail, and how long its clock is moved (default: 10; 0: not at all)",
    )
    parser.add_argument("--directory", help="where the run's files go (default: the system's temporary directory)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(_main(_options())) else 1)
