"""A reader beside the load: what an answer has shown, the next one must show. Where there is none, it keeps why."""

import asyncio
import time
from collections import Counter
from typing import Any

import aiohttp
import attrs

from tests.faults.world import World

MATCH = "derby"
EVERY_S = 0.2
TIMEOUT_S = 20.0
DOWN = "the service is not running: killed, ended or starting"


@attrs.define
class Watch:
    """Reads one match for as long as it is told.

    Attributes:
        during: the faults of this moment.
        answers: reads that were answered.
        without: reads that were not, by reason and by the faults of the moment when they were asked.
        went_back: answers that showed less than one before.
        wrong: answers that nobody may get.
        slowest_s: the longest that a read was waited for.
    """

    world: World
    during: str = ""
    answers: int = 0
    without: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    went_back: int = 0
    wrong: list[str] = attrs.field(factory=list)
    most: int = 0
    slowest_s: float = 0.0
    resident_mb: float = 0.0

    @property
    def asked(self) -> int:
        """Return how many reads were asked."""
        return self.answers + self.without.total() + len(self.wrong)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            during, began = self.during, time.monotonic()
            reason = await self._read()
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if reason:
                self.without[reason, during] += 1
            self._weigh()
            await asyncio.sleep(EVERY_S)

    async def _read(self) -> str:
        """Return why there was no answer; empty where there was one."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                async with self.world.service.session.get(f"/api/matches/{MATCH}/metrics") as reply:
                    body = await reply.json(content_type=None)
        except TimeoutError:
            return f"no answer within {TIMEOUT_S:g} s"
        except (aiohttp.ClientError, OSError):
            return DOWN
        if reply.status == 200:
            self._compare(body)
            return ""
        forgotten = reply.status == 404 and self.most
        if forgotten or reply.status not in (404, 503):
            self.wrong.append(f"{reply.status}: {body}")
            return ""
        return f"{reply.status}: {body.get('detail')}"

    def _compare(self, metrics: dict[str, Any]) -> None:
        self.answers += 1
        # What is pending was counted before the total was, so in a catch-up rows may be in both: no sum of theirs.
        shown = metrics["totalEvents"]
        if shown < self.most:
            self.went_back += 1
            print(f"  WENT BACK: {self.most} -> {shown} (and {metrics['pendingEvents']} pending)")
        self.most = max(self.most, shown)

    def _weigh(self) -> None:
        try:
            self.resident_mb = max(self.resident_mb, self.world.service.resident_mb())
        except (OSError, StopIteration, AssertionError):
            return
