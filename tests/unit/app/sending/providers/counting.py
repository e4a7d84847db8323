"""Counts providers' files by themselves, with nothing of the service and nothing of kloppy: plain JSON and XML.

The samples are those that kloppy ships in its own package for its tests; none is copied into this project.
"""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs


@attrs.frozen
class Counted:
    """What a file tells, counted. Teams by the provider's id; colours are yellow, second_yellow, red."""

    rows: int
    goals: Counter[str]
    own_goals: Counter[str]
    cards: Counter[tuple[str, str]]
    shootout: Counter[tuple[str, bool]]
    types: dict[str, int]
    """Some of our types, and how many the file has."""

    first_s: float
    """Seconds of its period at which the first pass was played."""

    last_s: float
    """Seconds of its period at which the last period ended, or the last thing in it happened."""


def sample(name: str) -> Path:
    """The sample of that name; the test that needs it fails where kloppy is installed without it."""
    found = find_spec("kloppy")
    assert found is not None, "kloppy is not installed: make install"
    assert found.origin is not None, "kloppy is installed without its own module"
    path = Path(found.origin).parent / "tests" / "files" / name
    assert path.is_file(), f"kloppy is installed without its test file {name}: unpack it from kloppy's sdist on PyPI"
    return path


def statsbomb(path: Path) -> Counted:
    rows = json.loads(path.read_bytes())

    def named(row: dict[str, Any], *keys: str) -> str:
        for key in keys:
            row = row.get(key, {})
        return str(row.get("name", ""))

    def of(name: str) -> list[dict[str, Any]]:
        return [row for row in rows if row["type"]["name"] == name]

    def seconds(row: dict[str, Any]) -> float:
        h, m, s = row["timestamp"].split(":")
        return int(h) * 3600 + int(m) * 60 + float(s)

    def team(row: dict[str, Any]) -> str:
        return str(row["team"]["id"])

    shots = of("Shot")
    scored = [row for row in shots if named(row, "shot", "outcome") == "Goal"]
    colours = {"Yellow Card": "yellow", "Second Yellow": "second_yellow", "Red Card": "red"}
    cards = [(team(r), colours[c]) for r in rows for part in ("foul_committed", "bad_behaviour")
             if (c := named(r, part, "card"))]  # fmt: skip
    return Counted(
        rows=len(rows),
        goals=Counter(team(row) for row in scored if row["period"] < 5),
        own_goals=Counter(team(row) for row in of("Own Goal Against")),
        cards=Counter(cards),
        shootout=Counter((team(row), row in scored) for row in shots if row["period"] == 5),
        types={
            "pass": sum(named(r, "pass", "type") not in ("Corner", "Free Kick", "Throw-in") for r in of("Pass")),
            "corner": sum(named(r, "pass", "type") == "Corner" for r in of("Pass")),
            "substitution": len(of("Substitution")),
            "foul": len(of("Foul Committed")),
            "carry": len(of("Carry")),
            "penalty": sum(bool(r.get("foul_committed", {}).get("penalty")) for r in rows),
            "match_end": 1,
        },
        first_s=min(seconds(row) for row in of("Pass") if row["period"] == 1),
        last_s=max(seconds(row) for row in of("Half End") if row["period"] == max(r["period"] for r in rows)),
    )


def _opta(rows: list[dict[str, Any]]) -> Counted:
    """``rows``: type, period, minute, second, team, outcome, qualifiers."""
    played = [row for row in rows if 1 <= row["period"] <= 5]

    def of(*types: int) -> list[dict[str, Any]]:
        return [row for row in played if row["type"] in types]

    def seconds(row: dict[str, Any]) -> float:
        return (row["minute"] - (0, 45, 90, 105, 120)[row["period"] - 1]) * 60 + row["second"]

    goals = [row for row in of(16) if 28 not in row["qualifiers"]]
    colours = {31: "yellow", 32: "second_yellow", 33: "red"}
    kicks = [(row["team"], row["type"] == 16) for row in of(13, 14, 15, 16) if row["period"] == 5]
    return Counted(
        rows=len(rows),
        goals=Counter(row["team"] for row in goals if row["period"] < 5),
        own_goals=Counter(row["team"] for row in of(16) if 28 in row["qualifiers"]),
        cards=Counter((row["team"], colours[q]) for row in of(17) for q in row["qualifiers"] if q in colours),
        shootout=Counter(kicks),
        types={
            "pass": sum(not {5, 6, 107} & row["qualifiers"] for row in of(1)),
            "corner": sum(6 in row["qualifiers"] for row in of(1)),
            "throw_in": sum(107 in row["qualifiers"] for row in of(1)),
            "substitution": len(of(18)),
            "foul": sum(not row["outcome"] for row in of(4)),
            "offside": len(of(2)),
            "half_start": len({row["period"] for row in of(32)}),
            "match_end": 1,
        },
        first_s=min(seconds(row) for row in of(1) if row["period"] == 1),
        last_s=max(seconds(row) for row in of(30) if row["period"] == max(r["period"] for r in played)),
    )


def f24(path: Path) -> Counted:
    events = ElementTree.parse(path).getroot().findall("Game/Event")
    return _opta(
        [
            {
                "type": int(e.attrib["type_id"]), "period": int(e.attrib["period_id"]), "team": e.attrib["team_id"],
                "minute": int(e.attrib["min"]), "second": int(e.attrib["sec"]), "outcome": e.get("outcome") == "1",
                "qualifiers": {int(q.attrib["qualifier_id"]) for q in e.findall("Q")},
            }
            for e in events
        ]
    )  # fmt: skip


def ma3_xml(path: Path) -> Counted:
    events = ElementTree.parse(path).getroot().findall("liveData/events/event")
    return _opta(
        [
            {
                "type": int(e.attrib["typeId"]), "period": int(e.attrib["periodId"]), "team": e.attrib["contestantId"],
                "minute": int(e.attrib["timeMin"]), "second": int(e.attrib["timeSec"]),
                "outcome": e.get("outcome") == "1",
                "qualifiers": {int(q.attrib["qualifierId"]) for q in e.findall("qualifier")},
            }
            for e in events
        ]
    )  # fmt: skip


def ma3_json(path: Path) -> Counted:
    return _opta(
        [
            {
                "type": e["typeId"], "period": e["periodId"], "team": e["contestantId"], "minute": e["timeMin"],
                "second": e["timeSec"], "outcome": e.get("outcome") == 1,
                "qualifiers": {q["qualifierId"] for q in e["qualifier"]},
            }
            for e in json.loads(path.read_bytes())["liveData"]["event"]
        ]
    )  # fmt: skip


def wyscout_v2(path: Path) -> Counted:
    rows = json.loads(path.read_bytes())["events"]
    tags = [{tag["id"] for tag in row["tags"]} for row in rows]
    attempts = [n for n, row in enumerate(rows) if row["eventName"] == 10 or row["subEventName"] in (33, 35)]
    last = rows[-1]["matchPeriod"]
    colours = {1701: "red", 1702: "yellow", 1703: "second_yellow"}
    return Counted(
        rows=len(rows),
        goals=Counter(str(rows[n]["teamId"]) for n in attempts if 101 in tags[n]),
        own_goals=Counter(str(row["teamId"]) for n, row in enumerate(rows) if 102 in tags[n]),
        cards=Counter((str(r["teamId"]), colours[t]) for n, r in enumerate(rows) for t in tags[n] if t in colours),
        shootout=Counter(),
        types={
            "corner": sum(row["subEventName"] == 30 for row in rows),
            "throw_in": sum(row["subEventName"] == 36 for row in rows),
            "pass": sum(row["eventName"] == 8 or row["subEventName"] == 34 for row in rows),
            "offside": sum(row["eventName"] == 6 for row in rows),
            "penalty": sum(row["subEventName"] == 35 for row in rows),
            "half_start": 2,
            "half_end": 2,
            "match_end": 1,
        },
        first_s=next(row["eventSec"] for row in rows if row["eventName"] == 8),
        last_s=max(row["eventSec"] for row in rows if row["matchPeriod"] == last),
    )


def wyscout_v3(path: Path) -> Counted:
    document = json.loads(path.read_bytes())
    rows = document["events"]

    def of(primary: str) -> list[dict[str, Any]]:
        return [row for row in rows if row["type"]["primary"] == primary]

    def seconds(row: dict[str, Any]) -> float:
        return float((row["minute"] - (0 if row["matchPeriod"] == "1H" else 45)) * 60 + row["second"])

    yellow = [str(row["team"]["id"]) for row in of("infraction") if row["infraction"]["yellowCard"]]
    out = [player for team in document["substitutions"].values() for period in team.values()
           for change in period.values() for player in change["out"]]  # fmt: skip
    return Counted(
        rows=len(rows),
        goals=Counter(str(row["team"]["id"]) for row in rows if (row["shot"] or {}).get("isGoal")),
        own_goals=Counter(str(row["team"]["id"]) for row in of("own_goal")),
        cards=Counter((team, "yellow") for team in yellow),
        shootout=Counter(),
        types={
            "pass": len(of("pass")) + len(of("goal_kick")),
            "corner": len(of("corner")),
            "throw_in": len(of("throw_in")),
            "offside": len(of("offside")),
            "foul": sum("foul" in row["type"]["secondary"] for row in of("infraction")),
            "substitution": len(out),
            "match_end": 1,
        },
        first_s=seconds(of("pass")[0]),
        last_s=max(seconds(row) for row in rows if row["matchPeriod"] == "2H" and row["type"]["primary"] != "touch"),
    )


def datafactory(path: Path) -> Counted:
    document = json.loads(path.read_bytes())
    groups = document["incidences"]
    team_of = {key: str(player["teamId"]) for key, player in document["players"].items()}
    shots = groups["shots"].values()
    colours = {3: "yellow", 4: "second_yellow", 5: "red"}
    cards = [*groups["yellowCards"].values(), *groups["redCards"].values()]
    end = next(row for row in groups["status"].values() if row["type"] == 2)
    passes = [*groups["correctPasses"].values(), *groups["incorrectPasses"].values()]
    return Counted(
        rows=sum(map(len, groups.values())),
        goals=Counter(str(row["team"]) for row in shots if row["type"] in (9, 11, 12, 13)),
        own_goals=Counter(team_of[str(row["plyrId"])] for row in shots if row["type"] == 10),
        cards=Counter((str(row["team"]), colours[row["type"]]) for row in cards),
        shootout=Counter(),
        types={
            "pass": len(passes),
            "corner": len(groups["cornerKicks"]),
            "throw_in": len(groups["throwIn"]),
            "offside": len(groups["offsides"]),
            "substitution": len(groups["substitutions"]),
            "penalty": sum(row["type"] in (31, 32) for row in groups["fouls"].values()),
            "half_start": 2,
            "match_end": 1,
        },
        first_s=min(row["t"]["m"] * 60 + row["t"]["s"] for row in passes if row["t"]["half"] == 1),
        last_s=(end["t"]["m"] - 45) * 60 + end["t"]["s"],
    )


def sportec(path: Path) -> Counted:
    from datetime import datetime

    events = ElementTree.parse(path).getroot().findall("Event")
    at = {id(event): datetime.fromisoformat(event.attrib["EventTime"]) for event in events}
    starts = [at[id(e)] for e in events if e.find("KickOff[@GameSection]") is not None]
    whistles = [at[id(e)] for e in events if e.find("FinalWhistle") is not None]
    colours = {"yellow": "yellow", "yellowRed": "second_yellow", "red": "red"}
    goals = [shot for e in events for shot in e.iter("ShotAtGoal") if shot.find("SuccessfulShot") is not None]
    cards = [(card.attrib["Team"], colours[card.attrib["CardColor"]]) for e in events for card in e.iter("Caution")]
    first = next(at[id(e)] for e in events if next(e.iter("Play"), None) is not None)
    return Counted(
        rows=len(events),
        goals=Counter(shot.attrib["Team"] for shot in goals),
        own_goals=Counter(goal.attrib["Team"] for e in events for goal in e.iter("OwnGoal")),
        cards=Counter(cards),
        shootout=Counter(),
        types={
            "corner": sum(1 for e in events if e.find("CornerKick") is not None),
            "throw_in": sum(1 for e in events if e.find("ThrowIn") is not None),
            "foul": sum(1 for e in events if e.find("Foul") is not None),
            "offside": sum(1 for e in events if e.find("Offside") is not None),
            "shot": sum(1 for e in events for _ in e.iter("ShotAtGoal")) - len(goals),
            "half_start": len(starts),
            "half_end": len(whistles),
            "match_end": 1,
        },
        first_s=(first - starts[0]).total_seconds(),
        last_s=(whistles[-1] - starts[-1]).total_seconds(),
    )


def impect(path: Path) -> Counted:
    rows = json.loads(path.read_bytes())
    kinds = Counter(row["actionType"] for row in rows)
    colours = {"YELLOW_CARD": "yellow", "SECOND_YELLOW_CARD": "second_yellow", "RED_CARD": "red"}
    shown = [(str(r["squadId"]), colours[r["actionType"]]) for r in rows if r["actionType"] in colours]
    passes = ("PASS", "GOAL_KICK", "KICK_OFF")
    whistle = next(row for row in reversed(rows) if row["actionType"] == "FINAL_WHISTLE")
    return Counted(
        rows=len(rows),
        goals=Counter(str(row["squadId"]) for row in rows if row["actionType"] == "GOAL"),
        own_goals=Counter(),
        cards=Counter(shown),
        shootout=Counter(),
        types={
            "pass": sum(kinds[kind] for kind in passes),
            "corner": kinds["CORNER"],
            "throw_in": kinds["THROW_IN"],
            "offside": kinds["OFFSIDE"],
            "save": kinds["GK_SAVE"],
            "shot": kinds["SHOT"] - kinds["GOAL"],
            "half_end": kinds["FINAL_WHISTLE"],
            "match_end": 1,
        },
        first_s=next(row["gameTime"]["gameTimeInSec"] for row in rows if row["actionType"] in passes),
        last_s=whistle["gameTime"]["gameTimeInSec"] - 10_000,
    )


def metrica(path: Path) -> Counted:
    rows = json.loads(path.read_bytes())["data"]

    def subtypes(row: dict[str, Any]) -> set[int]:
        found = row["subtypes"] or []
        return {entry["id"] for entry in (found if isinstance(found, list) else [found])}

    def of(kind: int, subtype: int | None = None) -> list[dict[str, Any]]:
        return [row for row in rows if row["type"]["id"] == kind and (subtype is None or subtype in subtypes(row))]

    starts = {period: min(row["start"]["time"] for row in rows if row["period"] == period) for period in (1, 2)}
    return Counted(
        rows=len(rows),
        goals=Counter(row["team"]["id"] for row in of(2, 30)),
        own_goals=Counter(),
        cards=Counter((row["team"]["id"], "yellow") for row in of(8, 40)),
        shootout=Counter(),
        types={
            "corner": len(of(5, 33)),
            "throw_in": len(of(5, 34)),
            "carry": len(of(10)),
            "shot": len(of(2)) - len(of(2, 30)),
            "foul": len(of(4)),
            "half_end": 2,
            "match_end": 1,
        },
        first_s=min(row["start"]["time"] for row in of(1)) - starts[1],
        last_s=max(row["start"]["time"] for row in of(7, 19)) - starts[2],
    )
