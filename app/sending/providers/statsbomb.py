"""StatsBomb: a match is two files of its open-data format, the events (a JSON array) and the line-ups.

**Rows and what they become** (``a/b``: field ``b`` of the row's part ``a``; the first line that fits counts)

=====================================================  ==================================================
row's ``type.name``                                    event type
=====================================================  ==================================================
``Pass``, ``pass/type.name`` is ``Corner``             ``corner``
``Pass``, ``pass/type.name`` is ``Free Kick``          ``free_kick``
``Pass``, ``pass/type.name`` is ``Throw-in``           ``throw_in``
``Pass``, any other                                    ``pass``
``Shot`` of period 5, ``shot/outcome.name`` ``Goal``   ``shootout_goal``
``Shot`` of period 5, any other                        ``shootout_miss``
``Shot``, ``shot/outcome.name`` is ``Goal``            ``goal`` (and no ``shot``)
``Shot``, any other                                    ``shot``
``Own Goal Against``                                   ``own_goal``, of the team whose player scored it
``Own Goal For``                                       left out: the other row of the same own goal
``Duel``, ``duel/type.name`` is ``Tackle``             ``tackle``
``Duel``, any other, and ``50/50``                     ``duel``
``Goal Keeper``, ``goalkeeper/type.name`` says saved   ``save``
``Goal Keeper``, any other                             ``goalkeeper``
``Foul Committed``                                     ``foul``; its card and its penalty are added
``Bad Behaviour`` with ``bad_behaviour/card``          the card
``Bad Behaviour`` without a card                       left out
``Half Start``, ``Half End``, first of its period      ``half_start``, ``half_end``
``Half Start``, ``Half End``, later rows               left out: the same, told of the other team
as in ``_TYPES``                                       as there
any other (``Ball Receipt*``, ``Foul Won``,            left out: we have no type for it
``Dribbled Past``, ``Dispossessed``, ``Shield``,
``Starting XI``, ``Error``, ``Player Off`` …)
=====================================================  ==================================================

A card is ``yellow_card``, ``red_card``, or for a second yellow ``card``. A penalty is of the *other* team.

**Time** is within its period. **Sides**: home is the team of the first row, as ``kloppy`` has it.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from app.sending.providers.match import (
    SAME_HALF,
    Besides,
    Json,
    MatchSide,
    ProviderFile,
    Row,
    attempt,
    card_of,
    other_side,
    text,
)

PROVIDER: Final = "StatsBomb"
NOTICE: Final = "Data provided by StatsBomb (open data)."

_TYPES: Final = {
    "50/50": "duel",
    "Ball Recovery": "recovery",
    "Block": "block",
    "Carry": "carry",
    "Clearance": "clearance",
    "Dribble": "dribble",
    "Foul Committed": "foul",
    "Injury Stoppage": "injury",
    "Interception": "interception",
    "Miscontrol": "miscontrol",
    "Offside": "offside",
    "Own Goal Against": "own_goal",
    "Pressure": "pressure",
    "Substitution": "substitution",
    "Tactical Shift": "formation_change",
}
_PASS_TYPES: Final = {"Corner": "corner", "Free Kick": "free_kick", "Throw-in": "throw_in"}
_CARDS: Final = {"Yellow Card": "yellow", "Red Card": "red", "Second Yellow": "second_yellow"}
_HALVES: Final = {"Half Start": "half_start", "Half End": "half_end"}
_LEFT_OUT: Final = {"Own Goal For": "two rows for one own goal", "Bad Behaviour": "no card was shown"}
_FIELDS_OF_ALL: Final = frozenset(
    {"index", "period", "timestamp", "minute", "second", "possession", "possession_team", "play_pattern", "team"}
)
_PARTS: Final = {"Goal Keeper": "goalkeeper", "Tactical Shift": "tactics"}


def read(events: Sequence[Json], lineups: Sequence[Json]) -> ProviderFile:
    """Return the match of an event file and a line-up file."""
    names = _names(events, lineups)
    home, away = _sides(events, lineups)
    reader = _StatsBombRows(events, home=home, away=away, names=names)
    return ProviderFile(
        provider=PROVIDER,
        match_id="",
        rows=tuple(reader.read()),
        home=home,
        away=away,
        load=_loader(events, lineups),
        names=names,
        is_over=_is_over(events),
        notice=NOTICE,
    )


def _names(events: Sequence[Json], lineups: Sequence[Json]) -> dict[str, str]:
    """Return the players' names by their id: the nickname, else the name of the line-up, else that of the rows."""
    names = {str(row["player"]["id"]): str(row["player"]["name"]) for row in events if "player" in row}
    for team in lineups:
        for player in team.get("lineup", ()):
            name = player.get("player_nickname") or player.get("player_name")
            if name:
                names[text(player.get("player_id"))] = str(name)
    return names


def _sides(events: Sequence[Json], lineups: Sequence[Json]) -> tuple[MatchSide, MatchSide]:
    teams = {str(row["team"]["id"]): str(row["team"]["name"]) for row in events}
    teams |= {str(team["team_id"]): str(team["team_name"]) for team in lineups}
    sides = [MatchSide(id=key, name=name) for key, name in teams.items()]
    home, away = (*sides, MatchSide(id=""), MatchSide(id=""))[:2]
    return home, away


def _loader(events: Sequence[Json], lineups: Sequence[Json]) -> Callable[[], Any]:
    def load() -> Any:
        from kloppy import statsbomb

        rows = [*events, *_missing_ends(events)]
        event_data, lineup_data = (io.BytesIO(json.dumps(content).encode()) for content in (rows, lineups))
        return statsbomb.load(event_data=event_data, lineup_data=lineup_data, coordinates="opta")

    return load


def _missing_ends(events: Sequence[Json]) -> Iterator[Json]:
    """Yield an end for each period that has none, because kloppy reads no match that is still running."""
    last = {row["period"]: row for row in events}
    ended = {row["period"] for row in events if row["type"]["name"] == "Half End"}
    for period, row in last.items():
        if period not in ended:
            kept = {key: value for key, value in row.items() if key in _FIELDS_OF_ALL}
            yield {**kept, "id": f"end of period {period}", "type": {"id": 34, "name": "Half End"}}


def _is_over(events: Sequence[Json]) -> bool:
    """Say whether the last period, if it is not the first half, has ended."""
    last = max((row["period"] for row in events), default=1)
    return last > 1 and any(row["period"] == last and row["type"]["name"] == "Half End" for row in events)


@attrs.define
class _StatsBombRows:
    """Reads the rows of one file; remembers the halves seen."""

    events: Sequence[Json]
    home: MatchSide = attrs.field(kw_only=True)
    away: MatchSide = attrs.field(kw_only=True)
    names: Mapping[str, str] = attrs.field(kw_only=True)
    halves: set[tuple[str, int]] = attrs.field(factory=set)

    def read(self) -> Iterator[Row]:
        players = {row["id"]: str(row["player"]["id"]) for row in self.events if "player" in row}
        for row in self.events:
            part = _part_of(row)
            event_type, details, reason = self._type_of(row, part)
            assist = players.get(part.get("key_pass_id", ""), "") if event_type == "goal" else ""
            yield Row(
                raw_id=row["id"],
                type_name=row["type"]["name"],
                event_type=event_type,
                reason=reason,
                period=row["period"],
                seconds=_seconds(row["timestamp"]),
                team_id=str(row["team"]["id"]),
                player_id=players.get(row["id"], ""),
                assist_id=assist,
                details=self._details(part) | details,
                besides=tuple(self._besides(row, part)),
            )

    def _type_of(self, row: Json, part: Json) -> tuple[str, dict[str, Any], str]:
        """Return the row's event type, details, and why it is left out, if it is."""
        name = row["type"]["name"]
        if name in _HALVES:
            if (name, row["period"]) in self.halves:
                return "", {}, SAME_HALF
            self.halves.add((name, row["period"]))
            return _HALVES[name], {}, ""
        if name == "Shot":
            scored, is_penalty = part["outcome"]["name"] == "Goal", _name_in(part, "type") == "Penalty"
            return *attempt(scored, period=row["period"], is_penalty=is_penalty), ""
        if name == "Bad Behaviour" and "card" in part:
            return *card_of(_CARDS.get(part["card"]["name"], "")), ""
        event_type = {
            "Pass": _PASS_TYPES.get(_name_in(part, "type"), "pass"),
            "Duel": "tackle" if _name_in(part, "type") == "Tackle" else "duel",
            "Goal Keeper": "save" if "Save" in _name_in(part, "type") else "goalkeeper",
        }.get(name) or _TYPES.get(name, "")
        return event_type, {}, _LEFT_OUT.get(name, "no event type for it")

    def _details(self, part: Json) -> dict[str, Any]:
        replacement = part.get("replacement", {})
        return {
            "outcome": _name_in(part, "outcome") or None,
            "replacement": self.names.get(text(replacement.get("id"))) or replacement.get("name"),
            "formation": part.get("formation"),
        }

    def _besides(self, row: Json, part: Json) -> Iterator[Besides]:
        """Yield the card and the penalty that a foul's row tells of, too."""
        if row["type"]["name"] != "Foul Committed":
            return
        team_id = str(row["team"]["id"])
        if "card" in part:
            event_type, details = card_of(_CARDS.get(part["card"]["name"], ""))
            player_id = text(row.get("player", {}).get("id"))
            yield Besides(name="card", event_type=event_type, team_id=team_id, player_id=player_id, details=details)
        if part.get("penalty"):
            other = other_side(team_id, self.home, self.away)
            yield Besides(name="penalty", event_type="penalty", team_id=other)


def _part_of(row: Json) -> Json:
    """Return the part of the row that its type adds, as ``foul_committed``; empty where it adds none."""
    name = row["type"]["name"]
    part: Json = row.get(_PARTS.get(name, name.lower().replace(" ", "_")), {})
    return part


def _name_in(part: Json, field: str) -> str:
    return str(part.get(field, {}).get("name", ""))


def _seconds(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
