"""Counts a StatsBomb event file by itself, with nothing of the service, and compares with what the service says.

The rules are those of :mod:`app.sending.providers.statsbomb`; this reads them a second time, from the plain JSON.
``python -m tests.bench.recorded FILE METRICS_URL [KICKOFF]`` prints every figure that differs, and exits 1 then.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import attrs

KICKOFF = datetime(2021, 6, 11, 19, 0, tzinfo=UTC)

PAUSES_MIN = {2: 15, 3: 5, 4: 1, 5: 5}
PASSES = {"Corner": "corner", "Free Kick": "free_kick", "Throw-in": "throw_in"}
CARDS = {"Yellow Card": "yellow_card", "Second Yellow": "card", "Red Card": "red_card"}
ROWS = {
    "Carry": "carry",
    "Pressure": "pressure",
    "Ball Recovery": "recovery",
    "50/50": "duel",
    "Interception": "interception",
    "Clearance": "clearance",
    "Dribble": "dribble",
    "Block": "block",
    "Foul Committed": "foul",
    "Miscontrol": "miscontrol",
    "Substitution": "substitution",
    "Offside": "offside",
    "Injury Stoppage": "injury",
    "Tactical Shift": "formation_change",
    "Own Goal Against": "own_goal",
}


@attrs.frozen
class Counted:
    """One event that a row stands for. ``team`` is empty where it has none."""

    type: str
    team: str
    at: datetime


def count_file(path: Path, *, kickoff: datetime = KICKOFF) -> dict[str, Any]:
    """Return the figures of the file, under the names that the metrics have."""
    rows: list[dict[str, Any]] = json.loads(path.read_bytes())
    events = list(_events(rows, kickoff))
    events.append(Counted("match_start", "", kickoff))
    events.append(Counted("match_end", "", max(event.at for event in events)))
    types = Counter(event.type for event in events)
    minutes = Counter(event.at.replace(second=0, microsecond=0) for event in events)
    busiest = min(minutes, key=lambda minute: (-minutes[minute], minute))
    return {
        "totalEvents": len(events),
        "eventsByType": dict(types),
        "eventsByTeam": dict(Counter(event.team for event in events if event.team)),
        "goals": types["goal"] + types["own_goal"],
        "score": _score(rows, events),
        "yellowCards": types["yellow_card"] + types["card"],
        "redCards": types["red_card"] + types["card"],
        "firstEventAt": min(event.at for event in events),
        "lastEventAt": max(event.at for event in events),
        "eventsPerMinute": dict(minutes),
        "peakMinute": (busiest, minutes[busiest]),
    }


def read_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same figures from a reply of ``GET /api/matches/{id}/metrics``."""
    same = ("totalEvents", "eventsByType", "eventsByTeam", "goals", "score", "yellowCards", "redCards")
    curve = {_moment(entry["minute"]): entry["eventCount"] for entry in metrics["eventsPerMinute"]}
    peak = metrics["peakMinute"]
    return {
        **{name: metrics[name] for name in same},
        "firstEventAt": _moment(metrics["firstEventAt"]),
        "lastEventAt": _moment(metrics["lastEventAt"]),
        "eventsPerMinute": {minute: count for minute, count in curve.items() if count},
        "peakMinute": (_moment(peak["minute"]), peak["eventCount"]),
    }


def differences(counted: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """Return one line for each figure that differs."""
    return [
        f"{name}: counted {_brief(counted[name], shown[name])}, shown {_brief(shown[name], counted[name])}"
        for name in counted
        if counted[name] != shown[name]
    ]


def _brief(value: Any, other: Any) -> str:
    """Of a mapping only the entries that the other one does not have."""
    if isinstance(value, dict) and isinstance(other, dict):
        return str({str(key): entry for key, entry in value.items() if other.get(key) != entry})
    return str(value)


def _events(rows: list[dict[str, Any]], kickoff: datetime) -> Iterator[Counted]:
    starts = _period_starts(rows, kickoff)
    teams = list(dict.fromkeys(str(row["team"]["id"]) for row in rows))
    halves: set[tuple[str, int]] = set()
    for row in rows:
        name, team, at = row["type"]["name"], str(row["team"]["id"]), starts[row["period"]] + _clock(row)
        if name in ("Half Start", "Half End"):
            if (name, row["period"]) not in halves:
                halves.add((name, row["period"]))
                yield Counted(name.lower().replace(" ", "_"), "", at)
            continue
        if event_type := _row_type(row, name):
            yield Counted(event_type, team, at)
        foul = row.get("foul_committed", {})
        if "card" in foul:
            yield Counted(CARDS[foul["card"]["name"]], team, at)
        if foul.get("penalty"):
            yield Counted("penalty", next(other for other in teams if other != team), at)


def _row_type(row: Mapping[str, Any], name: str) -> str:
    if name == "Pass":
        return PASSES.get(row["pass"].get("type", {}).get("name"), "pass")
    if name == "Shot":
        scored = row["shot"]["outcome"]["name"] == "Goal"
        if row["period"] == 5:
            return "shootout_goal" if scored else "shootout_miss"
        return "goal" if scored else "shot"
    if name == "Duel":
        return "tackle" if row["duel"]["type"]["name"] == "Tackle" else "duel"
    if name == "Goal Keeper":
        return "save" if "Save" in row["goalkeeper"]["type"]["name"] else "goalkeeper"
    if name == "Bad Behaviour":
        card = row.get("bad_behaviour", {}).get("card")
        return CARDS[card["name"]] if card else ""
    return ROWS.get(name, "")


def _period_starts(rows: list[dict[str, Any]], kickoff: datetime) -> dict[int, datetime]:
    ends: dict[int, timedelta] = {}
    for row in rows:
        if row["type"]["name"] == "Half End":
            ends[row["period"]] = max(ends.get(row["period"], timedelta()), _clock(row))
    starts, at = {}, kickoff
    for period in sorted(ends):
        at += timedelta(minutes=PAUSES_MIN.get(period, 0))
        starts[period] = at
        at += ends[period]
    return starts


def _score(rows: list[dict[str, Any]], events: list[Counted]) -> dict[str, int]:
    home = str(rows[0]["team"]["id"])
    goals = [event for event in events if event.type in ("goal", "own_goal")]
    at_home = sum((event.type == "goal") == (event.team == home) for event in goals)
    return {"home": at_home, "away": len(goals) - at_home}


def _clock(row: Mapping[str, Any]) -> timedelta:
    hours, minutes, seconds = row["timestamp"].split(":")
    return timedelta(hours=int(hours), minutes=int(minutes), milliseconds=round(float(seconds) * 1000))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def main() -> int:
    """Compare, print, and return the exit code."""
    path, url, *kickoff = sys.argv[1:]
    counted = count_file(Path(path), kickoff=_moment(kickoff[0]) if kickoff else KICKOFF)
    with urlopen(url) as reply:
        found = differences(counted, read_metrics(json.load(reply)))
    print("\n".join(found) or f"equal: {counted['totalEvents']} events, {counted['goals']} goals")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
