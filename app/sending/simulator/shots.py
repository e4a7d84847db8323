"""Where shots come from, what becomes of them, and what follows: goals, corners, the video referee."""

import math
import random
from collections.abc import Iterator
from typing import Final

from app.sending.simulator.game import Game, PlayEvent
from app.sending.simulator.teams import DEFENDING, PASSING, SHOOTING, Player

LENGTH_M: Final = 105.0
WIDTH_M: Final = 68.0
PENALTY_SPOT: Final = (100 * (1 - 11 / LENGTH_M), 50.0)
_FARTHEST_M: Final = 38.0
_SAVED: Final = 0.255
_BLOCKED: Final = 0.29
"""Shares of the shots that miss the goal; the others go wide."""
_PENALTY_SCORED: Final = 0.765
_PENALTY_SAVED: Final = 0.7
"""Share of the missed penalties."""
_CORNER_AFTER_SAVE: Final = 0.22
_CORNER_AFTER_BLOCK: Final = 0.33
_REVIEWED: Final = 0.085
"""Share of the goals that the video referee looks at for long enough that the match waits."""
_DISALLOWED: Final = 0.55
_ASSISTED: Final = 0.76
_GOAL_COSTS_S: Final = 38.0


def draw_spot(rng: random.Random, *, nearest_m: float = 4.0, mean_m: float = 17.4) -> tuple[float, float]:
    """Return where a shot comes from, as ``x`` and ``y``: seldom from beyond 30 m, never from beside the goal."""
    distance_m = math.inf
    while distance_m > _FARTHEST_M:
        distance_m = nearest_m + rng.gammavariate(4.0, (mean_m - nearest_m) / 4.0)
    angle = max(-1.0, min(1.0, rng.gauss(0, 0.5)))
    x_m = LENGTH_M - distance_m * math.cos(angle)
    y_m = WIDTH_M / 2 + distance_m * math.sin(angle)
    return 100 * x_m / LENGTH_M, 100 * y_m / WIDTH_M


def chance_of_goal(x: float, y: float) -> float:
    """Return the chance that a shot in play from there is a goal: it falls with the distance and the angle."""
    along_m, across_m = LENGTH_M * (100 - x) / 100, WIDTH_M * (y - 50) / 100
    distance_m = math.hypot(along_m, across_m)
    return 0.72 * math.exp(-distance_m / 7.5) * (0.4 + 0.6 * along_m / max(distance_m, 0.1))


def shot(game: Game, spot: tuple[float, float]) -> Iterator[PlayEvent]:
    """Play a shot, and what follows until the ball is in play again or a period could end."""
    game.place(*spot)
    shooter = game.attacking.pick(game.rng, SHOOTING)
    yield game.act("shot", game.attacking, shooter)
    chance = chance_of_goal(*spot)
    game.wait(0.5, 1.6)
    if game.rng.random() < chance:
        yield from _goal(game, shooter)
        return
    fate = game.rng.random()
    if fate < _SAVED:
        yield from _save(game)
    elif fate < _SAVED + _BLOCKED:
        yield game.act("block", game.defending, game.defending.pick(game.rng, DEFENDING))
        yield from _corner_or_loss(game, _CORNER_AFTER_BLOCK)
    else:
        yield from _wide(game, shooter)


def penalty_kick(game: Game) -> Iterator[PlayEvent]:
    """Play the kick from the spot that a ``penalty`` awarded."""
    game.place(*PENALTY_SPOT)
    taker = max(game.attacking.on_pitch, key=lambda player: (SHOOTING[player.role], player.id))
    yield game.act("shot", game.attacking, taker, penalty=True)
    game.wait(0.5, 1.0)
    if game.rng.random() < _PENALTY_SCORED:
        yield from _goal(game, taker, penalty=True)
    elif game.rng.random() < _PENALTY_SAVED:
        yield from _save(game)
    else:
        yield from _wide(game, taker)


def corner(game: Game) -> Iterator[PlayEvent]:
    """Play a corner and what comes of it in front of the goal."""
    game.wait(18, 34)
    game.place(99.5, game.rng.choice((0.5, 99.5)))
    taker = game.attacking.pick(game.rng, PASSING)
    yield game.act("corner", game.attacking, taker)
    game.passer = taker
    game.wait(1.5, 3.5)
    game.place(game.rng.uniform(88, 96), game.rng.uniform(38, 62))
    fate = game.rng.random()
    if fate < 0.3:
        yield from shot(game, draw_spot(game.rng, nearest_m=3.5, mean_m=9.5))
    elif fate < 0.68:
        yield game.act("clearance", game.defending, game.defending.pick(game.rng, DEFENDING))
        yield from _corner_or_loss(game, 0.12)
    elif fate < 0.82:
        yield game.act("goalkeeper", game.defending, game.defending.keeper)
        game.turn_over()
    else:
        game.place(game.rng.uniform(82, 92), game.rng.uniform(20, 80))
        yield game.act("pass", game.attacking, game.attacking.pick(game.rng, PASSING))


def own_goal(game: Game) -> Iterator[PlayEvent]:
    """Play a cross that a defender puts into his own goal; the event is his team's, the goal the other team's."""
    game.place(game.rng.uniform(84, 96), game.rng.uniform(12, 30))
    yield game.act("pass", game.attacking, game.attacking.pick(game.rng, PASSING))
    game.wait(1, 2)
    game.place(game.rng.uniform(94, 98), game.rng.uniform(44, 56))
    yield game.act("own_goal", game.defending, game.defending.pick(game.rng, DEFENDING))
    game.attacking.goals += 1
    yield from kick_off(game)


def kick_off(game: Game) -> Iterator[PlayEvent]:
    """Wait for the celebrations to end, and let the team that conceded kick off."""
    game.lost_s += _GOAL_COSTS_S
    game.wait(40, 70)
    game.turn_over()
    game.place(50.0, 50.0)
    yield game.act("pass", game.attacking, game.attacking.pick(game.rng, SHOOTING))


def _goal(game: Game, scorer: Player, *, penalty: bool = False) -> Iterator[PlayEvent]:
    team = game.attacking
    goal = game.act("goal", team, scorer)
    if penalty:
        goal.metadata["penalty"] = True
    elif game.passer not in (None, scorer) and game.passer in team.on_pitch and game.rng.random() < _ASSISTED:
        goal.metadata["assist"] = game.passer.name
    team.goals += 1
    yield goal
    if penalty or game.rng.random() >= _REVIEWED:
        yield from kick_off(game)
        return
    before_s = game.now_s
    game.wait(50, 120)
    disallowed = game.rng.random() < _DISALLOWED
    yield game.act("var_review", team, scorer, outcome="goal disallowed" if disallowed else "goal stands")
    game.lost_s += game.now_s - before_s
    if not disallowed:
        yield from kick_off(game)
        return
    game.wait(1, 4)
    team.goals -= 1
    yield game.note("retraction", team, eventId=goal.event_id, reason="var")
    game.wait(15, 30)
    game.turn_over()
    yield game.act("free_kick", game.attacking, game.attacking.pick(game.rng, PASSING))


def _save(game: Game) -> Iterator[PlayEvent]:
    yield game.act("save", game.defending, game.defending.keeper)
    yield from _corner_or_loss(game, _CORNER_AFTER_SAVE)


def _wide(game: Game, shooter: Player) -> Iterator[PlayEvent]:
    yield game.act("ball_out", game.attacking, shooter)
    yield from goal_kick(game)


def goal_kick(game: Game) -> Iterator[PlayEvent]:
    """Let the goalkeeper of the defending team bring the ball back into play."""
    game.wait(14, 32)
    game.turn_over()
    game.place(5.5, 50.0)
    yield game.act("goalkeeper", game.attacking, game.attacking.keeper)


def _corner_or_loss(game: Game, share: float) -> Iterator[PlayEvent]:
    if game.rng.random() < share:
        yield from corner(game)
    else:
        game.turn_over()
