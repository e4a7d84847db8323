"""The state of a match that is being played, and the events that are made from it."""

import random
from typing import Any, Final

import attrs

from app.sending.simulator.clock import PlannedPeriod
from app.sending.simulator.teams import Player, Team

_VERSION_4: Final = 0x4 << 76 | 0x2 << 62
_RANDOM: Final = ~(0xF << 76 | 0x3 << 62)


def new_id(rng: random.Random) -> str:
    """Return a random UUID in canonical text, drawn from ``rng``."""
    text = f"{rng.getrandbits(128) & _RANDOM | _VERSION_4:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@attrs.define
class PlayEvent:
    """One event of the match that is not a fan's. ``offset_s``: seconds since kick-off."""

    event_id: str
    offset_s: float
    event_type: str
    team: Team | None
    player: Player | None
    metadata: dict[str, Any]


@attrs.define
class Game:
    """What is known between two events.

    Attributes:
        period: that is being played.
        now_s: seconds since kick-off.
        attacking: the team that has the ball.
        x: the ball's way from the attacking team's goal line (0) to the other (100).
        y: the ball's place across, 0 to 100, as the attacking team sees it.
        lost_s: seconds of the period so far that are made up for at its end.
        passer: who passed last, for the assist.
    """

    rng: random.Random
    home: Team
    away: Team
    period: PlannedPeriod
    attacking: Team
    now_s: float = 0.0
    x: float = 50.0
    y: float = 50.0
    lost_s: float = 0.0
    passer: Player | None = None

    @property
    def defending(self) -> Team:
        """The team without the ball."""
        return self.away if self.attacking is self.home else self.home

    def wait(self, least_s: float, most_s: float) -> None:
        """Let time pass between two events."""
        self.now_s += least_s + (most_s - least_s) * self.rng.random()

    def turn_over(self) -> None:
        """Give the ball to the other team, where it is."""
        self.attacking = self.defending
        self.x, self.y = 100 - self.x, 100 - self.y

    def place(self, x: float, y: float) -> None:
        """Put the ball somewhere, as the attacking team sees it."""
        self.x, self.y = x, y

    def act(self, event_type: str, team: Team, player: Player, **more: Any) -> PlayEvent:
        """Return what a player does now, where the ball is."""
        metadata: dict[str, Any] = self.period.stamp(self.now_s)
        metadata["player"] = player.name
        if team is self.attacking:
            metadata["x"], metadata["y"] = round(self.x, 1), round(self.y, 1)
        else:
            metadata["x"], metadata["y"] = round(100 - self.x, 1), round(100 - self.y, 1)
        if more:
            metadata.update(more)
        return PlayEvent(new_id(self.rng), self.now_s, event_type, team, player, metadata)

    def note(self, event_type: str, team: Team | None = None, **more: Any) -> PlayEvent:
        """Return what happens now to nobody, or to a whole team."""
        return PlayEvent(new_id(self.rng), self.now_s, event_type, team, None, self.period.stamp(self.now_s) | more)
