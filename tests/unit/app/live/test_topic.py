"""The feed of one match: what a viewer is sent, in which order, and what one that comes back has missed."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import attrs
import pytest

from app.live import topic as topic_module
from app.live.answers import Answers
from app.live.topic import NO_HIGHLIGHT_YET, Topic
from app.live.viewers import Message, Subscription
from shards import HIGHLIGHTS, RETRACTION, Event, Highlight, MatchAggregates, Observer, Watch

DEADLINE_S = 60
FEED_LIMIT = 5


def event(number: int, event_type: str = "goal", *, retracts: int | None = None) -> Event:
    metadata = "{}" if retracts is None else f'{{"eventId":"{id_of(retracts)}"}}'
    kind = RETRACTION if retracts is not None else event_type
    return Event("m", id_of(number), kind, 1_000 + number, "1", "", metadata, number * 1_000_000, number * 1_000_000)


def id_of(number: int) -> str:
    return str(uuid.UUID(int=number))


def highlight(number: int, *, retracted: bool = False, event_type: str = "goal") -> Highlight:
    return Highlight(
        event_id=id_of(number),
        event_type=event_type,
        timestamp=1_000 + number,
        team_id="1",
        player_id="",
        metadata="{}",
        retracted=retracted,
        received_ms=number,
        order_ms=number,
    )


def answer(*highlights: Highlight, pending_events: int = 0) -> MatchAggregates:
    """An answer with these highlights, newest first as answers have them."""
    return MatchAggregates(
        match_id="m",
        total=len(highlights),
        first_ms=1,
        last_ms=1,
        last_received_ms=1,
        by_type_team=(),
        by_minute=(),
        highlights=tuple(sorted(highlights, key=lambda one: -one.timestamp)),
        pending_events=pending_events,
    )


@attrs.define
class Watched:
    """A topic and the answers that its poller gets, from now on."""

    topic: Topic
    answer: MatchAggregates = attrs.field(factory=answer)

    def view(self, last_event_id: str = "") -> Subscription:
        viewer = Subscription()
        self.topic.open(viewer, snapshot=self.answer, last_event_id=last_event_id)
        return viewer

    def correct(self) -> None:
        """Do what the poller does with an answer that was counted after all that was accepted."""
        self.topic._correct(self.answer, accepted_until=self.topic._changed_at)


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(topic_module, "FEED_LIMIT", FEED_LIMIT)

    async def load(_: Sequence[str]) -> dict[str, MatchAggregates]:
        return {"m": made.answer}

    async def render(_: MatchAggregates) -> bytes:
        return b"{}"

    made = Watched(Topic("m", Answers(load, max_matches=3), render, Watch(Observer())))
    yield made
    await made.topic.close()


async def sent(viewer: Subscription, count: int) -> list[tuple[int, bool]]:
    """Number and state of the next highlights; snapshots in between are passed over."""
    found = []
    async with asyncio.timeout(DEADLINE_S):
        while len(found) < count:
            message = await anext(viewer)
            if message.event == "event":
                found.append(_of(message))
    return found


def _of(message: Message) -> tuple[int, bool]:
    return uuid.UUID(message.value.event_id).int, message.value.retracted


def waiting(viewer: Subscription) -> list[tuple[int, bool]]:
    """Number and state of the highlights that wait for a viewer; takes them off."""
    now = [*viewer._now, *(message for sending in viewer._waiting for message in sending)]
    viewer._now = iter(())
    viewer._waiting.clear()
    return [_of(message) for message in now if message.event == "event"]


async def test_highlights_of_one_request_come_in_its_order_and_in_one_sending(watched: Watched) -> None:
    viewer = watched.view()
    watched.topic.accepted([event(3), event(9, "pass"), event(1), event(2)])
    assert len(viewer._waiting) == 1
    assert await sent(viewer, 3) == [(3, False), (1, False), (2, False)]
    watched.topic.accepted([event(4)])
    assert await sent(viewer, 1) == [(4, False)]


async def test_each_highlight_is_sent_once(watched: Watched) -> None:
    viewer = watched.view()
    for _ in range(3):
        watched.topic.accepted([event(1), event(1), event(2)])
    assert waiting(viewer) == [(1, False), (2, False)]


async def test_what_a_retraction_names_is_sent_as_retracted_after_it_and_in_one_request(watched: Watched) -> None:
    viewer = watched.view()
    watched.topic.accepted([event(2, retracts=1)])
    watched.topic.accepted([event(1), event(3)])
    watched.topic.accepted([event(5, retracts=6), event(6)])
    assert waiting(viewer) == [(2, False), (1, True), (3, False), (5, False), (6, True)]


async def test_what_does_not_count_after_all_is_sent_again_as_retracted_and_once(watched: Watched) -> None:
    viewer = watched.view()
    watched.topic.accepted([event(1), event(2)])
    assert waiting(viewer) == [(1, False), (2, False)]
    watched.answer = answer(highlight(2))
    watched.correct()
    watched.correct()
    assert waiting(viewer) == [(1, True)]
    again = watched.view()
    assert waiting(again) == [], "who begins now has the snapshot"


async def test_what_counts_otherwise_is_sent_again_as_it_counts(watched: Watched) -> None:
    viewer = watched.view()
    watched.topic.accepted([event(1), event(2), event(3)])
    waiting(viewer)
    watched.answer = answer(highlight(1), attrs.evolve(highlight(2), event_type="red_card"), highlight(3))
    watched.correct()
    [(message,)] = viewer._waiting
    assert (message.value.event_id, message.value.event_type) == (id_of(2), "red_card")
    assert message.id == f"3-{id_of(2)}", "another id, because who has the old one has not seen this"


@pytest.mark.parametrize(("announced", "counted"), [(True, False), (False, True)])
async def test_a_retraction_that_an_answer_has_and_the_feed_has_not_is_no_news(
    watched: Watched, announced: bool, counted: bool
) -> None:
    """The retraction is a highlight of its own; only one that was announced and does not count is mended."""
    viewer = watched.view()
    retraction = event(2, retracts=1)
    watched.topic.accepted([retraction, event(1)] if announced else [event(1)])
    waiting(viewer)
    announced_before = [attrs.evolve(highlight(2, event_type=RETRACTION), metadata=retraction.metadata)] * announced
    watched.answer = answer(highlight(1, retracted=counted), *announced_before)
    watched.correct()
    assert waiting(viewer) == ([(1, False)] if announced else [])


async def test_while_rows_are_pending_nothing_is_taken_for_gone(watched: Watched) -> None:
    viewer = watched.view()
    watched.topic.accepted([event(1)])
    waiting(viewer)
    watched.answer = answer(pending_events=1)
    watched.correct()
    assert waiting(viewer) == []


async def test_what_lies_before_all_that_an_answer_can_hold_is_not_taken_for_gone(watched: Watched) -> None:
    viewer = watched.view()
    watched.topic.accepted([event(1)])
    waiting(viewer)
    watched.answer = answer(*(highlight(number) for number in range(2, HIGHLIGHTS + 2)))
    watched.correct()
    assert waiting(viewer) == []


async def test_what_was_accepted_after_an_answer_began_is_not_corrected_by_it(watched: Watched) -> None:
    viewer = watched.view()
    watched.topic.accepted([event(1)])
    waiting(viewer)
    watched.topic._correct(answer(), accepted_until=watched.topic._changed_at - 1)
    assert waiting(viewer) == []
    watched.correct()
    assert waiting(viewer) == [(1, True)]


async def test_who_comes_back_is_sent_what_came_behind(watched: Watched) -> None:
    watched.answer = answer(highlight(1), highlight(2), highlight(3))
    watched.view()
    assert waiting(watched.view(f"2-{id_of(2)}")) == [(3, False)]
    watched.topic.accepted([event(5), event(4)])
    assert waiting(watched.view(f"2-{id_of(2)}")) == [(3, False), (5, False), (4, False)]
    assert waiting(watched.view(f"5-{id_of(5)}")) == [(4, False)]
    assert waiting(watched.view(f"4-{id_of(4)}")) == []
    assert waiting(watched.view("of another service")) == []
    assert waiting(watched.view(NO_HIGHLIGHT_YET)) == [(1, False), (2, False), (3, False), (5, False), (4, False)]


async def test_seeded_ones_of_the_same_millisecond_are_sent_rather_twice_than_not(watched: Watched) -> None:
    watched.answer = answer(*(attrs.evolve(highlight(number), received_ms=7, order_ms=7) for number in (1, 2, 3)))
    watched.view()
    assert waiting(watched.view(f"7-{id_of(2)}")) == [(1, False), (3, False)]
    watched.topic.accepted([event(8), event(9)])
    assert waiting(watched.view(f"8-{id_of(8)}")) == [(9, False)], "in the order in which they were sent"


async def test_when_the_feed_overflows_those_sent_are_still_told_from_those_seeded(watched: Watched) -> None:
    watched.answer = answer(highlight(1), highlight(2), highlight(3))
    watched.view()
    for number in (14, 13, 12, 11):  # sent in this order, whatever their times of receipt
        watched.topic.accepted([event(number)])
    assert list(watched.topic._feed) == [id_of(number) for number in (3, 14, 13, 12, 11)]
    for place, number in enumerate(sequence := (14, 13, 12, 11)):
        behind = [(other, False) for other in sequence[place + 1 :]]
        assert waiting(watched.view(f"{number}-{id_of(number)}")) == behind
    watched.topic.accepted([event(20), event(19), event(18), event(17), event(16)])
    assert waiting(watched.view(f"20-{id_of(20)}")) == [(19, False), (18, False), (17, False), (16, False)]


async def test_a_seeded_one_that_is_sent_again_is_in_the_order_of_those_sent(watched: Watched) -> None:
    watched.answer = answer(highlight(5), highlight(6))
    watched.view()
    watched.topic.accepted([event(3)])
    watched.topic._remember_again(highlight(5, retracted=True))
    assert list(watched.topic._feed) == [id_of(number) for number in (6, 3, 5)]
    assert waiting(watched.view(f"6-{id_of(6)}")) == [(3, False), (5, True)]
    assert waiting(watched.view(f"3-{id_of(3)}")) == [(5, True)]
    assert waiting(watched.view(f"6-{id_of(5)}")) == []


async def test_highlights_of_others_are_sent_once_if_they_are_recent(watched: Watched) -> None:
    viewer = watched.view()
    watched.topic.accepted([event(5)])
    waiting(viewer)
    found = answer(highlight(3), highlight(4), highlight(5), highlight(6)).highlights
    for _ in range(2):
        watched.topic._announce_others(found, received_since_ms=4)
    assert waiting(viewer) == [(4, False), (6, False)]
    retracted = answer(highlight(4, retracted=True), highlight(6)).highlights
    watched.topic._announce_others(retracted, received_since_ms=4)
    assert waiting(viewer) == [], "their retraction is a highlight of its own"
    assert waiting(watched.view(f"5-{id_of(5)}")) == [(4, True), (6, False)]
