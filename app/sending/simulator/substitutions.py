"""Substitutions: few before the hour, most in the last half hour, never more than the laws allow."""

import random
from collections.abc import Iterator
from typing import Final

from app.sending.simulator.game import Game, PlayEvent
from app.sending.simulator.teams import RUNNING, Player, Team

_COUNTS: Final = (3, 4, 5)
_COUNT_WEIGHTS: Final = (18, 32, 50)
_AT_HALF_TIME: Final = 0.2
_HALF_TIME: Final = 0.5
_EXTRA_TIME: Final = 0.85
"""Chance that a team makes use of the further substitution that extra time allows."""
_GIVES_UP: Final = 0.3
"""Share of the injured players who cannot go on."""
_CHANGE_COSTS_S: Final = 14.0
_NEW_SHAPE: Final = 0.06
_SHAPES: Final = ("4-4-2", "4-3-3", "4-2-3-1", "3-5-2", "5-3-2")


def plan_changes(rng: random.Random) -> list[float]:
    """Return the shares of the match at which a team replaces a player: up to five players, at four moments at most."""
    count = rng.choices(_COUNTS, _COUNT_WEIGHTS)[0]
    plan = [_HALF_TIME] if rng.random() < _AT_HALF_TIME else []
    moments = sorted(rng.triangular(0.58, 0.97, 0.78) for _ in range(rng.choice((2, 3, 3))))
    plan += moments[: count - len(plan)]
    while len(plan) < count:
        plan.append(rng.choice(moments))
    return sorted(plan)


def plan_extra_change(rng: random.Random, team: Team) -> None:
    """Add the substitution that extra time allows."""
    if rng.random() < _EXTRA_TIME:
        team.changes.append(rng.uniform(1.02, 1.3))


def changes(game: Game) -> Iterator[PlayEvent]:
    """Make the changes that are due, while the ball is out of play."""
    share = game.period.share(game.now_s)
    for team in (game.home, game.away):
        while team.changes and team.changes[0] <= share:
            team.changes.pop(0)
            yield _change(game, team, team.pick(game.rng, RUNNING))
            game.wait(3, 12)
            if game.rng.random() < _NEW_SHAPE:
                shape = game.rng.choice(_SHAPES)
                yield game.act("formation_change", team, team.pick(game.rng, RUNNING), formation=shape)


def replace_injured(game: Game, player: Player) -> Iterator[PlayEvent]:
    """Replace a hurt player of the attacking team who cannot go on, in place of the next change that was planned."""
    team = game.attacking
    if team.changes and game.rng.random() < _GIVES_UP:
        team.changes.pop(0)
        yield _change(game, team, player)
        game.wait(5, 15)


def _change(game: Game, team: Team, leaves: Player) -> PlayEvent:
    game.lost_s += _CHANGE_COSTS_S
    comes = team.replace(leaves)
    return game.act("substitution", team, leaves, replacement=comes.name, replacementId=comes.id)
