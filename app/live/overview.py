"""The matches of the moment, for the dashboard's list: single flight and a short cache, as for one match."""

import asyncio
import time
from datetime import UTC, datetime

import attrs

from app.live.answers import Answers
from app.live.waiting import Patience
from shards import MatchAggregates, MatchReads, StoreError, StoreUnavailable

MATCHES = 50
MAX_AGE_S = 1.0


@attrs.frozen
class Overview:
    """The matches with the newest activity, in that order."""

    matches: tuple[MatchAggregates, ...]
    as_of: datetime


class Overviews:
    """The present overview, at most :data:`MAX_AGE_S` old; the last good one while ClickHouse is away."""

    def __init__(self, reads: MatchReads, answers: Answers, patience: Patience) -> None:
        self._reads = reads
        self._patience = patience
        self._answers = answers
        self._last: Overview | None = None
        self._error = StoreError("not read yet")
        self._began = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    async def get(self) -> Overview:
        """Return the overview. StoreError if ClickHouse does not answer, or not soon, and there is no earlier one."""
        if self._flight is None and time.monotonic() - self._began >= MAX_AGE_S:
            self._began = time.monotonic()
            self._flight = asyncio.create_task(self._fly(), name="load overview")
        if self._flight is not None:
            flight = self._flight
            await self._patience.wait({flight}, at_hand=self._last is not None)
            if flight.cancelled():
                raise StoreUnavailable("the service is shutting down")
            if flight.done():
                flight.result()
        if self._last is None:
            raise self._error
        return self._last

    async def close(self) -> None:
        """Cancel what is being loaded."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    async def _fly(self) -> None:
        as_of = datetime.now(UTC)
        try:
            recent = await self._reads.recent_matches(limit=MATCHES)
            answers = await self._answers.get([match_id for match_id, _ in recent])
            self._last = Overview(tuple(answers[m] for m, _ in recent if m in answers), as_of)
        except StoreError as error:
            self._error = error
        finally:
            self._flight = None
