"""What ``kloppy`` makes of a file: where things happened, and how players are called."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from app.sending.providers.match import ProviderError

INSTALL_HINT: Final = "reading a provider's file needs kloppy: pip install 'fanfinity-analytics[providers]'"

_SHOTS_THAT_TELL: Final = 5
"""Shots from which one can tell which way the teams play: where they are taken far from the goal on the average,
kloppy took the sides for each other, as it does where the metadata are wrong."""


@attrs.frozen(kw_only=True)
class Reading:
    """``places`` and ``names`` by the provider's ids of rows and players; a place is as in `Row`."""

    places: Mapping[str, tuple[float, float]] = attrs.field(factory=dict)
    names: Mapping[str, str] = attrs.field(factory=dict)


def read_with_kloppy(load: Callable[[], Any], *, provider: str) -> Reading:
    """Return what kloppy makes of a file.

    Raises:
        ProviderError: it is not installed, or cannot read the file.
    """
    try:
        import kloppy  # noqa: F401
    except ImportError as error:
        raise ProviderError(INSTALL_HINT) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they tell of rows and line-ups, which our summary does
            return _reading(load())
    except Exception as error:  # kloppy raises whatever a malformed file makes it stumble over
        reason = f"{type(error).__name__}: {error}"
        raise ProviderError(f"kloppy cannot read this as a match of {provider}: {reason}") from error


def _reading(dataset: Any) -> Reading:
    places: dict[str, tuple[float, float]] = {}
    shots = []
    for key, kind, x, y in _places(dataset):
        places.setdefault(key, (x, y))
        if kind == "SHOT":
            shots.append(x)
    if len(shots) >= _SHOTS_THAT_TELL and sum(shots) < 50 * len(shots):
        places = {key: (100 - x, 100 - y) for key, (x, y) in places.items()}
    names = {
        str(player.player_id): name
        for team in dataset.metadata.teams
        for player in team.players
        if (name := _name(player))
    }
    return Reading(places={key: (_bounded(x), _bounded(y)) for key, (x, y) in places.items()}, names=names)


def _places(dataset: Any) -> Iterator[tuple[str, str, float, float]]:
    """Yield id, kind and place of each event that has one, turned so that its team attacks towards 100."""
    from kloppy.domain import AttackingDirection

    for event in dataset.events:
        if event.coordinates is None:
            continue
        x, y = float(event.coordinates.x), float(event.coordinates.y)
        if dataset.metadata.orientation.value != "action-executing-team":
            if event.team is None:
                continue
            homes = AttackingDirection.from_orientation(dataset.metadata.orientation, period=event.period)
            if (homes == AttackingDirection.RTL) == (event.team.ground.value == "home"):
                x, y = 100 - x, 100 - y
        yield str(event.event_id), event.event_type.value, x, y


def _name(player: Any) -> str:
    """Return a player's name; empty where kloppy has none, and would make one of the shirt's number."""
    return str(player.name or " ".join(part for part in (player.first_name, player.last_name) if part))


def _bounded(value: float) -> float:
    return round(min(100.0, max(0.0, value)), 1)
