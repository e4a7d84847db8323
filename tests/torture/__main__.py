"""``make torture``: every fault we can cause, alone and two at a time, under load, for as long as you like; counted.

One service and one ClickHouse as processes, a load over HTTP with a record of its own, a reader. At the end the
account: events acknowledged and not stored (lost), stored and never sent (extra), counted more than once (twice), and
answers that showed less than an earlier one (went back). Exits with 1 unless all are 0. A process that ends without
having been told to ends the run. The same seed gives the same faults in the same order.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import attrs

from tests.bench.sender import Account
from tests.faults.clock import MovedClock, NoCompiler
from tests.faults.disk import MountRefused, SmallDisk
from tests.faults.faults import Fault
from tests.faults.traffic import Traffic
from tests.faults.world import CLEAN, World
from tests.torture.deck import rounds
from tests.torture.watch import Watch

SETTLE_S = 180.0
SETTINGS = {
    "FANFINITY_FLUSH_INTERVAL_MS": "50",
    "FANFINITY_CHECKPOINT_INTERVAL_MS": "300",
    "FANFINITY_WAL_MAX_BYTES": "48MiB",  # on a disk of 64 MB, so that its own files do not fill it
}


@attrs.define
class Torture:
    """One run."""

    world: World
    minutes: float
    rate: float
    caused: Counter[str] = attrs.field(factory=Counter)
    together: int = 0

    async def run(self) -> tuple[Account, Traffic, Watch]:
        """Cause faults until the time is over, let all heal, and take the account."""
        watch = Watch(self.world)
        async with self.world.load(rate=self.rate) as load:
            watching = asyncio.create_task(watch.run())
            await load.more(1)
            await self._cause(load)
            watching.cancel()
            await asyncio.wait({watching})
            if not watching.cancelled():
                watching.result()
        await self.world.healthy(deadline_s=SETTLE_S)
        return await self.world.settled(deadline_s=SETTLE_S), load, watch

    async def _cause(self, load: Traffic) -> None:
        chance = random.Random(self.world.seed)
        began = time.monotonic()
        for faults in rounds(self.world, chance):
            if time.monotonic() - began > self.minutes * 60:
                return
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            print(f"{minutes:3d}:{seconds:02d} {' + '.join(fault.name for fault in faults)}", flush=True)
            await self._one(faults, chance)
            await load.more(int(chance.uniform(0.1, 1.0) * self.rate))

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


async def _main(options: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory(prefix="torture-", dir=options.directory) as directory:
        world = await _world(Path(directory), options.seed)
        began = time.monotonic()
        async with world:
            torture = Torture(world, minutes=options.minutes, rate=options.rate)
            account, load, watch = await torture.run()
        # Leaving the world has checked how both processes ended.
        _report(torture, account, load, watch, seconds=time.monotonic() - began)
    return account == CLEAN and not watch.went_back


def _report(torture: Torture, account: Account, load: Traffic, watch: Watch, *, seconds: float) -> None:
    record, statuses = torture.world.record, load.statuses
    print(f"\nseed {torture.world.seed}, {seconds:.0f} s, {torture.rate:g} requests a second wanted")
    for name, count in sorted(torture.caused.items()):
        print(f"  {count:4d} x {name}")
    print(f"{sum(torture.caused.values())} faults, {torture.together} times two at once; no process ended by itself")
    print(
        f"requests: {statuses[202]} answered 202, {statuses[503]} answered 503, {statuses[0]} without an answer; "
        f"other: {sum(n for status, n in statuses.items() if status not in (0, 202, 503))}"
    )
    print(f"events: {record.sent} sent, {record.acknowledged} acknowledged")
    print(f"reads: {watch.answers} answered, {watch.without} not; resident memory {watch.resident_mb:.0f} MB at most")
    print(f"lost {account.lost}, extra {account.extra}, twice {account.twice}, went back {watch.went_back}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults are caused (default: 10)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="default: another one each time")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second (default: 1000)")
    parser.add_argument("--directory", help="where the run's files go (default: the system's temporary directory)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(_main(_options())) else 1)
