"""One answer for all who ask: single flight and a short cache in front of the reads."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

import attrs
from cachetools import LRUCache, TTLCache

from app.live.flights import Flight, Flights
from app.live.waiting import Patience
from shards import MatchAggregates, StoreError, StoreUnavailable, TooManyReads

Load = Callable[[Sequence[str]], Awaitable[dict[str, MatchAggregates]]]

MAX_AGE_S = 0.51
"""Least seconds between the starts of two loads of one match; asking for an older answer starts one. A little more than
half a second, so that ClickHouse gets two statements a second at most, though some take longer to get there."""

FRESH_S = 0.95
"""Age in seconds up to which the answer at hand is given during a load, because all that was acknowledged a second ago
is in it. So of many readers only the first waits, unless a load takes longer than the rest of that time."""

ANSWERS_MAX_BYTES = 128 << 20
"""Most bytes of the answers that are kept, about; there are at most 1,024 of them besides."""

UNKNOWN_FACTOR = 4
"""Outcomes that are remembered for each answer that is kept, so that asking about made-up ids evicts no answer."""


FORGOTTEN_S = 120.0
"""Seconds for which it is remembered when a match was forgotten: longer than any load takes."""

COUNT_BYTES, HIGHLIGHT_BYTES = 150, 800
"""Bytes that a count, and a highlight without its metadata, take in memory."""


@attrs.frozen
class _LastLoad:
    """The outcome of the last load of a match, and when it began on the monotonic clock."""

    began: float
    error: StoreError | None = None
    known: bool = False


class Answers:
    """Answers by match, at most :data:`FRESH_S` s old while ClickHouse works, the last good ones while it does not.

    Loads of one match never overlap, so its answers are published in the order in which they were counted.

    Attributes:
        hits: answers that were at hand, or being loaded.
        misses: answers for which a load was started.
        stale: answers that were older, because no newer one came soon.
    """

    def __init__(
        self,
        load: Load,
        *,
        patience: Patience | None = None,
        max_matches: int = 1024,
        max_bytes: int = ANSWERS_MAX_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._patience = patience or Patience()
        self._monotonic = monotonic
        self._max_matches = max_matches
        self._answers: LRUCache[str, MatchAggregates] = LRUCache(max_bytes, getsizeof=partial(_kept_size, max_bytes))
        self._outcomes: LRUCache[str, _LastLoad] = LRUCache(max_matches * UNKNOWN_FACTOR)
        self._forgotten: TTLCache[str, float] = TTLCache(max_matches * UNKNOWN_FACTOR, FORGOTTEN_S)
        self._flights = Flights(self._fly)
        self.hits = self.misses = self.stale = 0

    async def get(self, match_ids: Sequence[str]) -> dict[str, MatchAggregates]:
        """Return the answers of those matches that are known.

        Raises StoreError if one of them cannot be loaded, or not soon, and no earlier answer of it is at hand.
        """
        return await self._get(match_ids, fresh_s=FRESH_S)

    def at_hand(self, match_id: str) -> MatchAggregates | None:
        """Return what :meth:`get` would answer without a load or a wait, None where it needs one."""
        if self._is_due(match_id) or not self._is_fresh(match_id, FRESH_S):
            return None
        self.hits += 1
        return self._answers[match_id]

    async def _get(self, match_ids: Sequence[str], *, fresh_s: float) -> dict[str, MatchAggregates]:
        if due := [match_id for match_id in match_ids if self._is_due(match_id)]:
            self._start(due)
        self.misses += len(due)
        self.hits += len(match_ids) - len(due)
        flights = self._awaited(match_ids, fresh_s)
        at_hand = all(match_id in self._answers for match_id in match_ids)
        with self._flights.reading(flights):
            await self._wait(flights, at_hand=at_hand)
        _raise_faults(flight.done for flight in flights if flight.done.done())
        found = {match_id: answer for match_id in match_ids if (answer := self._last(match_id)) is not None}
        self.stale += sum(not self._is_fresh(match_id, FRESH_S) for match_id in found)
        return found

    async def _wait(self, flights: Sequence[Flight], *, at_hand: bool) -> None:
        try:
            await self._patience.wait({flight.turn() for flight in flights}, at_hand=at_hand)
        except StoreUnavailable:
            if self._patience.is_away() or all(flight.began for flight in flights):
                raise
            # That says nothing about ClickHouse, which was not asked yet.
            raise TooManyReads("too many matches are being read") from None

    def _awaited(self, match_ids: Sequence[str], fresh_s: float) -> list[Flight]:
        """Return the loads of those matches whose answer at hand is not fresh."""
        old = [match_id for match_id in match_ids if not self._is_fresh(match_id, fresh_s)]
        return list({flight for match_id in old if (flight := self._flights.of(match_id)) is not None})

    async def get_newer(self, match_id: str, than: float) -> MatchAggregates | None:
        """Return an answer whose counting began after a moment of the monotonic clock; None: unknown match.

        Waits as long as that takes. Where counting fails it returns the last good answer; :meth:`counted_since` tells.
        """
        while True:
            if (flight := self._flights.of(match_id)) is not None:
                with self._flights.reading([flight]):
                    await asyncio.wait({flight.done})
                continue
            outcome = self._outcomes.get(match_id)
            early_s = outcome.began + MAX_AGE_S - self._monotonic() if outcome and outcome.began < than else 0.0
            if early_s <= 0:
                return (await self._get([match_id], fresh_s=0)).get(match_id)
            await asyncio.sleep(early_s)

    def counted_since(self, match_id: str, moment: float) -> bool:
        """Say whether the last load of a match began at a moment or later, and went well."""
        outcome = self._outcomes.get(match_id)
        return outcome is not None and outcome.error is None and outcome.began >= moment

    def found_nothing_since(self, match_id: str, moment: float) -> bool:
        """Say whether the last load began at a moment or later, and found nothing of the match."""
        return self.counted_since(match_id, moment) and not self._outcomes[match_id].known

    def last(self, match_id: str) -> MatchAggregates | None:
        """Return the last good answer, however old."""
        return self._answers.get(match_id)

    def forget(self, match_ids: Iterable[str]) -> None:
        """Forget matches that are erased; what is being loaded of them now is not kept."""
        now = self._monotonic()
        for match_id in match_ids:
            self._answers.pop(match_id, None)
            self._outcomes.pop(match_id, None)
            self._forgotten[match_id] = now

    def is_forgotten(self, answer: MatchAggregates) -> bool:
        """Say whether the match of an answer was forgotten since it was counted."""
        return self._is_forgotten(answer.match_id, answer.counted_at)

    def _is_forgotten(self, match_id: str, counted_at: float) -> bool:
        return counted_at <= self._forgotten.get(match_id, -math.inf)

    async def close(self) -> None:
        """Cancel what is being loaded."""
        await self._flights.close()

    def _is_due(self, match_id: str) -> bool:
        outcome = self._outcomes.get(match_id)
        if self._flights.of(match_id) is not None:
            return False
        evicted = outcome is not None and outcome.known and match_id not in self._answers
        return outcome is None or evicted or self._monotonic() - outcome.began >= MAX_AGE_S

    def _is_fresh(self, match_id: str, fresh_s: float) -> bool:
        outcome = self._outcomes.get(match_id)
        if outcome is None or outcome.error is not None or match_id not in self._answers:
            return False
        return self._monotonic() - outcome.began < fresh_s

    def _start(self, match_ids: Sequence[str]) -> None:
        """Start a load, for which a single match of which nothing is known has to wait where many are asked for."""
        known = len(match_ids) > 1 or any(map(self._is_known, match_ids))
        self._flights.start(match_ids, known=known)

    def _is_known(self, match_id: str) -> bool:
        outcome = self._outcomes.get(match_id)
        return match_id in self._answers or (outcome is not None and outcome.known)

    async def _fly(self, match_ids: Sequence[str]) -> None:
        began = self._monotonic()
        error: StoreError | None = None
        found: Mapping[str, MatchAggregates] = {}
        try:
            found = await self._load(match_ids)
        except StoreError as failure:
            error = failure
        for match_id in match_ids:
            self._keep(match_id, found.get(match_id), _LastLoad(began, error, match_id in found))

    def _keep(self, match_id: str, answer: MatchAggregates | None, outcome: _LastLoad) -> None:
        if self._is_forgotten(match_id, outcome.began):
            return
        self._outcomes[match_id] = outcome
        if answer is not None:
            self._answers[match_id] = answer
            if len(self._answers) > self._max_matches:
                self._answers.popitem()
        elif outcome.error is None:
            self._answers.pop(match_id, None)  # its last event has expired

    def _last(self, match_id: str) -> MatchAggregates | None:
        answer = self._answers.get(match_id)
        if answer is not None:
            return answer
        outcome = self._outcomes.get(match_id)
        if outcome is not None and outcome.error is not None:
            raise outcome.error
        return None


def _kept_size(max_bytes: int, answer: MatchAggregates) -> int:
    """Return the size of an answer in bytes, measured roughly; one that is larger than the cache has it for itself."""
    texts = sum(len(highlight.metadata) + HIGHLIGHT_BYTES for highlight in answer.highlights)
    counts = len(answer.curve) + len(answer.by_minute) + len(answer.by_type_team)
    return min(max_bytes, texts + counts * COUNT_BYTES + len(answer.start_metadata) + HIGHLIGHT_BYTES)


def _raise_faults(loads: Iterable[asyncio.Future[None]]) -> None:
    """Raise faults of ours, which must show; a load keeps errors of the store to itself."""
    for load in loads:
        if load.cancelled():
            raise StoreUnavailable("the service is shutting down")
        load.result()
