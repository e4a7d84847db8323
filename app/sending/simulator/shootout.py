"""A shoot-out: five kicks each, in turn, then one each until one team alone has scored."""

from collections.abc import Iterator
from typing import Final

from app.sending.simulator.game import Game, PlayEvent
from app.sending.simulator.shots import PENALTY_SPOT
from app.sending.simulator.teams import SHOOTING, Player, Team

_SCORED: Final = 0.74
_KICKS: Final = 5
_SAVED: Final = 0.65
"""Share of the missed kicks."""


def shoot_out(game: Game) -> Iterator[PlayEvent]:
    """Yield the kicks until it is decided. Both teams have as many takers, the surest first, the goalkeepers last."""
    first, second = game.rng.sample((game.home, game.away), 2)
    takers = _takers(game, first, second)
    scored = {first.id: 0, second.id: 0}
    taken = 0
    while not _is_decided(scored[first.id], scored[second.id], taken):
        team = second if taken % 2 else first
        game.attacking = team
        game.place(*PENALTY_SPOT)
        game.wait(35, 55)
        order = takers[team.id]
        taker = order[taken // 2 % len(order)]
        if game.rng.random() < _SCORED:
            scored[team.id] += 1
            yield game.act("shootout_goal", team, taker)
        else:
            outcome = "saved" if game.rng.random() < _SAVED else "off target"
            yield game.act("shootout_miss", team, taker, outcome=outcome)
        taken += 1


def _takers(game: Game, *teams: Team) -> dict[str, list[Player]]:
    size = min(len(team.on_pitch) for team in teams)
    orders = {}
    for team in teams:
        nerve = {player.id: SHOOTING[player.role] * game.rng.uniform(0.5, 1.5) for player in team.on_pitch}
        orders[team.id] = sorted(team.on_pitch, key=lambda player: -nerve[player.id])[:size]
    return orders


def _is_decided(first: int, second: int, taken: int) -> bool:
    """Say whether the team behind cannot draw level any more, with the kicks that it has left."""
    if taken >= 2 * _KICKS:
        return taken % 2 == 0 and first != second
    first_left, second_left = _KICKS - (taken + 1) // 2, _KICKS - taken // 2
    return first > second + second_left or second > first + first_left
