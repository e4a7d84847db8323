"""One answer for all who ask: single flight and a short cache in front of the reads."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

import attrs
from cachetools import LRUCache

from app.live.waiting import Patience
from shards import MatchAggregates, StoreError, StoreUnavailable

Load = Callable[[Sequence[str]], Awaitable[dict[str, MatchAggregates]]]

MAX_AGE_S = 0.51
"""Least seconds between the starts of two loads of one match; asking for an older answer starts one. A little more than
half a second, so that ClickHouse gets two statements a second at most, though some take longer to get there."""

FRESH_S = 0.95
"""Age in seconds up to which the answer at hand is given during a load, because all that was acknowledged a second ago
is in it. So of many readers only the first waits, unless a load takes longer than the rest of that time."""

WOKEN_AT_ONCE = 32
"""Readers of one load that are told in one round of the event loop, because a crowd of thousands at once would hold up
everything else, first of all the next load, for which the next crowd would wait."""

UNKNOWN_FACTOR = 4
"""Outcomes that are remembered for each answer that is kept, so that asking about made-up ids evicts no answer."""


@attrs.frozen
class _LastLoad:
    """The outcome of the last load of a match, and when it began on the monotonic clock."""

    began: float
    error: StoreError | None = None
    known: bool = False


class _Flight:
    """A load under way, and those who wait for it."""

    def __init__(self, load: Coroutine[None, None, None]) -> None:
        self.task = asyncio.create_task(load, name="load matches")
        self.task.add_done_callback(self._wake_next)
        self._groups: deque[asyncio.Future[None]] = deque()
        self._waiting = 0

    def turn(self) -> asyncio.Future[None]:
        """Return a future that is done when the load is, and the caller's turn has come."""
        if self.task.done():
            return self.task
        if self._waiting % WOKEN_AT_ONCE == 0:
            self._groups.append(asyncio.get_running_loop().create_future())
        self._waiting += 1
        return self._groups[-1]

    def _wake_next(self, _: object = None) -> None:
        if self._groups:
            self._groups.popleft().set_result(None)
            asyncio.get_running_loop().call_soon(self._wake_next)


class Answers:
    """Answers by match, at most :data:`FRESH_S` s old while ClickHouse works, the last good ones while it does not.

    Loads of one match never overlap, so its answers are published in the order in which they were counted.
    """

    def __init__(
        self,
        load: Load,
        *,
        patience: Patience | None = None,
        max_matches: int = 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._patience = patience or Patience()
        self._monotonic = monotonic
        self._answers: LRUCache[str, MatchAggregates] = LRUCache(max_matches)
        self._outcomes: LRUCache[str, _LastLoad] = LRUCache(max_matches * UNKNOWN_FACTOR)
        self._flights: dict[str, _Flight] = {}

    async def get(self, match_ids: Sequence[str]) -> dict[str, MatchAggregates]:
        """Return the answers of those matches that are known.

        Raises StoreError if one of them cannot be loaded, or not soon, and no earlier answer of it is at hand.
        """
        return await self._get(match_ids, fresh_s=FRESH_S)

    def at_hand(self, match_id: str) -> MatchAggregates | None:
        """Return what :meth:`get` would answer without a load or a wait, None where it needs one."""
        enough = not self._is_due(match_id) and self._is_fresh(match_id, FRESH_S)
        return self._answers[match_id] if enough else None

    async def _get(self, match_ids: Sequence[str], *, fresh_s: float) -> dict[str, MatchAggregates]:
        if due := [match_id for match_id in match_ids if self._is_due(match_id)]:
            self._start(due)
        flights = self._awaited(match_ids, fresh_s)
        at_hand = all(match_id in self._answers for match_id in match_ids)
        await self._patience.wait({flight.turn() for flight in flights}, at_hand=at_hand)
        _raise_faults(flight.task for flight in flights if flight.task.done())
        return {match_id: answer for match_id in match_ids if (answer := self._last(match_id)) is not None}

    def _awaited(self, match_ids: Sequence[str], fresh_s: float) -> set[_Flight]:
        """Return the loads of those matches whose answer at hand is not fresh."""
        old = [match_id for match_id in match_ids if not self._is_fresh(match_id, fresh_s)]
        return {self._flights[match_id] for match_id in old if match_id in self._flights}

    async def get_newer(self, match_id: str, than: float) -> MatchAggregates | None:
        """Return an answer whose counting began after a moment of the monotonic clock; None: unknown match.

        Waits as long as that takes. Where counting fails it returns the last good answer; :meth:`counted_since` tells.
        """
        while True:
            if (flight := self._flights.get(match_id)) is not None:
                await asyncio.wait({flight.task})
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

    async def close(self) -> None:
        """Cancel what is being loaded."""
        loads = {flight.task for flight in self._flights.values()}
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    def _is_due(self, match_id: str) -> bool:
        outcome = self._outcomes.get(match_id)
        if match_id in self._flights:
            return False
        evicted = outcome is not None and outcome.known and match_id not in self._answers
        return outcome is None or evicted or self._monotonic() - outcome.began >= MAX_AGE_S

    def _is_fresh(self, match_id: str, fresh_s: float) -> bool:
        outcome = self._outcomes.get(match_id)
        if outcome is None or outcome.error is not None or match_id not in self._answers:
            return False
        return self._monotonic() - outcome.began < fresh_s

    def _start(self, match_ids: Sequence[str]) -> None:
        """Start a load as a task of its own, so that it goes on when those who wait for it are gone."""
        flight = _Flight(self._fly(tuple(dict.fromkeys(match_ids))))
        flight.task.add_done_callback(lambda _: self._forget(match_ids, flight))
        for match_id in match_ids:
            self._flights[match_id] = flight

    def _forget(self, match_ids: Sequence[str], flight: _Flight) -> None:
        """Forget a load that was cancelled before it began; any other has forgotten itself."""
        for match_id in match_ids:
            if self._flights.get(match_id) is flight:
                del self._flights[match_id]

    async def _fly(self, match_ids: Sequence[str]) -> None:
        began = self._monotonic()
        error: StoreError | None = None
        found: Mapping[str, MatchAggregates] = {}
        try:
            found = await self._load(match_ids)
        except StoreError as failure:
            error = failure
        finally:
            for match_id in match_ids:
                del self._flights[match_id]
        for match_id in match_ids:
            self._keep(match_id, found.get(match_id), _LastLoad(began, error, match_id in found))

    def _keep(self, match_id: str, answer: MatchAggregates | None, outcome: _LastLoad) -> None:
        self._outcomes[match_id] = outcome
        if answer is not None:
            self._answers[match_id] = answer
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


def _raise_faults(loads: Iterable[asyncio.Future[None]]) -> None:
    """Raise faults of ours, which must show; a load keeps errors of the store to itself."""
    for load in loads:
        if load.cancelled():
            raise StoreUnavailable("the service is shutting down")
        load.result()
