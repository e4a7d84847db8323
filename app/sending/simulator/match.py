"""The whole match: play and fans merged in the order of time, as events of the service."""

import random
from collections.abc import Iterator
from typing import Any, Final

import attrs

from app.sending.simulator.fans import Crowd
from app.sending.simulator.play import Play, PlayEvent, new_id
from app.sending.simulator.teams import Team, draw_teams

_BREAK_SHARE: Final = 15 / 90
"""Half-time as a share of the playing time."""


@attrs.frozen
class Moment:
    """One event of the match, without a timestamp. ``offset_s``: seconds since kick-off, never going back."""

    offset_s: float
    event: dict[str, Any]


def match_length_s(minutes: float) -> float:
    """Return how long a match of ``minutes`` of play lasts with its break, in s."""
    return minutes * 60 * (1 + _BREAK_SHARE)


def simulate_match(
    rng: random.Random, *, match_id: str, minutes: float = 90, fans_per_minute: float = 60
) -> Iterator[Moment]:
    """Yield a match's events in the order of time.

    Args:
        rng: the only source of chance; the same state gives the same match, ids included.
        match_id: ``matchId`` of every event.
        minutes: of play, in two halves with a break between them.
        fans_per_minute: fan events a minute while nothing happens.
    """
    home, away = draw_teams(rng)
    crowd = Crowd(rng, fans_per_minute)
    now_s = 0.0
    for action in _course(rng, home, away, minutes):
        for offset_s, event_type, metadata in crowd.between(now_s, action.offset_s):
            fan_event = {"eventId": new_id(rng), "matchId": match_id, "eventType": event_type}
            yield Moment(offset_s, fan_event | {"metadata": metadata})
        now_s = action.offset_s
        yield Moment(now_s, _event(action, match_id))
        crowd.notice(now_s, action.event_type)


def _course(rng: random.Random, home: Team, away: Team, minutes: float) -> Iterator[PlayEvent]:
    half_s, length_s = minutes * 30, match_length_s(minutes)
    second_s = length_s - half_s

    def minute(offset_s: float) -> int:
        played_s = min(offset_s, half_s) if offset_s < second_s else offset_s - second_s + half_s
        return int(played_s // 60) + 1

    play = Play(rng, home, away, share=lambda offset_s: offset_s / length_s, minute=minute)
    sides = {"home": {"id": home.id, "name": home.name}, "away": {"id": away.id, "name": away.name}}

    def frame(offset_s: float, event_type: str, metadata: dict[str, Any]) -> PlayEvent:
        return PlayEvent(new_id(rng), offset_s, event_type, metadata={"minute": minute(offset_s)} | metadata)

    yield frame(0.0, "match_start", sides | {"competition": "Simulated League"})
    yield frame(0.0, "half_start", {})
    yield from play.half(0.0, half_s)
    yield frame(half_s, "half_end", {})
    yield frame(second_s, "half_start", {})
    yield from play.half(second_s, length_s)
    yield frame(length_s, "half_end", {})
    yield frame(length_s, "match_end", {})


def _event(action: PlayEvent, match_id: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        "eventId": action.event_id,
        "matchId": match_id,
        "eventType": action.event_type,
    }
    if action.team is not None:
        event["teamId"] = action.team.id
    if action.player is not None:
        event["playerId"] = action.player.id
    return event | {"metadata": action.metadata}
