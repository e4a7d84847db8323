"""One answer for all who ask: single flight and a short cache in front of the reads."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import attrs

from app.live.patience import Patience
from shards.errors import StoreError, StoreUnavailable
from shards.reads import MatchAggregates

Load = Callable[[Sequence[str]], Awaitable[dict[str, MatchAggregates]]]

MAX_AGE_S = 0.51
"""Between two loads of one match lies at least this; an older answer starts one. A little more than half a second: two
statements a second at most, though some take longer than others to get to ClickHouse."""

FRESH_S = 0.95
"""Who asks during a load is given the answer at hand if its counting began so lately: all that was acknowledged a
second ago is in it. So of many readers only the first ever waits."""

UNKNOWN_FACTOR = 4
"""Outcomes are remembered of so many times more matches than answers: asking about made-up ids evicts no answer."""


@attrs.frozen
class _Outcome:
    """How the last load of a match went, and when it began on the monotonic clock."""

    began: float
    error: StoreError | None = None
    known: bool = False


class Answers:
    """Answers by match, at most :data:`FRESH_S` old while ClickHouse works, the last good ones while it does not.

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
        self._max_matches = max_matches
        self._monotonic = monotonic
        self._answers: OrderedDict[str, MatchAggregates] = OrderedDict()
        self._outcomes: OrderedDict[str, _Outcome] = OrderedDict()
        self._flights: dict[str, asyncio.Task[None]] = {}

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
        due = [match_id for match_id in match_ids if self._is_due(match_id)]
        if due:
            self._start(due)
        old = [match_id for match_id in match_ids if not self._is_fresh(match_id, fresh_s)]
        flights = {self._flights[match_id] for match_id in old if match_id in self._flights}
        at_hand = all(match_id in self._answers for match_id in match_ids)
        _raise_faults(await self._patience.wait(flights, at_hand=at_hand))
        found = {match_id: self._last(match_id) for match_id in match_ids}
        return {match_id: answer for match_id, answer in found.items() if answer is not None}

    async def get_newer(self, match_id: str, than: float) -> MatchAggregates | None:
        """Return an answer that began to be counted after a moment of the monotonic clock; None: unknown match.

        Waits as long as that takes. If counting fails it is the last good answer: :meth:`counted_since` tells.
        """
        while True:
            if (flight := self._flights.get(match_id)) is not None:
                await asyncio.wait({flight})
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

    def last(self, match_id: str) -> MatchAggregates | None:
        """Return the last good answer, however old."""
        return self._answers.get(match_id)

    async def close(self) -> None:
        """Cancel what is being loaded."""
        flights = set(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

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
        """The load is a task of its own: it goes on when those who wait for it are gone."""
        flight = asyncio.create_task(self._fly(tuple(dict.fromkeys(match_ids))), name="load matches")
        for match_id in match_ids:
            self._flights[match_id] = flight

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
            self._keep(match_id, found.get(match_id), _Outcome(began, error, match_id in found))

    def _keep(self, match_id: str, answer: MatchAggregates | None, outcome: _Outcome) -> None:
        self._outcomes[match_id] = outcome
        self._outcomes.move_to_end(match_id)
        if answer is not None:
            self._answers[match_id] = answer
            self._answers.move_to_end(match_id)
        while len(self._answers) > self._max_matches:
            self._answers.popitem(last=False)
        while len(self._outcomes) > self._max_matches * UNKNOWN_FACTOR:
            self._outcomes.popitem(last=False)

    def _last(self, match_id: str) -> MatchAggregates | None:
        answer = self._answers.get(match_id)
        if answer is not None:
            return answer
        outcome = self._outcomes.get(match_id)
        if outcome is not None and outcome.error is not None:
            raise outcome.error
        return None


def _raise_faults(flights: Iterable[asyncio.Future[None]]) -> None:
    """A load keeps errors of the store to itself; anything else is a fault of ours that must show."""
    for flight in flights:
        if flight.cancelled():
            raise StoreUnavailable("the service is shutting down")
        flight.result()
