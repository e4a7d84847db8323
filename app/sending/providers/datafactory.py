"""DataFactory: one JSON file, whose ``incidences`` hold the rows by class, each with a ``type``.

**Rows and what they become**: by class as in ``_TYPES``; a row of ``shots`` by its type (9, 11, 12, 13 are goals, 13
from the penalty spot, 10 an own goal), one of ``yellowCards`` and ``redCards`` by its colour (4 is a second yellow),
one of ``status`` as start or end of a half, one of ``penaltyShootout`` as a kick that went in (55) or not. A row of
``goals`` is left out where ``shots`` has it, too. A foul of type 31 or 32 adds the other team's ``penalty``.

**Time** is the clock's, from 45, 90, 105 and 120 minutes; the day's is that of the row of ``status`` that starts the
half. **Teams**: an own goal is of the team of the player who scored it, by the list of players.
"""

import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from app.sending.providers.clock import PERIODS, seconds_of
from app.sending.providers.match import (
    NO_TYPE,
    Besides,
    Document,
    Json,
    MatchSide,
    ProviderFile,
    Row,
    attempt,
    card_of,
    other_side,
    text,
)

_TYPES: Final = {
    "clearances": "clearance",
    "cornerKicks": "corner",
    "correctPasses": "pass",
    "incorrectPasses": "pass",
    "fouls": "foul",
    "offsides": "offside",
    "stealings": "recovery",
    "substitutions": "substitution",
    "throwIn": "throw_in",
}
_LEFT_OUT: Final = {"goalkick": "the kick itself is a pass"}
_OWN_GOAL, _PENALTY_GOAL = 10, 13
_GOALS: Final = {9, 11, 12, _PENALTY_GOAL}
_PENALTIES: Final = {_PENALTY_GOAL, 43, 44, 45}
_OUTCOMES: Final = {33: "Off target", 34: "Post", 35: "Saved", 43: "Saved", 44: "Off target", 45: "Post"}
_CARDS: Final = {3: "yellow", 4: "second_yellow", 5: "red"}
_STARTS: Final = {1: 1, 18: 2, 50: 3, 52: 4, 54: 5}
_ENDS: Final = {2, 17, 49, 51, 53}
_HALVES: Final = dict.fromkeys(_STARTS, "half_start") | dict.fromkeys(_ENDS, "half_end")
_PASSES: Final = {"correctPasses": "Complete", "incorrectPasses": "Incomplete"}
_MATCH_END: Final = 2
_SHOOTOUT_GOAL: Final = 55
_PENALTY_FOULS: Final = {31, 32}


def read(document: Document) -> ProviderFile:
    """Return the match of a file."""
    match, players, teams = document["match"], document["players"], document["teams"]
    home, away = (
        MatchSide(id=key, name=teams.get(key, {}).get("name", ""))
        for key in map(str, (match["homeTeamId"], match["awayTeamId"]))
    )
    reader = _DataFactoryRows(document["incidences"], match=match, players=players, home=home, away=away)
    status = document["incidences"].get("status", {}).values()

    def load() -> Any:
        from kloppy import datafactory

        return datafactory.load(event_data=io.BytesIO(json.dumps(_for_kloppy(document)).encode()), coordinates="opta")

    return ProviderFile(
        provider="DataFactory",
        match_id=text(match.get("matchId")),
        rows=tuple(reader.read()),
        home=home,
        away=away,
        names=reader.names,
        competition=text(match.get("competition")),
        is_over=any(row["type"] == _MATCH_END for row in status),
        load=load,
    )


def _for_kloppy(document: Json) -> Json:
    """Return the file with what kloppy needs to find, and one that is cut off, or of a running match, has not."""
    incidences = {"status": {}, "goals": {}} | dict(document["incidences"])
    halves = {row["t"]["half"] for rows in incidences.values() for row in rows.values()} & set(PERIODS)
    begun = {_STARTS[row["type"]] for row in incidences["status"].values() if row["type"] in _STARTS}
    kinds = {half: kind for kind, half in _STARTS.items()}
    made = {
        f"start of {half}": {"type": kinds[half], "t": {"half": half, "m": 0, "s": 0}, "time": "00:00:00"}
        for half in halves - begun
    }
    incidences["status"] = made | dict(incidences["status"])
    return {**document, "incidences": incidences, "scoreStatus": document.get("scoreStatus", {})}


@attrs.define
class _DataFactoryRows:
    """Reads the rows of one file."""

    incidences: Mapping[str, Mapping[str, Json]]
    match: Json = attrs.field(kw_only=True)
    players: Mapping[str, Json] = attrs.field(kw_only=True)
    home: MatchSide = attrs.field(kw_only=True)
    away: MatchSide = attrs.field(kw_only=True)
    names: dict[str, str] = attrs.field(init=False)
    starts: dict[int, datetime] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.names = {key: _name(player.get("name", {})) for key, player in self.players.items()}
        self.starts = {}
        for row in self.incidences.get("status", {}).values():
            moment = self._moment(row.get("time", ""))
            if moment is not None and row["type"] in _STARTS:
                self.starts.setdefault(_STARTS[row["type"]], moment)

    def read(self) -> Iterator[Row]:
        """Yield what each row becomes, in the order of the clock."""
        listed = [(group, key, row) for group, rows in self.incidences.items() for key, row in rows.items()]
        listed.sort(key=lambda entry: (entry[2]["t"]["half"], entry[2]["t"]["m"], entry[2]["t"]["s"] or 0))
        for group, key, row in listed:
            period = _period(group, row)
            if period in PERIODS:
                yield self._row(group, key, row, period)
            else:
                yield Row(raw_id=str(key), type_name=group, reason="of no period")

    def _row(self, group: str, key: str, row: Json, period: int) -> Row:
        event_type, details, reason = self._type_of(group, key, row)
        seconds = max(0.0, seconds_of(period, row["t"]["m"], row["t"]["s"] or 0))
        player_id = text(row.get("plyrId") or row.get("offId"))
        start = self.starts.get(period)
        return Row(
            raw_id=str(key),
            type_name=group,
            event_type=event_type,
            reason=reason,
            period=period,
            seconds=seconds,
            at=start + timedelta(seconds=seconds) if start is not None else None,
            team_id=self._team(row, player_id),
            player_id=player_id,
            assist_id=text(row.get("assBy") or self.incidences.get("goals", {}).get(key, {}).get("assBy")),
            details=details,
            besides=tuple(self._besides(group, row)),
        )

    def _type_of(self, group: str, key: str, row: Json) -> tuple[str, dict[str, Any], str]:
        """Return the row's event type, details, and why it is left out, if it is."""
        kind = row["type"]
        if group == "goals" and key in self.incidences.get("shots", {}):
            return "", {}, "told among the shots, too"
        if group in ("goals", "shots"):
            return *self._attempt(row), ""
        if group in ("yellowCards", "redCards"):
            return *card_of(_CARDS.get(kind, "")), ""
        if group == "status":
            return _HALVES.get(kind, ""), {}, NO_TYPE
        if group == "penaltyShootout":
            return ("shootout_goal" if kind == _SHOOTOUT_GOAL else "shootout_miss"), {}, ""
        return _TYPES.get(group, ""), self._details(group, row), _LEFT_OUT.get(group, NO_TYPE)

    def _details(self, group: str, row: Json) -> dict[str, Any]:
        if group == "substitutions":
            return {"replacement": self.names.get(text(row.get("inId")))}
        return {"outcome": _PASSES[group]} if group in _PASSES else {}

    def _attempt(self, row: Json) -> tuple[str, dict[str, Any]]:
        kind = row["type"]
        if kind == _OWN_GOAL:
            return "own_goal", {}
        outcome = "Goal" if kind in _GOALS else _OUTCOMES.get(kind, "")
        return attempt(kind in _GOALS, period=row["t"]["half"], is_penalty=kind in _PENALTIES, outcome=outcome)

    def _team(self, row: Json, player_id: str) -> str:
        of_player = text(self.players.get(player_id, {}).get("teamId"))
        return (of_player if row["type"] == _OWN_GOAL else "") or text(row.get("team")) or of_player

    def _besides(self, group: str, row: Json) -> Iterator[Besides]:
        if group == "fouls" and row["type"] in _PENALTY_FOULS:
            other = other_side(text(row.get("team")), self.home, self.away)
            yield Besides(name="penalty", event_type="penalty", team_id=other)

    def _moment(self, time_of_day: str) -> datetime | None:
        told = f"{self.match.get('date', '')}{time_of_day}{self.match.get('stadiumGMT', '')}"
        try:
            return datetime.strptime(told, "%Y%m%d%H:%M:%S%z")
        except ValueError:
            return None


def _period(group: str, row: Json) -> int:
    """Return a row's period, 0 where it has none; the row that starts the match stands in half 0."""
    if group == "penaltyShootout":
        return 5
    return int(_STARTS.get(row["type"], row["t"]["half"]) if group == "status" else row["t"]["half"])


def _name(name: Json) -> str:
    return str(name.get("nick") or name.get("shortName") or f"{name.get('first', '')} {name.get('last', '')}".strip())
