"""Invented clubs and players."""

import random
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
_SQUAD: Final = 18
_ON_PITCH: Final = 11


@attrs.frozen
class Player:
    """One player; the first of a squad keeps goal."""

    id: str
    name: str


@attrs.define
class Team:
    """A team during a match: who is on the pitch (goalkeeper first), who can come on, who was booked."""

    id: str
    name: str
    on_pitch: list[Player]
    bench: list[Player]
    booked: set[str] = attrs.field(factory=set)


def draw_teams(rng: random.Random) -> tuple[Team, Team]:
    """Return a home and an away team with squads of 18."""
    home, away = rng.sample(range(len(_CLUBS)), 2)
    return _team(rng, home), _team(rng, away)


def _team(rng: random.Random, index: int) -> Team:
    names = rng.sample([f"{first} {last}" for first in _FIRST for last in _LAST], _SQUAD)
    squad = [Player(id=f"{index + 1}{number:02d}", name=name) for number, name in enumerate(names, start=1)]
    return Team(id=str(index + 1), name=_CLUBS[index], on_pitch=squad[:_ON_PITCH], bench=squad[_ON_PITCH:])
