"""Wyscout, version 2: one JSON file with ``events``, ``teams`` and ``players``; rows by event, sub-event and tags.

**Rows and what they become**: as in ``_TYPES``, by sub-event first. An attempt (shot, free kick at the goal, penalty)
with tag 101 is ``goal``, in the shoot-out ``shootout_goal``; a row with tag 102 is ``own_goal`` unless it is the
keeper's. A duel or touch with tag 1401 is ``interception``, a touch with tag 1302 ``miscontrol``. A foul with a card
adds it; a protest, simulation or late foul with a card is the card. A penalty kick adds the award, ``penalty``.

**Time** is in seconds since the start of the period. The file tells no substitution.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from app.sending.providers.match import NO_TYPE, Besides, Document, Json, ProviderFile, Row, attempt, card_of, text
from app.sending.providers.wyscout import PERIODS, completed, is_over, kickoff_of, match_id_of, names_of, sides_of

_EVENTS: Final = {
    1: "Duel", 2: "Foul", 3: "Free Kick", 4: "Goalkeeper leaving line", 5: "Interruption", 6: "Offside",
    7: "Others on the ball", 8: "Pass", 9: "Save attempt", 10: "Shot",
}  # fmt: skip
_SUBEVENTS: Final = {
    10: "Air duel", 11: "Ground attacking duel", 12: "Ground defending duel", 13: "Ground loose ball duel", 20: "Foul",
    21: "Hand foul", 22: "Late card foul", 23: "Out of game foul", 24: "Protest", 25: "Simulation",
    26: "Time lost foul", 27: "Violent Foul", 30: "Corner", 31: "Free Kick", 32: "Free kick cross",
    33: "Free kick shot", 34: "Goal kick", 35: "Penalty", 36: "Throw in", 40: "Goalkeeper leaving line",
    50: "Ball out of the field", 51: "Whistle", 70: "Acceleration", 71: "Clearance", 72: "Touch", 80: "Cross",
    81: "Hand pass", 82: "Head pass", 83: "High pass", 84: "Launch", 85: "Simple pass", 86: "Smart pass",
    90: "Reflexes", 91: "Save attempt", 100: "Shot",
}  # fmt: skip
_TYPES: Final = {
    "Corner": "corner",
    "Free Kick": "free_kick",
    "Free kick cross": "free_kick",
    "Goal kick": "pass",
    "Throw in": "throw_in",
    "Ball out of the field": "ball_out",
    "Whistle": "",
    "Acceleration": "carry",
    "Clearance": "clearance",
    "Touch": "",
    "Duel": "duel",
    "Foul": "foul",
    "Goalkeeper leaving line": "goalkeeper",
    "Offside": "offside",
    "Pass": "pass",
}
_NO_FOULS: Final = frozenset({"Late card foul", "Out of game foul", "Protest", "Simulation", "Time lost foul"})
_GOAL, _OWN_GOAL, _ASSIST, _MISSED, _INTERCEPTION, _ACCURATE = 101, 102, 301, 1302, 1401, 1801
_CARDS: Final = {1703: "second_yellow", 1701: "red", 1702: "yellow"}
_OUTCOMES: Final = ((range(1201, 1210), "Saved"), (range(1210, 1217), "Off target"), (range(1217, 1224), "Post"))
_BLOCKED: Final = 2101


def read(document: Document) -> ProviderFile:
    """Return the match of a file of version 2."""
    document = completed(document)
    home, away = sides_of(document)

    def load() -> Any:
        from kloppy import wyscout

        content = io.BytesIO(json.dumps(document).encode())
        return wyscout.load(event_data=content, data_version="V2", coordinates="opta")

    return ProviderFile(
        provider="Wyscout",
        match_id=match_id_of(document),
        rows=tuple(_rows(document["events"])),
        home=home,
        away=away,
        names=names_of(document),
        kickoff=kickoff_of(document),
        is_over=is_over(document),
        load=load,
    )


def _rows(events: Sequence[Json]) -> Iterator[Row]:
    assist: tuple[str, str] = "", ""
    for row in events:
        tags = {tag["id"] for tag in row["tags"]}
        name, sub_name = _names(row)
        event_type, details, reason = _type_of(name, sub_name, tags, PERIODS.get(row["matchPeriod"], 0))
        team_id, player_id = text(row["teamId"]), text(row["playerId"])
        if _ASSIST in tags:
            assist = team_id, player_id
        in_play = row["matchPeriod"] in PERIODS
        yield Row(
            raw_id=str(row["id"]),
            type_name=f"{name}: {sub_name}" if sub_name else name,
            event_type=event_type if in_play else "",
            reason=reason if in_play else "of no period",
            period=PERIODS.get(row["matchPeriod"], 1),
            seconds=float(row["eventSec"]),
            team_id=team_id,
            player_id=player_id,
            assist_id=assist[1] if event_type == "goal" and assist[0] == team_id else "",
            details=details,
            besides=tuple(_besides(event_type, sub_name, tags, team_id, player_id)),
        )
        if event_type in ("goal", "own_goal"):
            assist = "", ""


def _names(row: Json) -> tuple[str, str]:
    """Return event and sub-event by name, where the file has their numbers, too."""
    name, sub_name = row.get("eventName", row.get("eventId")), row.get("subEventName", row.get("subEventId"))
    return str(_EVENTS.get(name, name)), str(_SUBEVENTS.get(sub_name, sub_name) or "")


def _type_of(name: str, sub_name: str, tags: set[int], period: int) -> tuple[str, Mapping[str, Any], str]:
    """Return the row's event type, details, and why it is left out, if it is."""
    if name == _EVENTS[9]:
        return "goalkeeper" if tags & {_GOAL, _OWN_GOAL} else "save", {}, ""
    if _OWN_GOAL in tags:
        return "own_goal", {}, ""
    if name == "Shot" or sub_name in ("Free kick shot", "Penalty"):
        scored, is_penalty = _GOAL in tags, sub_name == "Penalty"
        return *attempt(scored, period=period, is_penalty=is_penalty, outcome=_outcome(tags)), ""
    if name == "Foul" and sub_name in _NO_FOULS:
        return (*card_of(_card(tags)), "") if _card(tags) else ("", {}, "no foul of play, and no card")
    event_type = _plain(name, sub_name, tags)
    return event_type, _of_pass(tags) if event_type == "pass" else {}, NO_TYPE


def _of_pass(tags: set[int]) -> dict[str, str]:
    return {"outcome": "Complete" if _ACCURATE in tags else "Incomplete"}


def _plain(name: str, sub_name: str, tags: set[int]) -> str:
    """Return the event type of a row that is neither an attempt nor a card; empty where it is left out."""
    if _INTERCEPTION in tags and "Touch" in (name, sub_name):
        return "interception"
    if _INTERCEPTION in tags and name == "Duel":
        return "interception"
    if sub_name == "Touch" and _MISSED in tags:
        return "miscontrol"
    return _TYPES.get(sub_name, _TYPES.get(name, ""))


def _outcome(tags: set[int]) -> str:
    if _GOAL in tags:
        return "Goal"
    if _BLOCKED in tags:
        return "Blocked"
    return next((name for zone, name in _OUTCOMES if tags & set(zone)), "")


def _card(tags: set[int]) -> str:
    return next((colour for tag, colour in _CARDS.items() if tag in tags), "")


def _besides(event_type: str, sub_name: str, tags: set[int], team_id: str, player_id: str) -> Iterator[Besides]:
    if event_type == "foul" and (colour := _card(tags)):
        card, details = card_of(colour)
        yield Besides(name="card", event_type=card, team_id=team_id, player_id=player_id, details=details)
    if sub_name == "Penalty" and event_type in ("goal", "shot"):
        yield Besides(name="penalty", event_type="penalty", team_id=team_id)
