"""Events of the teams: one after another, about one every three seconds, with what follows from it.

A shot becomes a goal, a save, a block, a corner or a ball out; a foul brings a free kick, now and then a card or
a penalty; some goals go to the video referee and some of those are taken back.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from app.sending.simulator.teams import Player, Team

_PAUSE_S: Final = 3.0
_WEIGHTS: Final = {
    "pass": 52.0, "carry": 17.0, "pressure": 9.0, "recovery": 4.0, "dribble": 3.0, "duel": 3.0,
    "throw_in": 2.0,
    "interception": 2.0, "clearance": 1.8, "tackle": 1.6, "ball_out": 1.2, "miscontrol": 1.0, "block": 0.8,
    "shot": 1.5, "foul": 1.3, "offside": 0.25, "goalkeeper": 0.5, "injury": 0.1, "formation_change": 0.05,
}  # fmt: skip
_AGAINST_BALL: Final = frozenset({"pressure", "interception", "clearance", "tackle", "block", "goalkeeper", "foul"})
_TURNS_OVER: Final = frozenset({"interception", "clearance", "tackle", "miscontrol", "ball_out", "offside", "block"})
_SHOT_ENDS: Final = {"goal": 0.11, "save": 0.32, "block": 0.2, "corner": 0.12, "ball_out": 0.25}
_SUBSTITUTIONS: Final = 5


@attrs.frozen
class PlayEvent:
    """One event of the match that is not a fan's. ``offset_s``: seconds since kick-off."""

    event_id: str
    offset_s: float
    event_type: str
    team: Team | None = None
    player: Player | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)


def new_id(rng: random.Random) -> str:
    """Return a random UUID in canonical text, drawn from ``rng``."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


@attrs.define
class Play:
    """The course of one match.

    Attributes:
        share: part of the match, 0 to 1, that is over at an offset; the late game is livelier.
        minute: the minute of play at an offset, the first is 1.
    """

    rng: random.Random
    home: Team
    away: Team
    share: Callable[[float], float]
    minute: Callable[[float], int]
    _attacking: Team = attrs.field(init=False)
    _x: float = attrs.field(default=50.0, init=False)
    _y: float = attrs.field(default=50.0, init=False)
    _substituted: dict[str, int] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._attacking = self.rng.choice((self.home, self.away))

    def half(self, start_s: float, end_s: float) -> Iterator[PlayEvent]:
        """Yield a half's events in the order of time, all within the half."""
        now_s = start_s
        while True:
            now_s += self.rng.expovariate(1 / _PAUSE_S)
            for action in self._next(now_s):
                if action.offset_s >= end_s:
                    return
                now_s = action.offset_s
                yield action

    def _next(self, now_s: float) -> Iterator[PlayEvent]:
        if substitution := self._substitution(now_s):
            yield substitution
        event_type = self.rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        self._x = min(99.0, max(1.0, self._x + self.rng.gauss(2.0, 12.0)))
        self._y = min(99.0, max(1.0, self._y + self.rng.gauss(0.0, 15.0)))
        if event_type == "shot":
            yield from self._shot(now_s)
        elif event_type == "foul":
            yield from self._foul(now_s)
        else:
            acting = self._other(self._attacking) if event_type in _AGAINST_BALL else self._attacking
            if event_type == "clearance" and self.rng.random() < 0.004:
                yield from self._scored(now_s, "own_goal", acting)
                return
            yield self._action(now_s, event_type, acting)
            if event_type in _TURNS_OVER:
                self._turn_over()

    def _shot(self, now_s: float) -> Iterator[PlayEvent]:
        self._x = self.rng.uniform(70.0, 97.0)
        yield self._action(now_s, "shot", self._attacking)
        end = self.rng.choices(list(_SHOT_ENDS), list(_SHOT_ENDS.values()))[0]
        then_s = now_s + self.rng.uniform(0.4, 2.0)
        if end == "goal":
            yield from self._scored(then_s, "goal", self._attacking)
        elif end == "corner":
            yield self._action(then_s + self.rng.uniform(15, 30), "corner", self._attacking)
        elif end == "ball_out":
            yield self._action(then_s, "ball_out", self._attacking)
            self._turn_over()
        else:
            other = self._other(self._attacking)
            keeper = other.on_pitch[0] if end == "save" else None
            yield self._action(then_s, end, other, player=keeper)
            self._turn_over()

    def _scored(self, now_s: float, event_type: str, team: Team) -> Iterator[PlayEvent]:
        assist = self.rng.choice(team.on_pitch[1:])
        goal = self._action(now_s, event_type, team)
        if event_type == "goal" and assist != goal.player and self.rng.random() < 0.75:
            goal.metadata["assist"] = assist.name
        yield goal
        if self.rng.random() < 0.2:
            review_s = now_s + self.rng.uniform(20, 45)
            yield self._action(review_s, "var_review", team, player=goal.player)
            if self.rng.random() < 0.4:
                retracted_s = review_s + self.rng.uniform(30, 90)
                metadata = {"minute": self.minute(retracted_s), "eventId": goal.event_id, "reason": "var"}
                yield PlayEvent(new_id(self.rng), retracted_s, "retraction", team, metadata=metadata)
        self._turn_over()
        self._x = self._y = 50.0

    def _foul(self, now_s: float) -> Iterator[PlayEvent]:
        fouled = self._attacking
        foul = self._action(now_s, "foul", self._other(fouled))
        yield foul
        if self.rng.random() < 0.18 and foul.team and foul.player:
            yield self._card(now_s + self.rng.uniform(5, 20), foul.team, foul.player)
            now_s += 20
        if self._x > 83 and self.rng.random() < 0.25:
            yield self._action(now_s + 5, "penalty", fouled)
            yield from self._penalty_kick(now_s + self.rng.uniform(60, 90), fouled)
        else:
            yield self._action(now_s + self.rng.uniform(8, 25), "free_kick", fouled)

    def _penalty_kick(self, now_s: float, team: Team) -> Iterator[PlayEvent]:
        self._x = 88.0
        yield self._action(now_s, "shot", team)
        if self.rng.random() < 0.76:
            yield from self._scored(now_s + 0.5, "goal", team)
        else:
            other = self._other(team)
            yield self._action(now_s + 0.5, "save", other, player=other.on_pitch[0])
            self._turn_over()

    def _card(self, now_s: float, team: Team, player: Player) -> PlayEvent:
        sent_off = player.id in team.booked or self.rng.random() < 0.03
        team.booked.add(player.id)
        if sent_off and len(team.on_pitch) > 8 and player in team.on_pitch[1:]:
            team.on_pitch.remove(player)
        return self._action(now_s, "red_card" if sent_off else "yellow_card", team, player=player)

    def _substitution(self, now_s: float) -> PlayEvent | None:
        """Return a substitution now and then: seldom before half-time, often in the last half hour."""
        share = self.share(now_s)
        chance = 0.0005 if share < 0.5 else 0.018 if share > 0.65 else 0.005
        team = self.rng.choice((self.home, self.away))
        done = self._substituted.get(team.id, 0)
        if self.rng.random() >= chance or done == _SUBSTITUTIONS or not team.bench:
            return None
        leaves = self.rng.randrange(1, len(team.on_pitch))
        player, team.on_pitch[leaves] = team.on_pitch[leaves], team.bench.pop()
        self._substituted[team.id] = done + 1
        action = self._action(now_s, "substitution", team, player=player)
        action.metadata["replacement"] = team.on_pitch[leaves].name
        return action

    def _action(self, at_s: float, event_type: str, team: Team, *, player: Player | None = None) -> PlayEvent:
        player = player or self.rng.choice(team.on_pitch[1:])
        x = self._x if team is self._attacking else 100 - self._x
        y = self._y if team is self._attacking else 100 - self._y
        metadata = {"minute": self.minute(at_s), "player": player.name, "x": round(x, 1), "y": round(y, 1)}
        return PlayEvent(new_id(self.rng), at_s, event_type, team, player, metadata)

    def _other(self, team: Team) -> Team:
        return self.away if team is self.home else self.home

    def _turn_over(self) -> None:
        self._attacking = self._other(self._attacking)
        self._x, self._y = 100 - self._x, 100 - self._y
