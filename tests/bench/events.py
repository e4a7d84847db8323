"""Made-up events for loads: the same seed gives the same events, ids included."""

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.times import iso_of

KICKOFF = datetime(2024, 1, 15, 18, 0, tzinfo=UTC)
HOME, AWAY = "1", "2"
_TEAM_TYPES = ("pass", "carry", "shot", "goal", "foul", "own_goal", "yellow_card", "throw_in")
_FAN_TYPES = ("cheer", "reaction", "comment", "view")

Event = dict[str, Any]


def make_events(*, seed: int, count: int, match_id: str) -> list[Event]:
    """Return a match of ``count`` events in the order of their time, ``match_start`` first, ``match_end`` last."""
    chance = random.Random(seed)
    sides = {"home": {"id": HOME, "name": "Al-Hilal"}, "away": {"id": AWAY, "name": "Al-Nassr"}}
    first = {"eventType": "match_start", "timestamp": _iso(KICKOFF), "metadata": sides}
    last = {"eventType": "match_end", "timestamp": _iso(KICKOFF + timedelta(minutes=95))}
    middle = sorted((_event(chance) for _ in range(count - 2)), key=lambda event: str(event["timestamp"]))
    return [
        {"eventId": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "matchId": match_id, **event}
        for event in (first, *middle, last)
    ]


def _event(chance: random.Random) -> Event:
    at = KICKOFF + timedelta(milliseconds=chance.randrange(95 * 60_000))
    if chance.random() < 0.5:
        return {
            "eventType": chance.choice(_FAN_TYPES),
            "timestamp": _iso(at),
            "metadata": {"text": "يا سلام ⚽ 'x' $tag$"},
        }
    return {
        "eventType": chance.choice(_TEAM_TYPES),
        "timestamp": _iso(at),
        "teamId": chance.choice((HOME, AWAY)),
        "playerId": str(chance.randrange(1, 12)),
        "metadata": {
            "x": round(chance.uniform(0, 100), 1),
            "minute": int((at - KICKOFF).total_seconds() // 60) + 1,
        },
    }


def _iso(moment: datetime) -> str:
    return iso_of(moment)


def figures(events: Sequence[Event]) -> dict[str, Any]:
    """Return what the metrics of these events must say, counted the plain way."""
    types = Counter(event["eventType"] for event in events)
    teams = Counter(event["teamId"] for event in events if "teamId" in event)
    goals = [
        (event["eventType"] == "goal", event["teamId"] == HOME) for event in events if "goal" in event["eventType"]
    ]
    home = sum(scored == at_home for scored, at_home in goals)
    minutes = Counter(f"{event['timestamp'][:16]}:00Z" for event in events)
    return {
        "totalEvents": len(events),
        "eventsByType": dict(types),
        "eventsByTeam": dict(teams),
        "goals": len(goals),
        "score": {"home": home, "away": len(goals) - home},
        "yellowCards": types["yellow_card"],
        "redCards": types["red_card"],
        "firstEventAt": min(event["timestamp"] for event in events),
        "lastEventAt": max(event["timestamp"] for event in events),
        "eventsPerMinute": [{"minute": minute, "eventCount": minutes[minute]} for minute in sorted(minutes)],
    }
