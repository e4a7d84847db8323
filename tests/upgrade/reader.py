"""Reads of single matches, one after the other, while the release is changed: each has to be exact."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import attrs

from tests.bench.load import percentile
from tests.bench.service import Service

PAUSE_S = 0.05


@attrs.define
class Reader:
    """Reads in turns from a service that is ready.

    Attributes:
        expected: total of each match that is read; nothing is added to it meanwhile.
        rising: matches that may show less at first, because more rows are pending than memory holds; never less than an
            answer before.
        times_ms: how long each read took.
        refused: reads without an answer.
        wrong: totals that were not as expected.
    """

    service: Service
    expected: Mapping[str, int]
    rising: frozenset[str] = frozenset()
    shown: dict[str, int] = attrs.field(factory=dict)
    times_ms: list[float] = attrs.field(factory=list)
    refused: list[int] = attrs.field(factory=list)
    wrong: list[tuple[str, int]] = attrs.field(factory=list)
    stopping: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def read(self) -> None:
        """Read until told to stop."""
        while not self.stopping.is_set():
            for match_id, total in self.expected.items():
                await self._read(match_id, total)

    async def _read(self, match_id: str, total: int) -> None:
        began = time.perf_counter()
        async with self.service.session.get(f"/api/matches/{match_id}/metrics") as reply:
            body = await reply.json(content_type=None)
        self.times_ms.append((time.perf_counter() - began) * 1000)
        if reply.status != 200:
            self.refused.append(reply.status)
        elif not self._is_right(match_id, total, body["totalEvents"]):
            self.wrong.append((match_id, body["totalEvents"]))
        await asyncio.sleep(PAUSE_S)

    def _is_right(self, match_id: str, total: int, found: int) -> bool:
        before, self.shown[match_id] = self.shown.get(match_id, 0), found
        return found == total or (match_id in self.rising and before <= found < total)

    def told(self) -> str:
        """Return the figures in a line."""
        ordered: Sequence[float] = sorted(self.times_ms)
        slow = " / ".join(f"{percentile(ordered, q):,.0f}" for q in (0.5, 0.99, 1.0))
        return (
            f"{len(ordered):,} reads, p50 / p99 / slowest {slow} ms, "
            f"{len(self.refused):,} without an answer, {len(self.wrong):,} wrong"
        )
