"""Invented clubs and players, and which of them is likely to do what."""

import random
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

import attrs

_CLUBS: Final = (
    "Al-Qamar", "Al-Sahra", "Al-Marjan", "Al-Waha", "Port Aster", "Northgate Rovers", "Rio Bravo FC",
    "Vale United", "Sporting Lumen", "Kestrel Town", "Harbour City", "FC Arlen",
)  # fmt: skip
_FIRST: Final = (
    "Adel", "Bilal", "Carlos", "Dario", "Emre", "Faisal", "Gabriel", "Hamad", "Ivan", "Jonas", "Khalid",
    "Luca", "Majed", "Nawaf", "Omar", "Pavel", "Rashid", "Salem", "Tomas", "Yasin",
)  # fmt: skip
_LAST: Final = (
    "Almeida", "Bakri", "Costa", "Darwish", "Eriksen", "Fahad", "Ghanem", "Hadley", "Ibarra", "Jaber",
    "Kovac", "Lindqvist", "Mansour", "Nasser", "Okoro", "Petrov", "Qasim", "Rahal", "Silva", "Toure", "Varga",
    "Zahrani",
)  # fmt: skip
KEEPER: Final = "keeper"
_ON_PITCH: Final = (KEEPER, *["defender"] * 4, *["midfielder"] * 4, *["forward"] * 2)
_BENCH: Final = (KEEPER, *["defender"] * 2, *["midfielder"] * 2, *["forward"] * 2)
_FEWEST: Final = 8
"""Players that a team keeps: with fewer than seven a match would be abandoned."""
_STRENGTHS_APART: Final = 0.2
"""How far apart the strengths of teams are: standard deviation of the logarithm."""
_HOME_ADVANTAGE: Final = 1.35
"""Strength of a home team by strength of as good a team away."""
_SHORT_HANDED: Final = 0.75
"""Share of its strength that a team keeps when a player is sent off."""

_Weights = Mapping[str, float]
SHOOTING: Final[_Weights] = {KEEPER: 0.0, "defender": 1.0, "midfielder": 2.5, "forward": 6.0}
DEFENDING: Final[_Weights] = {KEEPER: 0.0, "defender": 3.0, "midfielder": 3.0, "forward": 1.2}
PASSING: Final[_Weights] = {KEEPER: 1.0, "defender": 3.0, "midfielder": 3.5, "forward": 1.8}
RUNNING: Final[_Weights] = {KEEPER: 0.0, "defender": 2.0, "midfielder": 3.0, "forward": 2.5}


@attrs.frozen
class Player:
    """One player; ``role`` says which share of the shots, passes and fouls is his."""

    id: str
    name: str
    role: str


@attrs.define
class Team:
    """A team during a match.

    Attributes:
        strength: its shots, as a multiple of an average team's.
        on_pitch: the goalkeeper first.
        bench: who can still come on.
        booked: ids of players who were shown a yellow card.
        goals: that stand, own goals of the other team among them, kicks of a shoot-out not.
        changes: shares of the match at which a player is to be replaced, earliest first.
    """

    id: str
    name: str
    strength: float
    on_pitch: list[Player]
    bench: list[Player]
    booked: set[str] = attrs.field(factory=set)
    goals: int = 0
    changes: list[float] = attrs.field(factory=list)
    _chances: dict[int, list[float]] = attrs.field(factory=dict, init=False)

    @property
    def keeper(self) -> Player:
        """The goalkeeper, who is never replaced or sent off."""
        return self.on_pitch[0]

    def pick(self, rng: random.Random, weights: _Weights) -> Player:
        """Draw the player who does something that players of each role do as often as the weights say."""
        # Added up once for each line-up, because this is called for nearly every event.
        chances = self._chances.get(id(weights))
        if chances is None:
            chances = list(accumulate(weights[player.role] for player in self.on_pitch))
            self._chances[id(weights)] = chances
        return self.on_pitch[bisect(chances, rng.random() * chances[-1])]

    def send_off(self, player: Player) -> bool:
        """Take a player off for good; False, and nothing else, where too few would be left."""
        if len(self.on_pitch) <= _FEWEST:
            return False
        self.on_pitch.remove(player)
        self.strength *= _SHORT_HANDED
        self._chances.clear()
        return True

    def replace(self, leaves: Player) -> Player:
        """Put a player of the bench in the place of one on the pitch, of the same role where there is one."""
        fresh = [player for player in self.bench if player.role != KEEPER]
        comes = next((player for player in fresh if player.role == leaves.role), fresh[0])
        self.bench.remove(comes)
        self.on_pitch[self.on_pitch.index(leaves)] = comes
        self._chances.clear()
        return comes


def draw_teams(rng: random.Random) -> tuple[Team, Team]:
    """Return a home and an away team with squads of 18."""
    home, away = rng.sample(range(len(_CLUBS)), 2)
    advantage = _HOME_ADVANTAGE**0.5
    return _team(rng, home, advantage), _team(rng, away, 1 / advantage)


def _team(rng: random.Random, index: int, advantage: float) -> Team:
    roles = _ON_PITCH + _BENCH
    names = rng.sample([f"{first} {last}" for first in _FIRST for last in _LAST], len(roles))
    squad = [
        Player(id=f"{index + 1}{number:02d}", name=name, role=role)
        for number, (name, role) in enumerate(zip(names, roles, strict=True), start=1)
    ]
    return Team(
        id=str(index + 1),
        name=_CLUBS[index],
        strength=advantage * rng.lognormvariate(0, _STRENGTHS_APART),
        on_pitch=squad[: len(_ON_PITCH)],
        bench=squad[len(_ON_PITCH) :],
    )
