"""Matches in play whose feed falls silent. Fans do not count, breaks neither, nor a match whose end is never told."""

from collections.abc import Callable

import pytest

from app.live import feeds
from app.live.feeds import GIVEN_UP_S, SILENT_S, Feeds
from shards import Event


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard(clock: Clock) -> Feeds:
    return Feeds(monotonic=clock)


@pytest.fixture
def note(heard: Feeds) -> Callable[..., None]:
    def note(match_id: str, *event_types: str) -> None:
        heard.note(match_id, [event(match_id, event_type) for event_type in event_types])

    return note


def event(match_id: str, event_type: str) -> Event:
    return Event(
        event_id="e",
        match_id=match_id,
        event_type=event_type,
        timestamp=0,
        received_ns=1,
        team_id="t",
        player_id="",
        metadata="{}",
        order_ns=1,
    )


def test_a_feed_is_silent_after_two_minutes_in_play(clock: Clock, heard: Feeds, note: Callable[..., None]) -> None:
    note("m", "match_start", "half_start")
    note("other", "pass")
    clock.now += SILENT_S - 1
    note("other", "shot")
    assert heard.silent() == (0, SILENT_S - 1)
    clock.now += 1
    note("m", "cheer", "view", "of-a-deployment")
    assert heard.silent() == (1, SILENT_S), "fans do not make up for the feed"
    note("m", "pass")
    assert heard.silent() == (0, 1.0)


@pytest.mark.parametrize("whistle", ["half_end", "match_end"])
def test_nothing_is_expected_between_halves_and_after_the_end(
    whistle: str, clock: Clock, heard: Feeds, note: Callable[..., None]
) -> None:
    note("m", "half_start", "goal", whistle)
    clock.now += 2 * SILENT_S
    note("m", "substitution")
    clock.now += 2 * SILENT_S
    assert heard.silent() == (0, 0.0)
    note("m", "half_start")
    clock.now += SILENT_S
    assert heard.silent() == (1, SILENT_S)


def test_a_match_whose_end_is_never_told_is_given_up(clock: Clock, heard: Feeds, note: Callable[..., None]) -> None:
    note("m", "pass")
    clock.now += GIVEN_UP_S
    assert heard.silent() == (1, GIVEN_UP_S)
    clock.now += 1
    assert heard.silent() == (0, 0.0)


def test_those_heard_of_longest_ago_are_forgotten(
    heard: Feeds, note: Callable[..., None], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MATCHES_MAX", 2)
    for match_id in ("a", "b", "a", "c"):
        note(match_id, "pass")
    clock.now += SILENT_S
    assert heard.silent()[0] == 2
    note("a", "pass")
    assert heard.silent()[0] == 1, "a was kept, because b was the one heard of longest ago"
