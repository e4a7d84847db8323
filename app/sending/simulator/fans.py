"""The fans: a murmur whose level follows the match, that rises with the danger, and erupts and fades after a goal.

``docs/SIMULATOR.md`` draws the shape.
"""

import math
import random
from bisect import bisect
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

import attrs

from app.sending.simulator.game import PlayEvent

_Table = tuple[tuple[str, ...], tuple[float, ...]]


def _table(weights: Mapping[str, float]) -> _Table:
    return tuple(weights), tuple(accumulate(weights.values()))


_CALM: Final = _table(
    {"view": 36, "cheer": 20, "reaction": 19, "comment": 13, "poll_vote": 6, "prediction": 2, "share": 4}
)
_EXCITED: Final = _table({"cheer": 46, "reaction": 27, "comment": 12, "share": 8, "view": 6, "poll_vote": 1})
_WAITING: Final = _table(
    {"view": 34, "prediction": 24, "poll_vote": 14, "comment": 14, "reaction": 6, "share": 5, "cheer": 3}
)

_TENSION: Final = {
    "shot": 0.9, "corner": 0.9, "save": 0.7, "block": 0.2, "offside": 0.2, "injury": 0.3, "foul": 0.1,
    "yellow_card": 0.6, "substitution": 0.2, "ball_out": 0.1,
}  # fmt: skip
"""Multiples of the base rate that an event adds, and that are forgotten within half a minute."""
_BURSTS: Final = {
    "goal": 7.0, "own_goal": 7.0, "penalty": 3.0, "red_card": 3.5, "card": 3.5, "retraction": 5.0, "var_review": 2.0,
    "match_start": 1.0, "half_start": 0.8, "half_end": 0.8, "shootout_goal": 3.0, "shootout_miss": 4.0,
}  # fmt: skip
"""The same of what they go on about for a minute or two."""
_DANGER: Final = 78.0
"""``x`` from which on every touch of the attacking team adds to the tension."""
_TOUCHES: Final = frozenset({"pass", "carry", "dribble", "free_kick", "throw_in"})
_TOUCH: Final = 0.5
_TENSION_MAX: Final = 2.5
_EXCITEMENT_MAX: Final = 9.0
_TENSION_FADES_S: Final = 8.0
_BURST_FADES_S: Final = 38.0
"""Time in which each falls to 1/e."""
_STRETCH_S: Final = 4.0
"""The rate is kept for so many seconds, because working it out for each event would cost more than the event."""
_BREAK_LEVEL: Final = 0.45
_SHOOT_OUT_LEVEL: Final = 1.5

_REACTIONS: Final = ("heart", "fire", "laugh", "shock", "anger", "sad")
_COMMENTS: Final = (
    "What a match!", "Come on!", "How did that not go in?", "Best game of the season", "Referee!!",
    "يلا يا شباب", "Keep the ball", "That pass though", "Nervous now", "Incroyable",
)  # fmt: skip
_FANS: Final = 50_000


@attrs.define
class Crowd:
    """Fans of one match, who send ``per_minute`` events a minute while nothing happens."""

    rng: random.Random
    per_minute: float
    _level: float = attrs.field(default=_BREAK_LEVEL, init=False)
    _waits: bool = attrs.field(default=True, init=False)
    _tension: float = attrs.field(default=0.0, init=False)
    _burst: float = attrs.field(default=0.0, init=False)
    _felt_s: float = attrs.field(default=0.0, init=False)

    def notice(self, action: PlayEvent) -> None:
        """Let the fans see an event of the match."""
        kind = action.event_type
        self._fade(action.offset_s)
        if kind in _TOUCHES:
            if action.metadata["x"] > _DANGER:
                self._tension = min(_TENSION_MAX, self._tension + _TOUCH)
        elif kind in _BURSTS:
            self._burst = min(_EXCITEMENT_MAX - self._tension, self._burst + _BURSTS[kind])
            self._follow(kind, action.metadata.get("period", 1))
        elif kind in _TENSION:
            self._tension = min(_TENSION_MAX, self._tension + _TENSION[kind])
        if not self._waits:
            self._level = _level_of(action.metadata)

    def between(self, start_s: float, end_s: float) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """Yield offset, type and metadata of what fans send from ``start_s`` to ``end_s``, earliest first.

        A Poisson process, whose rate is that of the middle of each stretch.
        """
        if not self.per_minute:
            return
        while start_s < end_s:
            stop_s = min(end_s, start_s + _STRETCH_S)
            self._fade((start_s + stop_s) / 2)
            excitement = self._tension + self._burst
            rate = self.per_minute / 60 * self._level * (1 + excitement)
            kinds = _WAITING if self._waits and excitement < 1 else _EXCITED if excitement > 2 else _CALM
            now_s = start_s + self.rng.expovariate(rate)
            while now_s < stop_s:
                yield now_s, *self._draw(kinds)
                now_s += self.rng.expovariate(rate)
            start_s = stop_s

    def _fade(self, now_s: float) -> None:
        past_s = now_s - self._felt_s
        self._felt_s = now_s
        self._tension *= math.exp(-past_s / _TENSION_FADES_S)
        self._burst *= math.exp(-past_s / _BURST_FADES_S)

    def _follow(self, kind: str, period: int) -> None:
        if kind == "half_start":
            self._waits = False
        elif kind == "half_end":
            self._waits, self._level = True, _BREAK_LEVEL
        elif kind.startswith("shootout"):
            self._waits, self._level = False, _SHOOT_OUT_LEVEL

    def _draw(self, kinds: _Table) -> tuple[str, dict[str, Any]]:
        chance = self.rng.random
        names, sums = kinds
        kind = names[bisect(sums, chance() * sums[-1])]
        metadata: dict[str, Any] = {"fan": f"fan-{int(chance() * _FANS)}"}
        if kind == "reaction":
            metadata["reaction"] = _REACTIONS[int(chance() * len(_REACTIONS))]
        elif kind == "comment":
            metadata["text"] = _COMMENTS[int(chance() * len(_COMMENTS))]
        elif kind == "prediction":
            metadata["home"], metadata["away"] = int(chance() * 4), int(chance() * 4)
        return kind, metadata


def _level_of(stamp: Mapping[str, Any]) -> float:
    """Return the base rate of a minute, as a multiple: the later, the more; still more in extra time."""
    if "minute" not in stamp:
        return _SHOOT_OUT_LEVEL
    minute = int(stamp["minute"])
    return 0.9 + max(0, minute - 15) * 0.005 if minute <= 75 else min(1.5, 1.2 + (minute - 75) * 0.01)
