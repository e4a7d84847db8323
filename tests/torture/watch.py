"""A reader beside the load: what an answer has shown, the next one must show."""

import asyncio

import aiohttp
import attrs

from tests.faults.world import World

MATCH = "derby"
EVERY_S = 0.2


@attrs.define
class Watch:
    """Reads one match for as long as it is told; counts answers, and those that showed less than one before."""

    world: World
    answers: int = 0
    without: int = 0
    went_back: int = 0
    most: int = 0
    resident_mb: float = 0.0

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self._read()
            except (aiohttp.ClientError, OSError, TimeoutError, AssertionError) as error:
                if "died by itself" in str(error) or "status" in str(error):
                    raise
                self.without += 1
            await asyncio.sleep(EVERY_S)

    async def _read(self) -> None:
        async with asyncio.timeout(20):
            metrics = await self.world.service.metrics(MATCH)
        if metrics is None:
            self.without += 1
            return
        shown = metrics["totalEvents"] + metrics["pendingEvents"]
        self.answers += 1
        if shown < self.most:
            self.went_back += 1
            print(f"  WENT BACK: {self.most} -> {shown} (of them {metrics['pendingEvents']} pending)")
        self.most = max(self.most, shown)
        try:
            self.resident_mb = max(self.resident_mb, self.world.service.resident_mb())
        except (OSError, StopIteration, AssertionError):
            return
