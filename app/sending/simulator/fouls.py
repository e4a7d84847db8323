"""Fouls, and what follows: free kicks, cards, penalties, injuries, now and then the video referee."""

from collections.abc import Iterator
from typing import Final

from app.sending.simulator.game import Game, PlayEvent
from app.sending.simulator.shots import draw_spot, penalty_kick, shot
from app.sending.simulator.substitutions import replace_injured
from app.sending.simulator.teams import DEFENDING, PASSING, RUNNING, Player

_BOOKED: Final = 0.19
"""Share of the fouls for which a player without a card gets a yellow one; later fouls are punished harder."""
_HELD_BACK: Final = 0.24
"""Share of those for which a player who was booked before gets the second: he takes care, and referees hesitate."""
_SENT_OFF: Final = 0.0042
"""Share of the fouls for which there is a red card at once."""
_INJURED: Final = 0.035
_DIRECT: Final = 0.32
"""Share of the free kicks near the goal that are shots."""
_NEAR: Final = 72.0
_PENALTY_BY_VIDEO: Final = 0.3
_CARD_COSTS_S: Final = 15.0


def foul(game: Game) -> Iterator[PlayEvent]:
    """Play a foul against the attacking team, and its free kick."""
    fouled = game.attacking.pick(game.rng, RUNNING)
    offender = game.defending.pick(game.rng, DEFENDING)
    yield game.act("foul", game.defending, offender)
    yield from _card(game, offender, 1.0)
    if game.rng.random() < _INJURED:
        yield from _injury(game, fouled)
    game.wait(14, 38)
    yield game.act("free_kick", game.attacking, game.attacking.pick(game.rng, PASSING))
    if game.x > _NEAR and game.rng.random() < _DIRECT:
        game.passer = None
        game.wait(0.8, 2.0)
        yield from shot(game, draw_spot(game.rng, nearest_m=9.0, mean_m=21.0))


def penalty(game: Game) -> Iterator[PlayEvent]:
    """Play a foul in front of the goal, the award, sometimes by the video referee only, and the kick."""
    game.place(game.rng.uniform(86, 96), game.rng.uniform(26, 74))
    fouled = game.attacking.pick(game.rng, RUNNING)
    offender = game.defending.pick(game.rng, DEFENDING)
    yield game.act("foul", game.defending, offender)
    before_s = game.now_s
    if game.rng.random() < _PENALTY_BY_VIDEO:
        game.wait(55, 120)
        yield game.act("var_review", game.attacking, fouled, outcome="penalty given")
    game.wait(1, 4)
    yield game.act("penalty", game.attacking, fouled)
    yield from _card(game, offender, 1.5)
    game.wait(50, 80)
    game.lost_s += (game.now_s - before_s) * 0.7
    yield from penalty_kick(game)


def no_penalty(game: Game) -> Iterator[PlayEvent]:
    """Play a duel in front of the goal that the video referee lets pass."""
    game.place(game.rng.uniform(86, 96), game.rng.uniform(26, 74))
    player = game.attacking.pick(game.rng, RUNNING)
    yield game.act("duel", game.attacking, player)
    game.wait(50, 110)
    game.lost_s += 60
    yield game.act("var_review", game.attacking, player, outcome="no penalty")
    game.turn_over()


def _card(game: Game, offender: Player, severity: float) -> Iterator[PlayEvent]:
    team = game.defending
    booked = offender.id in team.booked
    chance = _BOOKED * severity * (0.7 + 0.6 * game.period.share(game.now_s)) * (_HELD_BACK if booked else 1.0)
    fate = game.rng.random()
    if fate >= chance + _SENT_OFF:
        return
    game.wait(6, 18)
    game.lost_s += _CARD_COSTS_S
    if fate < chance and not booked:
        team.booked.add(offender.id)
        yield game.act("yellow_card", team, offender)
    elif team.send_off(offender):
        game.lost_s += _CARD_COSTS_S
        if fate < chance:
            yield game.act("card", team, offender, card="second_yellow")
        else:
            yield game.act("red_card", team, offender)


def _injury(game: Game, player: Player) -> Iterator[PlayEvent]:
    yield game.act("injury", game.attacking, player)
    before_s = game.now_s
    game.wait(40, 110)
    game.lost_s += game.now_s - before_s
    yield from replace_injured(game, player)
