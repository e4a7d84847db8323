"""A service that fails inside, at places and moments that chance picks, under load; and the account of it.

Each error and each cancel is noted by the process itself (:mod:`tests.faults.inside`). ``/ready`` has to name each
watched task that ended of it, and to be ready again in the end.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from tests.bench.sender import Account
from tests.bench.service import Service
from tests.faults.inside.failpoints import FIRED, SWITCH
from tests.faults.traffic import Traffic, event
from tests.faults.world import World

COMMAND = (sys.executable, "-m", "tests.faults.inside", "serve")
LOOK_S = 0.1
TOLD_WITHIN_S = 5.0
"""Seconds within which the end of a task has to be seen in ``/ready``: it stands there for a second or longer."""
HEAL_S = 60.0
SETTLE_S = 180.0
REFUSED_EVERY = 4_000
REFUSED = "ALTER TABLE {db}.events ADD CONSTRAINT no_refused CHECK player_id != 'refused'"

# Small segments, so that logs rotate; flushes and checkpoints come often, so that all places are passed.
SETTINGS = {"FANFINITY_FLUSH_INTERVAL_MS": "50", "FANFINITY_CHECKPOINT_INTERVAL_MS": "300"}


def refused(number: int) -> bool:
    """Say whether ClickHouse refuses the event of this number."""
    return number % REFUSED_EVERY == REFUSED_EVERY - 1


def event_or_refused(number: int, *, event_id: str) -> dict[str, object]:
    """Return an event, of which one in thousands has a player that a constraint of the table refuses."""
    made = event(number, event_id=event_id)
    return made | {"playerId": "refused"} if refused(number) else made


@attrs.frozen
class Ended:
    """A watched task that ended: ``where`` is as in "shard 3"; ``at`` is in s since the epoch."""

    at: float
    task: str
    where: str

    @property
    def named(self) -> str:
        """Return how ``/ready`` names it."""
        return f"{self.task} of {self.where} since" if self.where else f"{self.task} since"


@attrs.frozen(kw_only=True)
class Failures:
    """What one run has shown.

    Attributes:
        seconds: how long places were armed.
        fired: errors and cancels by what they were.
        places: places that failed, and how often each did.
        ended: tasks that ended of it, by task.
        untold: ends of tasks that ``/ready`` did not name.
        degraded: looks at ``/ready`` that found something wrong, by check.
        kills: kills of the service between.
        late: ``/ready`` needed so many seconds to be ready again once nothing failed any more.
    """

    seconds: float
    rate: float
    fired: Counter[str]
    places: Counter[str]
    ended: Counter[str]
    untold: tuple[Ended, ...]
    degraded: Counter[str]
    kills: int
    late_s: float
    load: Traffic
    account: Account
    dead_letters: int
    audit: str

    @property
    def clean(self) -> bool:
        """Return whether nothing is amiss."""
        return self.account.clean and not self.untold and not self.load.faults


@attrs.define(eq=False)
class Failing:
    """One run. ``every_s``: how often one more place is armed; ``only``: a part of the names of those that fail."""

    directory: Path
    seed: int
    every_s: float = 5.0
    rate: float = 1000.0
    kill_every_s: float = 60.0
    only: str = ""
    _seen: list[tuple[float, str]] = attrs.field(factory=list)
    _degraded: Counter[str] = attrs.field(factory=Counter)
    _kills: int = 0
    world: World = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        (self.directory / "failpoints").mkdir(parents=True)
        environment = {
            **SETTINGS,
            "FAULTS_FAILPOINTS": str(self.directory / "failpoints"),
            "FAULTS_FAILPOINTS_SEED": str(self.seed),
            "FAULTS_FAILPOINTS_EVERY_S": str(self.every_s),
            "FAULTS_FAILPOINTS_ONLY": self.only,
        }
        self.world = World(self.directory, seed=self.seed, environment=environment, command=COMMAND)

    async def run(self, seconds: float) -> Failures:
        """Have places fail for so long, under load, then let all heal and take the account."""
        async with self.world as world:
            await world.sql(REFUSED)
            load = world.load(rate=self.rate)
            load.make_event = event_or_refused
            looking = asyncio.create_task(self._look())
            try:
                async with load:
                    await load.more(1)
                    began = time.monotonic()
                    self._switch.touch()
                    await self._kill_now_and_then(began + seconds)
                    self._switch.unlink()
                    ended = time.monotonic()
                    await world.healthy(deadline_s=HEAL_S)
                    late_s = time.monotonic() - ended
                account = await world.settled(deadline_s=SETTLE_S, refused=refused)
            finally:
                looking.cancel()
                await asyncio.wait({looking})
            audit = await audited(world.service)
            return self._failures(
                ended - began, late_s, load, account, int(await world.gauge("fanfinity_dead_letters")), audit
            )

    @property
    def _switch(self) -> Path:
        return self.directory / "failpoints" / SWITCH

    @property
    def fired(self) -> list[dict[str, Any]]:
        """Return what failed so far, in that order."""
        return [json.loads(line) for line in (self.directory / "failpoints" / FIRED).read_text().splitlines()]

    async def _kill_now_and_then(self, until: float) -> None:
        chance = random.Random(self.seed)
        while (left_s := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, chance.uniform(0.5, 1.5) * self.kill_every_s))
            self.world.assert_service_lives()
            if time.monotonic() < until:
                self._switch.unlink()  # what fails in a start is told by its exit code, and is not made here
                await self.world.service.kill()
                await self.world.service.start()
                self._switch.touch()
                self._kills += 1

    async def _look(self) -> None:
        """Look at ``/ready`` all the time, and keep what it says of tasks."""
        while True:
            at = time.time()
            status, body = await self.world.ready()
            wrong = {name: said for name, said in body.get("checks", {}).items() if said != "healthy"}
            self._degraded.update([*wrong, *(["nothing: no answer"] if not status else [])])
            if "tasks" in wrong:
                self._seen.append((at, wrong["tasks"]))
            await asyncio.sleep(LOOK_S)

    def _untold(self, ended: Sequence[Ended]) -> tuple[Ended, ...]:
        return tuple(
            one
            for one in ended
            if not any(-1.0 <= at - one.at <= TOLD_WITHIN_S and one.named in said for at, said in self._seen)
        )

    def _failures(
        self, ran_s: float, late_s: float, load: Traffic, account: Account, dead_letters: int, audit: str
    ) -> Failures:
        ended = tasks_ended(self.world.service)
        kinds = Counter(f"{one['action']} {one['place'].partition(' ')[0]}" for one in self.fired)
        return Failures(
            seconds=ran_s,
            rate=self.rate,
            fired=kinds,
            places=Counter(one["place"] for one in self.fired),
            ended=Counter(one.task for one in ended),
            untold=self._untold(ended),
            degraded=self._degraded,
            kills=self._kills,
            late_s=late_s,
            load=load,
            account=account,
            dead_letters=dead_letters,
            audit=audit,
        )


def tasks_ended(service: Service) -> list[Ended]:
    """Return the ends of tasks that a service has logged."""
    lines = [line for line in service.log_lines if line["event"] == "task ended"]
    return [Ended(datetime.fromisoformat(line["time"]).timestamp(), line["task"], line["where"]) for line in lines]


async def audited(service: Service) -> str:
    """Return the last line of ``fanfinity audit``; AssertionError if it finds a difference."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "audit", "--url", service.url),
        env=os.environ | {"FANFINITY_DATA_DIR": service._environment["FANFINITY_DATA_DIR"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said.strip().splitlines()[-1]
