"""The matches of the moment, for the dashboard's list."""

import asyncio
from datetime import UTC, datetime

import attrs

from app.live.answers import Answers
from app.live.waiting import Patience
from app.web.shared import Shared
from shards import MatchAggregates, MatchReads, StoreError, StoreUnavailable

MATCHES = 50
MAX_AGE_S = 1.0


@attrs.frozen
class Overview:
    """The matches with the newest activity, in that order."""

    matches: tuple[MatchAggregates, ...]
    as_of: datetime


class Overviews:
    """The present overview, at most :data:`MAX_AGE_S` old; the last good one while ClickHouse is away.

    ``stale`` counts the last good ones that were given so.
    """

    def __init__(self, reads: MatchReads, answers: Answers, patience: Patience) -> None:
        self._reads = reads
        self._patience = patience
        self._answers = answers
        self._last: Overview | None = None
        self.stale = 0
        self.loads: Shared[None, Overview] = Shared(max_age_s=MAX_AGE_S, keys_max=1, wait=self._wait)

    async def get(self) -> Overview:
        """Return the overview; raise StoreError if ClickHouse does not answer soon and there is no earlier one."""
        try:
            return self._without_forgotten(await self.loads.get(None, self._load))
        except StoreError:
            if self._last is None:
                raise
            self.stale += 1
            return self._last

    def forget(self) -> None:
        """Forget the matches that :class:`~app.live.answers.Answers` have just forgotten."""
        if self._last is not None:
            self._last = self._without_forgotten(self._last)

    def _without_forgotten(self, overview: Overview) -> Overview:
        """Return an overview without the matches that were forgotten since they were counted."""
        left = tuple(match for match in overview.matches if not self._answers.is_forgotten(match))
        return overview if len(left) == len(overview.matches) else attrs.evolve(overview, matches=left)

    async def close(self) -> None:
        """Cancel what is being loaded."""
        await self.loads.close()

    async def _wait(self, load: "asyncio.Future[Overview]") -> None:
        await self._patience.wait({load}, at_hand=self._last is not None)
        if not load.done():
            raise StoreUnavailable("counting the matches takes too long")

    async def _load(self) -> Overview:
        as_of = datetime.now(UTC)
        recent = await self._reads.recent_matches(limit=MATCHES)
        answers = await self._answers.get([match_id for match_id, _ in recent])
        overview = Overview(tuple(answers[m] for m, _ in recent if m in answers), as_of)
        self._last = self._without_forgotten(overview)
        return self._last
