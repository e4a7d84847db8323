"""Loads of matches: few at a time, so that whatever a crowd asks for, others reach ClickHouse in between.

Loads wait in two lines, which take turns. One is for matches that are known, whose number is bounded by what is kept;
the other for single matches of which nothing is known, as anybody can make up. Those are joined: whoever waits goes
with the next statement. The second line is bounded, and whoever finds it full is refused at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from shards import TooManyReads

LOADS_MAX = 2
"""Loads under way at a time, as many as there are connections for reads."""

JOINED_MAX = 64
"""Most unknown matches that are asked for in one statement."""

WAITING_MAX = 512
"""Most loads of unknown matches that wait for their turn."""

WOKEN_AT_ONCE = 32
"""Readers of one load that are told in one round of the event loop, because a crowd of thousands at once would hold up
everything else, first of all the next load, for which the next crowd would wait."""


ENDED_AT_ONCE = 8
"""Loads that went in one statement whose readers are told in one round of the event loop."""


class Flight:
    """A load that waits or is under way, and those who wait for it."""

    def __init__(self, match_ids: Sequence[str], *, known: bool) -> None:
        self.match_ids = tuple(match_ids)
        self.known = known
        self.began = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(self._wake_next)
        self.readers = 0
        self._groups: deque[asyncio.Future[None]] = deque()
        self._waiting = 0

    def turn(self) -> asyncio.Future[None]:
        """Return a future that is done when the load is, and the caller's turn has come."""
        if self.done.done():
            return self.done
        if self._waiting % WOKEN_AT_ONCE == 0:
            self._groups.append(asyncio.get_running_loop().create_future())
        self._waiting += 1
        return self._groups[-1]

    def end(self, error: BaseException | None) -> None:
        """Tell those who wait that the load is over; ``error`` is a fault of ours, or that it was cancelled."""
        if self.done.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.done.cancel()
        elif error is not None:
            self.done.set_exception(error)
            self.done.exception()  # marks it as seen: those who waited may be gone
        else:
            self.done.set_result(None)

    def _wake_next(self, _: object = None) -> None:
        if self._groups:
            group = self._groups.popleft()
            if not group.done():
                group.set_result(None)
            asyncio.get_running_loop().call_soon(self._wake_next)


class Flights:
    """The loads of all matches.

    Args:
        fly: loads some matches; raises for faults of ours only.
    """

    def __init__(self, fly: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._fly = fly
        self._of: dict[str, Flight] = {}
        self._known: deque[Flight] = deque()
        self._unknown: dict[Flight, None] = {}
        self._under_way: dict[asyncio.Task[None], list[Flight]] = {}
        self._known_next = True

    def of(self, match_id: str) -> Flight | None:
        """Return the load of a match that waits or is under way."""
        return self._of.get(match_id)

    def start(self, match_ids: Sequence[str], *, known: bool) -> None:
        """Load matches as soon as there is a turn. Raises TooManyReads if too many unknown ones wait already."""
        if not known and len(self._unknown) >= WAITING_MAX:
            raise TooManyReads("too many matches are being read")
        flight = Flight(tuple(dict.fromkeys(match_ids)), known=known)
        for match_id in flight.match_ids:
            self._of[match_id] = flight
        if known:
            self._known.append(flight)
        else:
            self._unknown[flight] = None
        self._begin_next()

    @contextmanager
    def reading(self, flights: Sequence[Flight]) -> Iterator[None]:
        """Keep the place of some loads for as long as the block runs; without a reader a load that waits is dropped."""
        for flight in flights:
            flight.readers += 1
        try:
            yield
        finally:
            for flight in flights:
                flight.readers -= 1
                if not flight.readers and not flight.began:
                    self._drop(flight)

    async def close(self) -> None:
        """Cancel all loads."""
        for flight in (*self._known, *self._unknown):
            self._forget(flight)
            flight.end(asyncio.CancelledError())
        self._known.clear()
        self._unknown.clear()
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop(self, flight: Flight) -> None:
        self._unknown.pop(flight, None)
        if flight in self._known:
            self._known.remove(flight)
        self._forget(flight)
        flight.end(asyncio.CancelledError())

    def _begin_next(self) -> None:
        while len(self._under_way) < LOADS_MAX and (self._known or self._unknown):
            if self._known and (self._known_next or not self._unknown):
                flights = [self._known.popleft()]
            else:
                flights = list(self._unknown)[:JOINED_MAX]
                for flight in flights:
                    del self._unknown[flight]
            self._known_next = not flights[0].known
            self._begin(flights)

    def _begin(self, flights: list[Flight]) -> None:
        match_ids = [match_id for flight in flights for match_id in flight.match_ids]
        for flight in flights:
            flight.began = True
        task = asyncio.create_task(self._load(match_ids), name="load matches")
        self._under_way[task] = flights
        task.add_done_callback(self._note_done)

    async def _load(self, match_ids: Sequence[str]) -> None:
        """Load as a task of its own, so that it goes on when those who wait for it are gone."""
        await self._fly(match_ids)

    def _note_done(self, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        flights = self._under_way.pop(task)
        for flight in flights:
            self._forget(flight)
        self._end(deque(flights), error)
        self._begin_next()

    def _end(self, flights: deque[Flight], error: BaseException | None) -> None:
        """Tell the readers of some flights, those of a few in each round of the event loop."""
        for _ in range(min(ENDED_AT_ONCE, len(flights))):
            flights.popleft().end(error)
        if flights:
            asyncio.get_running_loop().call_soon(self._end, flights, error)

    def _forget(self, flight: Flight) -> None:
        for match_id in flight.match_ids:
            if self._of.get(match_id) is flight:
                del self._of[match_id]
