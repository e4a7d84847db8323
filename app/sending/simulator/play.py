"""The course of a period: one spell of possession after another, and how each of them ends.

The rates are chosen so that matches have on average what ``docs/SIMULATOR.md`` gives, which a test measures.
"""

import random
from bisect import bisect
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from app.sending.simulator.fouls import foul, no_penalty, penalty
from app.sending.simulator.game import Game, PlayEvent
from app.sending.simulator.shots import corner, draw_spot, goal_kick, own_goal, shot
from app.sending.simulator.substitutions import changes
from app.sending.simulator.teams import DEFENDING, PASSING, RUNNING

_MEAN_STEPS: Final = 8.0
"""Passes, carries and the like of one spell of possession."""
_STEP_S: Final = 1.68
"""Mean time between two of them, beside the least time."""
_LEAST_S: Final = 0.35
_FINAL_THIRD: Final = 66.0
_SHOT: Final = 0.25
"""Share of the spells ending in the final third that end with a shot, for an average team half-way through."""
_COMES_TO_NOTHING: Final = 0.3
"""Share of the other such spells that lead in front of the goal, too."""
_LIVELIER: Final = (0.68, 0.64)
"""The share at the start of the match, and what is added until its end, as multiples."""
_STOPPAGE_S: Final = 10.0
"""Stoppage time of a half of 45 minutes in which nothing was lost by an event."""

_Ending = Callable[[Game], Iterator[PlayEvent]]


def play(game: Game) -> Iterator[PlayEvent]:
    """Yield a period's events in the order of time; it ends behind the last spell that began within stoppage time."""
    regular_s = game.period.end_s
    standard_s = _STOPPAGE_S * game.period.length_s / 2700
    game.lost_s = 0.0
    yield from changes(game)
    game.place(50.0, 50.0)
    yield game.act("pass", game.attacking, game.attacking.pick(game.rng, RUNNING))
    while game.now_s < regular_s + standard_s + game.lost_s:
        yield from _spell(game)


def _spell(game: Game) -> Iterator[PlayEvent]:
    rng = game.rng
    for _ in range(1 + int(rng.expovariate(1 / _MEAN_STEPS))):
        game.now_s += _LEAST_S + rng.expovariate(1 / _STEP_S)
        yield _step(game)
    game.wait(0.4, 2.0)
    if game.x > _FINAL_THIRD:
        begin, more = _LIVELIER
        share = _SHOT * game.attacking.strength * (begin + more * game.period.share(game.now_s))
        shoots = rng.random() < share
        if shoots or rng.random() < _COMES_TO_NOTHING:
            yield from _attack(game)
        if shoots:
            yield from shot(game, draw_spot(rng))
        else:
            yield from _draw(rng, _NEAR_GOAL)(game)
    else:
        yield from _draw(rng, _ELSEWHERE)(game)


def _attack(game: Game) -> Iterator[PlayEvent]:
    """Play the last touches in front of the goal, which the fans hold their breath at."""
    for _ in range(game.rng.choice((2, 3, 4))):
        game.place(game.rng.uniform(79, 92), game.rng.uniform(18, 82))
        kind = game.rng.choice(("pass", "pass", "dribble", "carry"))
        player = game.attacking.pick(game.rng, RUNNING)
        yield game.act(kind, game.attacking, player)
        game.passer = player if kind == "pass" else game.passer
        game.wait(1.0, 2.6)


def _step(game: Game) -> PlayEvent:
    """Return one step of a spell: mostly passes, forward more than back."""
    rng = game.rng
    kind = rng.random()
    team = game.attacking
    if kind < 0.57:
        game.passer = team.pick(rng, PASSING)
        event = game.act("pass", team, game.passer)
        game.x += rng.gauss(3.0, 11.0)
        game.y += rng.gauss(0.0, 15.0)
        game.x, game.y = min(97.0, max(2.0, game.x)), min(98.5, max(1.5, game.y))
        return event
    if kind < 0.83:
        event = game.act("carry", team, team.pick(rng, RUNNING))
        game.x = min(97.0, game.x + rng.random() * 7.0)
        return event
    if kind < 0.955:
        return game.act("pressure", game.defending, game.defending.pick(rng, RUNNING))
    return game.act("dribble" if kind < 0.975 else "duel", team, team.pick(rng, RUNNING))


def _interception(game: Game) -> Iterator[PlayEvent]:
    yield game.act("interception", game.defending, game.defending.pick(game.rng, DEFENDING))
    game.turn_over()


def _tackle(game: Game) -> Iterator[PlayEvent]:
    yield game.act("tackle", game.defending, game.defending.pick(game.rng, DEFENDING))
    yield from _recovery(game)


def _clearance(game: Game) -> Iterator[PlayEvent]:
    yield game.act("clearance", game.defending, game.defending.pick(game.rng, DEFENDING))
    yield from _recovery(game)


def _miscontrol(game: Game) -> Iterator[PlayEvent]:
    yield game.act("miscontrol", game.attacking, game.attacking.pick(game.rng, RUNNING))
    yield from _recovery(game)


def _recovery(game: Game) -> Iterator[PlayEvent]:
    game.turn_over()
    game.wait(0.6, 2.5)
    yield game.act("recovery", game.attacking, game.attacking.pick(game.rng, RUNNING))


def _throw_in(game: Game) -> Iterator[PlayEvent]:
    game.place(game.x, game.rng.choice((0.5, 99.5)))
    yield game.act("ball_out", game.attacking, game.attacking.pick(game.rng, RUNNING))
    if game.rng.random() < 0.55:
        game.turn_over()
    yield from changes(game)
    game.wait(6, 18)
    yield game.act("throw_in", game.attacking, game.attacking.pick(game.rng, DEFENDING))


def _out_behind(game: Game) -> Iterator[PlayEvent]:
    yield game.act("ball_out", game.attacking, game.attacking.pick(game.rng, PASSING))
    yield from changes(game)
    yield from goal_kick(game)


def _claimed(game: Game) -> Iterator[PlayEvent]:
    yield game.act("goalkeeper", game.defending, game.defending.keeper)
    game.turn_over()


def _offside(game: Game) -> Iterator[PlayEvent]:
    yield game.act("offside", game.attacking, game.attacking.pick(game.rng, RUNNING))
    game.wait(14, 30)
    game.turn_over()
    yield game.act("free_kick", game.attacking, game.attacking.pick(game.rng, DEFENDING))


def _behind(game: Game) -> Iterator[PlayEvent]:
    yield game.act("block", game.defending, game.defending.pick(game.rng, DEFENDING))
    yield from corner(game)


def _table(weights: dict[_Ending, float]) -> tuple[list[_Ending], list[float]]:
    return list(weights), list(accumulate(weights.values()))


def _draw(rng: random.Random, table: tuple[list[_Ending], list[float]]) -> _Ending:
    endings, sums = table
    return endings[bisect(sums, rng.random() * sums[-1])]


_NEAR_GOAL: Final = _table(
    {
        _interception: 9.0, _tackle: 8.0, _clearance: 22.0, _miscontrol: 6.0, _throw_in: 17.0, _out_behind: 7.0,
        _claimed: 6.0, _offside: 5.0, _behind: 9.8, foul: 9.0, penalty: 0.5, no_penalty: 0.05, own_goal: 0.12,
    }
)  # fmt: skip
"""Ends of spells in the final third that are no shots, and their weights."""
_ELSEWHERE: Final = _table(
    {
        _interception: 19.0, _tackle: 17.0, _clearance: 8.0, _miscontrol: 13.0, _throw_in: 26.0, _out_behind: 2.0,
        _offside: 0.7, foul: 16.4,
    }
)  # fmt: skip
