"""Metrica Sports: a JSON file whose ``data`` are the rows, and the metadata of its tracking, in EPTS (XML).

**Rows and what they become**: by the ids of type and subtypes. A shot (2) with subtype 30 is ``goal``. A set piece
(5) is ``corner`` (33), ``free_kick`` (32), ``throw_in`` (34), ``penalty`` (36); the pass or shot that follows is a
row of its own. A challenge (9) is ``dribble`` (45), ``tackle`` (44), else ``duel``. A recovery (3) is ``save`` (26),
``interception`` (23), ``block`` (25). A ball lost (7) is ``offside`` (16), ``clearance`` (12), ``half_end`` (19),
left out where it was taken away (24), else a ``pass`` that did not arrive. A ball out (6) is ``ball_out``, or
``clearance``. A fault received (4) is the *other* team's ``foul``.

**Time** is in seconds of the recording; a period begins with its first row.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree

import attrs

from app.sending.providers.clock import PERIODS
from app.sending.providers.match import (
    NO_TYPE,
    SAME_HALF,
    Document,
    Json,
    MatchSide,
    ProviderFile,
    Row,
    attempt,
    card_of,
    has_ended,
    last_period,
    other_side,
)

_PASS, _SHOT, _RECOVERY, _FAULT, _SET_PIECE, _OUT, _LOST, _CARD, _CHALLENGE, _CARRY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
_GOAL, _END_HALF, _PENALTY, _DRIBBLE, _YELLOW, _RED, _TAKEN_AWAY = 30, 19, 36, 45, 40, 41, 24
_TYPES: Final = {_PASS: "pass", _CARRY: "carry", _RECOVERY: "recovery", _OUT: "ball_out", _LOST: "pass",
                 _CHALLENGE: "duel", _FAULT: "foul"}  # fmt: skip
_SUBTYPES: Final = {
    _SET_PIECE: {33: "corner", 32: "free_kick", 34: "throw_in", _PENALTY: "penalty"},
    _CHALLENGE: {_DRIBBLE: "dribble", 44: "tackle"},
    _CARRY: {_DRIBBLE: "dribble"},
    _RECOVERY: {26: "save", 23: "interception", 25: "block"},
    _LOST: {_END_HALF: "half_end", 16: "offside", 12: "clearance"},
    _OUT: {12: "clearance"},
}
_OUTCOMES: Final = {_GOAL: "Goal", 29: "Off target", 26: "Saved", 27: "Post", 25: "Blocked"}
_SUBTYPES_LEFT_OUT: Final = {
    _RECOVERY: {_GOAL: "the goal, told of the other team"},
    _LOST: {_TAKEN_AWAY: "the ball was taken away"},
}
_COLOURS: Final = {(True, True): "second_yellow", (True, False): "yellow", (False, True): "red", (False, False): ""}
_LEFT_OUT: Final = {_SET_PIECE: "the kick itself is a row of its own"}


def read(events: Document, metadata: Document) -> ProviderFile:
    """Return the match of a file of rows and the root element of its metadata."""
    home, away = _sides(events, metadata)
    rows = tuple(_rows(events["data"], home, away))
    last = last_period(rows)

    def load() -> Any:
        from kloppy import metrica

        meta_data = io.BytesIO(ElementTree.tostring(metadata, encoding="utf-8"))
        event_data = io.BytesIO(json.dumps(events).encode())
        return metrica.load_event(event_data=event_data, meta_data=meta_data, coordinates="opta")

    players = {str(row["from"]["id"]): str(row["from"]["name"]) for row in events["data"] if row.get("from")}
    return ProviderFile(
        provider="Metrica",
        match_id="",
        rows=rows,
        home=home,
        away=away,
        names=players,
        is_over=last > 1 and has_ended(rows, last),
        load=load,
    )


def _sides(events: Json, metadata: ElementTree.Element) -> tuple[MatchSide, MatchSide]:
    """Return home and away: as the metadata name them, else in their order there, else in that of the rows."""
    names = {str(row["team"]["id"]): str(row["team"]["name"]) for row in events["data"]}
    names |= {team.get("id", ""): team.findtext("Name") or "" for team in metadata.iter("Team")}
    score = metadata.find(".//Score")
    told = [score.get(name, "") for name in ("idLocalTeam", "idVisitingTeam")] if score is not None else []
    listed = [key for key in dict.fromkeys([*told, *names]) if key]
    home, away = (*listed, "", "")[:2]
    return MatchSide(id=home, name=names.get(home, "")), MatchSide(id=away, name=names.get(away, ""))


def _rows(data: Sequence[Json], home: MatchSide, away: MatchSide) -> Iterator[Row]:
    starts: dict[int, float] = {}
    ended: set[int] = set()
    after_penalty = False
    for row in data:
        start_s = starts.setdefault(row["period"], row["start"]["time"])
        read = _row(row, seconds=max(0.0, row["start"]["time"] - start_s), after_penalty=after_penalty)
        if read.event_type == "half_end" and read.period in ended:
            read = attrs.evolve(read, event_type="", reason=SAME_HALF)
        if read.event_type == "half_end":
            ended.add(read.period)
        if row["type"]["id"] == _FAULT:
            read = attrs.evolve(read, team_id=other_side(read.team_id, home, away), player_id="")
        yield read
        after_penalty = row["type"]["id"] == _SET_PIECE and _PENALTY in _subtypes(row)


def _row(row: Json, *, seconds: float, after_penalty: bool) -> Row:
    period = row["period"]
    event_type, details, reason = _type_of(row["type"]["id"], _subtypes(row), period, after_penalty=after_penalty)
    in_play = period in PERIODS
    return Row(
        raw_id=str(row["index"]),
        type_name="/".join([row["type"]["name"], *_subtype_names(row)]),
        event_type=event_type if in_play else "",
        reason=reason if in_play else "of no period",
        period=period if in_play else 1,
        seconds=seconds,
        team_id=str(row["team"]["id"]),
        player_id=str((row.get("from") or {}).get("id") or ""),
        details=details,
    )


def _subtypes(row: Json) -> set[int]:
    return {subtype["id"] for subtype in _listed(row)}


def _subtype_names(row: Json) -> list[str]:
    return [subtype["name"] for subtype in _listed(row)][:1]


def _listed(row: Json) -> list[Json]:
    subtypes = row.get("subtypes") or []
    return subtypes if isinstance(subtypes, list) else [subtypes]


def _type_of(kind: int, subtypes: set[int], period: int, *, after_penalty: bool) -> tuple[str, dict[str, Any], str]:
    """Return the row's event type, details, and why it is left out, if it is."""
    if kind == _SHOT:
        outcome = _first_of(_OUTCOMES, subtypes)
        return *attempt(_GOAL in subtypes, period=period, is_penalty=after_penalty, outcome=outcome), ""
    if kind == _CARD:
        return *card_of(_COLOURS[_YELLOW in subtypes, _RED in subtypes]), ""
    if kind == _SET_PIECE and period == 5:
        return "", {}, _LEFT_OUT[_SET_PIECE]
    if reason := _first_of(_SUBTYPES_LEFT_OUT.get(kind, {}), subtypes):
        return "", {}, reason
    event_type = _first_of(_SUBTYPES.get(kind, {}), subtypes) or _TYPES.get(kind, "")
    details = {"outcome": "Complete" if kind == _PASS else "Incomplete"} if event_type == "pass" else {}
    return event_type, details, _LEFT_OUT.get(kind, NO_TYPE)


def _first_of(names: Mapping[int, str], subtypes: set[int]) -> str:
    """Return the first of the names whose subtype the row has; empty for none."""
    return next((name for subtype, name in names.items() if subtype in subtypes), "")
