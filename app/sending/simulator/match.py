"""The whole match: play and fans merged in the order of time, as events of the service."""

import random
from collections.abc import Iterator
from typing import Any, Final

import attrs

from app.sending.simulator.clock import PlannedPeriod
from app.sending.simulator.fans import Crowd
from app.sending.simulator.game import Game, PlayEvent, new_id
from app.sending.simulator.play import play
from app.sending.simulator.shootout import shoot_out
from app.sending.simulator.substitutions import plan_changes, plan_extra_change
from app.sending.simulator.teams import Team, draw_teams

_HALF_SHARE: Final = 1 / 2
_EXTRA_SHARE: Final = 1 / 6
"""Lengths of the halves, of the match and of extra time, as shares of the playing time."""
_HALF_TIME: Final = 15 / 90
_BEFORE_EXTRA_TIME: Final = 5 / 90
_WITHIN_EXTRA_TIME: Final = 1 / 90
_BEFORE_SHOOT_OUT: Final = 4 / 90
_BEFORE_KICK_OFF: Final = 5 / 90
"""Breaks, and how long before kick-off the first fans come, as shares of the playing time."""


@attrs.define
class Moment:
    """One event of the match, without a timestamp. ``offset_s``: seconds since kick-off, never going back.

    It is negative for what fans send before kick-off.
    """

    offset_s: float
    event: dict[str, Any]


def simulate_match(
    rng: random.Random,
    *,
    match_id: str,
    minutes: float = 90,
    fans_per_minute: float = 60,
    knockout: bool = False,
) -> Iterator[Moment]:
    """Yield a match's events in the order of time.

    Args:
        rng: the only source of chance; the same state gives the same match, ids included. What the teams do does not
            depend on ``fans_per_minute``, nor what they do in 90 minutes on ``knockout``.
        match_id: ``matchId`` of every event.
        minutes: of play, in two halves with a break between them; stoppage time and extra time are added.
        fans_per_minute: fan events a minute while nothing happens.
        knockout: whether a draw goes on to extra time, and then to a shoot-out.
    """
    game_rng, crowd_rng = random.Random(rng.getrandbits(64)), random.Random(rng.getrandbits(64))
    crowd = Crowd(crowd_rng, fans_per_minute)
    now_s = -_BEFORE_KICK_OFF * minutes * 60
    for action in _course(game_rng, minutes, knockout=knockout):
        for offset_s, event_type, metadata in crowd.between(now_s, action.offset_s):
            yield Moment(
                offset_s,
                {"eventId": new_id(crowd_rng), "matchId": match_id, "eventType": event_type, "metadata": metadata},
            )
        now_s = action.offset_s
        yield Moment(now_s, _event(action, match_id))
        crowd.notice(action)


def _course(rng: random.Random, minutes: float, *, knockout: bool) -> Iterator[PlayEvent]:
    home, away = draw_teams(rng)
    for team in (home, away):
        team.changes = plan_changes(rng)
    seconds = minutes * 60
    game = Game(rng, home, away, PlannedPeriod(1, 0.0, seconds * _HALF_SHARE), attacking=rng.choice((home, away)))
    first = game.attacking
    competition = "Simulated Cup" if knockout else "Simulated League"
    yield game.note("match_start", home=_side(home), away=_side(away), competition=competition)
    yield from _half(game, first)
    _next_period(game, seconds * _HALF_TIME, seconds * _HALF_SHARE)
    yield from _half(game, _other(game, first))
    if knockout and home.goals == away.goals:
        yield from _extra_time(game, seconds)
    yield game.note("match_end")


def _extra_time(game: Game, seconds: float) -> Iterator[PlayEvent]:
    for team in (game.home, game.away):
        plan_extra_change(game.rng, team)
    first = game.rng.choice((game.home, game.away))
    _next_period(game, seconds * _BEFORE_EXTRA_TIME, seconds * _EXTRA_SHARE)
    yield from _half(game, first)
    _next_period(game, seconds * _WITHIN_EXTRA_TIME, seconds * _EXTRA_SHARE)
    yield from _half(game, _other(game, first))
    if game.home.goals == game.away.goals:
        _next_period(game, seconds * _BEFORE_SHOOT_OUT, 0.0)
        yield from shoot_out(game)
        game.wait(3, 8)


def _half(game: Game, kicks_off: Team) -> Iterator[PlayEvent]:
    game.attacking = kicks_off
    yield game.note("half_start")
    yield from play(game)
    yield game.note("half_end")


def _next_period(game: Game, break_s: float, length_s: float) -> None:
    game.now_s += break_s
    game.period = PlannedPeriod(game.period.number + 1, game.now_s, length_s)


def _other(game: Game, team: Team) -> Team:
    return game.away if team is game.home else game.home


def _side(team: Team) -> dict[str, str]:
    return {"id": team.id, "name": team.name}


def _event(action: PlayEvent, match_id: str) -> dict[str, Any]:
    event: dict[str, Any] = {"eventId": action.event_id, "matchId": match_id, "eventType": action.event_type}
    if action.team is not None:
        event["teamId"] = action.team.id
    if action.player is not None:
        event["playerId"] = action.player.id
    event["metadata"] = action.metadata
    return event
