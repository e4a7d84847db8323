"""A simulated match as tests look at it: its events by type, period and time, and who was on the pitch when."""

import math
import random
from collections.abc import Iterator
from typing import Any

import attrs

from app.schemas.event_types import FAN_TYPES
from app.sending.simulator import Moment, simulate_match

Event = dict[str, Any]
GOALS = ("goal", "own_goal")
KICKS = ("shootout_goal", "shootout_miss")
LENGTH_M, WIDTH_M = 105.0, 68.0


@attrs.frozen
class Course:
    """The moments of one match, in the order of time."""

    moments: list[Moment]

    @classmethod
    def of(cls, seed: object, *, fans: float = 0, minutes: float = 90, knockout: bool = False) -> "Course":
        """Simulate the match of a seed."""
        rng = random.Random(f"course-{seed}")
        match = simulate_match(rng, match_id="sim", minutes=minutes, fans_per_minute=fans, knockout=knockout)
        return cls(list(match))

    def events(self, *types: str) -> list[tuple[float, Event]]:
        """The events of some types, or all, each with its offset in seconds."""
        return [(m.offset_s, m.event) for m in self.moments if not types or m.event["eventType"] in types]

    def play(self) -> list[tuple[float, Event]]:
        """All but the fans' events."""
        return [(at_s, event) for at_s, event in self.events() if event["eventType"] not in FAN_TYPES]

    def fans(self) -> list[float]:
        """The offsets of the fans' events."""
        return [m.offset_s for m in self.moments if m.event["eventType"] in FAN_TYPES]

    def standing(self, *types: str) -> list[Event]:
        """The events of some types in the first 90 minutes that nothing withdraws."""
        withdrawn = {event["metadata"]["eventId"] for _, event in self.events("retraction")}
        return [
            event
            for _, event in self.events(*types)
            if event["eventId"] not in withdrawn and event["metadata"].get("period", 1) <= 2
        ]

    def sides(self) -> tuple[str, str]:
        """The team ids of home and away."""
        _, start = self.events("match_start")[0]
        return start["metadata"]["home"]["id"], start["metadata"]["away"]["id"]

    def score(self, *, periods: int = 2) -> tuple[int, int]:
        """Goals of home and away that stand after so many periods."""
        home, away = self.sides()
        withdrawn = {event["metadata"]["eventId"] for _, event in self.events("retraction")}
        score = {home: 0, away: 0}
        for _, event in self.events(*GOALS):
            if event["eventId"] not in withdrawn and event["metadata"]["period"] <= periods:
                own = event["eventType"] == "own_goal"
                score[(away if event["teamId"] == home else home) if own else event["teamId"]] += 1
        return score[home], score[away]

    def periods(self) -> Iterator[tuple[float, float]]:
        """Start and end of each period that is played, in seconds."""
        starts = [at_s for at_s, _ in self.events("half_start")]
        ends = [at_s for at_s, _ in self.events("half_end")]
        return zip(starts, ends, strict=True)


def distance_m(event: Event) -> float:
    """How far from the middle of the goal something happened."""
    return math.hypot(*_to_goal(event))


def is_in_box(event: Event) -> bool:
    """Whether it happened in the penalty area that the event's team attacks."""
    along_m, across_m = _to_goal(event)
    return along_m <= 16.5 and abs(across_m) <= 20.16


def _to_goal(event: Event) -> tuple[float, float]:
    metadata = event["metadata"]
    return LENGTH_M * (100 - metadata["x"]) / 100, WIDTH_M * (metadata["y"] - 50) / 100
