"""Whether a match goes on, while clocks are set: quiet is what nothing came of for 15 minutes, and only that."""

from collections.abc import Sequence
from itertools import count
from typing import Any, cast

import attrs
import pytest

from app.engagement.clock import match_status
from app.engagement.rendered import RenderedMetrics
from app.live.hub import Live
from app.observability.response_times import ResponseTimes
from shards import Event, EventReads, MatchAggregates, MatchReads, Observer, ReceiptClock, Watch
from tests.clocks import Clocks

MINUTE_S = 60
HOUR_S = 3_600
STEPS_S = [0, HOUR_S, -HOUR_S, 30 * 24 * HOUR_S]
numbers = count()


@attrs.define
class Stored:
    """Matches by the last receipt that ClickHouse shows, ms since the epoch."""

    last_ms: dict[str, int] = attrs.field(factory=dict)

    async def aggregates(self, match_ids: Sequence[str], **options: Any) -> dict[str, MatchAggregates]:
        return {
            match_id: MatchAggregates(
                match_id=match_id,
                total=1,
                first_ms=1,
                last_ms=1,
                last_received_ms=self.last_ms[match_id],
                by_type_team=(("pass", "1", 1),),
                by_minute=((0, 1),),
                feed_by_minute=((0, 1),),
                feed_last_ms=1,
                feed_received_ms=self.last_ms[match_id],
                play_first_ms=1,
                play_last_ms=1,
            )
            for match_id in match_ids
        }


@attrs.define
class Matches:
    """Matches of the hub, each asked for once, because an answer is kept for half a second of the real clock."""

    live: Live
    clock: ReceiptClock
    stored: Stored

    def receive(self, *, here: bool = True) -> str:
        """Have an event of a new match received now, here or by another process; return the match."""
        match_id = f"m{next(numbers)}"
        self.again(match_id, here=here)
        return match_id

    def again(self, match_id: str, *, event_type: str = "pass", here: bool = True) -> None:
        now_ns = self.clock.now_ns()
        last_ms = self.stored.last_ms.get(match_id, 0)
        self.stored.last_ms[match_id] = max(last_ms, now_ns // 1_000_000)
        if here:
            event = Event(match_id, "id", event_type, 1, "", "", "{}", now_ns, self.clock.order_ns())
            self.live.accepted([event])

    async def status(self, match_id: str) -> str:
        return match_status(await self.live.aggregates(match_id))


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks.instead_of_the_machines(monkeypatch, "app.live.hub", "app.live.activity")


def started(stored: Stored) -> Matches:
    clock = ReceiptClock()
    reads = cast(MatchReads, stored)
    live = Live(reads, cast(EventReads, None), RenderedMetrics(ResponseTimes()), clock=clock, watch=Watch(Observer()))
    return Matches(live, clock, stored)


@pytest.fixture
def matches(clocks: Clocks) -> Matches:
    return started(Stored())


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("step_s", STEPS_S)
async def test_no_step_makes_a_match_quiet_or_keeps_it_live(
    matches: Matches, clocks: Clocks, step_s: int, here: bool
) -> None:
    first, second = (matches.receive(here=here) for _ in range(2))
    clocks.go_on(5 * MINUTE_S)
    clocks.set_wall(step_s)
    clocks.go_on(10 * MINUTE_S)
    assert await matches.status(first) == "live"
    clocks.go_on(1)
    assert await matches.status(second) == "finished"


@pytest.mark.parametrize("step_s", STEPS_S)
async def test_a_match_that_goes_on_after_a_step_is_live(matches: Matches, clocks: Clocks, step_s: int) -> None:
    """After the clock was set back its newest events have lower times than those before."""
    match = matches.receive()
    clocks.set_wall(step_s)
    for _ in range(20):
        clocks.go_on(MINUTE_S)
        matches.again(match)
    assert await matches.status(match) == "live"


async def test_a_match_is_quiet_though_the_clock_shows_the_time_of_its_last_event_once_more(
    matches: Matches, clocks: Clocks
) -> None:
    clocks.go_on(HOUR_S)
    match = matches.receive()
    clocks.go_on(HOUR_S)
    matches.receive()
    clocks.set_wall(-HOUR_S)
    clocks.go_on(MINUTE_S)
    assert await matches.status(match) == "finished"


async def test_what_was_received_before_the_start_by_a_clock_that_was_ahead_is_live_for_a_quarter_of_an_hour(
    matches: Matches, clocks: Clocks
) -> None:
    clocks.set_wall(HOUR_S)
    first, second = (matches.receive() for _ in range(2))
    clocks.set_wall(-HOUR_S)
    again = started(matches.stored)
    clocks.go_on(15 * MINUTE_S)
    assert await again.status(first) == "live"
    clocks.go_on(1)
    assert await again.status(second) == "finished"


async def test_what_comes_after_the_end_is_heard_too(matches: Matches, clocks: Clocks) -> None:
    """The end may be withdrawn again."""
    match = matches.receive()
    matches.again(match, event_type="match_end")
    clocks.set_wall(-HOUR_S)
    for _ in range(20):
        clocks.go_on(MINUTE_S)
        matches.again(match)
    assert await matches.status(match) == "live"
    assert matches.live.active_matches() == 0
