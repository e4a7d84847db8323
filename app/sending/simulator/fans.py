"""Reactions of the fans: a steady murmur, and a burst after each goal and card that fades within minutes."""

import math
import random
from collections.abc import Iterator
from typing import Any, Final

import attrs

_KINDS: Final = {
    "view": 34,
    "cheer": 22,
    "reaction": 18,
    "comment": 12,
    "poll_vote": 6,
    "prediction": 4,
    "share": 4,
}
_KINDS_EXCITED: Final = {
    "cheer": 46,
    "reaction": 26,
    "comment": 12,
    "share": 8,
    "view": 6,
    "poll_vote": 1,
    "prediction": 1,
}
_BURSTS: Final = {
    "goal": 9.0, "own_goal": 9.0, "penalty": 3.0, "red_card": 4.0, "retraction": 6.0, "var_review": 2.0,
    "shot": 0.3, "save": 0.4, "match_start": 2.0, "match_end": 4.0,
}  # fmt: skip
"""Multiples of the base rate that an event adds at once."""
_FADES_WITHIN_S: Final = 120.0
_REACTIONS: Final = ("heart", "fire", "laugh", "shock", "anger", "sad")
_COMMENTS: Final = (
    "What a match!", "Come on!", "How did that not go in?", "Best game of the season", "Referee!!",
    "يلا يا شباب", "Keep the ball", "That pass though", "Nervous now", "Incroyable",
)  # fmt: skip


@attrs.define
class Crowd:
    """Fans of one match, who send ``per_minute`` events a minute while nothing happens."""

    rng: random.Random
    per_minute: float
    _excitement: float = attrs.field(default=0.0, init=False)
    _noticed_s: float = attrs.field(default=0.0, init=False)

    def notice(self, now_s: float, event_type: str) -> None:
        """Let the fans see an event of the match."""
        self._excitement = self._excitement_at(now_s) + _BURSTS.get(event_type, 0.0)
        self._noticed_s = now_s

    def between(self, start_s: float, end_s: float) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """Yield offset, type and metadata of what fans send from ``start_s`` to ``end_s``, earliest first.

        It is a Poisson process whose rate fades, drawn by thinning: candidates come at the rate at the start, which is
        the highest of the interval, and each is kept with a probability of the share that is left of that rate.
        """
        highest = self._rate_at(start_s)
        now_s = start_s
        while highest > 0:
            now_s += self.rng.expovariate(highest)
            if now_s >= end_s:
                return
            if self.rng.random() * highest < self._rate_at(now_s):
                yield now_s, *self._draw(now_s)

    def _excitement_at(self, now_s: float) -> float:
        return self._excitement * math.exp(-(now_s - self._noticed_s) / _FADES_WITHIN_S)

    def _rate_at(self, now_s: float) -> float:
        """Events a second."""
        return self.per_minute / 60 * (1 + self._excitement_at(now_s))

    def _draw(self, now_s: float) -> tuple[str, dict[str, Any]]:
        kinds = _KINDS_EXCITED if self._excitement_at(now_s) > 2 else _KINDS
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        metadata: dict[str, Any] = {"fan": f"fan-{self.rng.randrange(50_000)}"}
        if kind == "reaction":
            metadata["reaction"] = self.rng.choice(_REACTIONS)
        elif kind == "comment":
            metadata["text"] = self.rng.choice(_COMMENTS)
        elif kind == "prediction":
            metadata |= {"home": self.rng.randrange(5), "away": self.rng.randrange(5)}
        return kind, metadata
