"""Impect: a JSON array of rows, the line-ups, and for names the files of players and squads.

**Rows and what they become**: by ``actionType`` as in ``_TYPES``. A shot or kick at the goal that is followed by a
row ``GOAL`` of its team is the ``goal``, and that row is left out; where there is none, the row ``GOAL`` itself is
the goal. ``PENALTY_KICK`` is from the spot and adds the award, in the shoot-out it is ``shootout_goal`` or
``shootout_miss``. **Substitutions** are added from the line-ups.

**Time** is the clock's, from 45, 90, 105 and 120 minutes, with stoppage time in brackets.
"""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from app.sending.providers.clock import MINUTES_BEFORE, PERIODS, seconds_of
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
    has_ended,
    last_period,
    text,
)

_TYPES: Final = {
    "BLOCK": "block",
    "CLEARANCE": "clearance",
    "CORNER": "corner",
    "DRIBBLE": "carry",
    "FINAL_WHISTLE": "half_end",
    "FOUL": "foul",
    "FREE_KICK": "free_kick",
    "GK_CATCH": "goalkeeper",
    "GK_SAVE": "save",
    "GOAL": "goal",
    "GOAL_KICK": "pass",
    "GROUND_DUEL": "duel",
    "INTERCEPTION": "interception",
    "KICK_OFF": "pass",
    "LOOSE_BALL_REGAIN": "recovery",
    "OFFSIDE": "offside",
    "OUT": "ball_out",
    "OWN_GOAL": "own_goal",
    "PASS": "pass",
    "THROW_IN": "throw_in",
}
_CARDS: Final = {"YELLOW_CARD": "yellow", "SECOND_YELLOW_CARD": "second_yellow", "RED_CARD": "red"}
_KICKS: Final = frozenset({"SHOT", "PENALTY_KICK"})
_ATTEMPTS: Final = _KICKS | {"FREE_KICK", "CORNER"}
_SQUADS: Final = ("squadHome", "squadAway")
_OUTCOMES: Final = {"SUCCESS": "Complete", "FAIL": "Incomplete"}
_BEFORE_GOAL: Final = 6
"""Rows before a ``GOAL`` among which its shot is looked for: saves, touches and deflections may stand between."""

_CLOCK: Final = re.compile(r"\s*(\d+):([\d.]+)(?:\s*\(\+(\d+):([\d.]+)\))?")
_SUBSTITUTES_S: Final = 30.0
"""Seconds within which one who comes on takes the place of one who goes off."""


def read(events: Sequence[Json], lineups: Json, squads: Document = None, players: Document = None) -> ProviderFile:
    """Return the match of a file of rows and one of line-ups; without the others there are ids and no names."""
    home, away = _sides(lineups, squads or ())
    names = {text(player.get("id")): _name(player) for player in players or ()}
    rows = tuple(_rows(events))
    last = last_period(rows)
    return ProviderFile(
        provider="Impect",
        match_id=text(lineups.get("id")),
        rows=rows,
        unsent=tuple(change for key in _SQUADS for change in _substitutions(lineups[key], names, last=last)),
        home=home,
        away=away,
        names=names,
        kickoff=_moment(lineups.get("dateTime") or ""),
        is_over=last > 1 and has_ended(rows, last),
        load=_loader(events, _for_kloppy(lineups, {row.period for row in rows}), squads, players),
    )


def _sides(lineups: Json, squads: Sequence[Json]) -> tuple[MatchSide, MatchSide]:
    names = {text(squad.get("id")): str(squad.get("name") or "") for squad in squads}
    home, away = (text(lineups[key]["id"]) for key in _SQUADS)
    return MatchSide(id=home, name=names.get(home, "")), MatchSide(id=away, name=names.get(away, ""))


def _loader(events: Document, lineups: Document, *more: Document) -> Callable[[], Any]:
    def load() -> Any:
        from kloppy import impect

        files = [_file(content) if content else None for content in (events, lineups, *more)]
        return impect.load(*files, coordinates="opta")

    return load


def _file(content: Document) -> io.BytesIO:
    return io.BytesIO(json.dumps(content).encode())


def _for_kloppy(lineups: Json, periods: set[int]) -> dict[str, Any]:
    """Return the line-ups without the substitutions of periods that the rows have not reached."""
    kept = dict(lineups)
    for key in _SQUADS:
        changes = [change for change in lineups[key].get("substitutions", ()) if _when(change)[0] in periods]
        kept[key] = {**lineups[key], "substitutions": changes}
    return kept


def _rows(events: Sequence[Json]) -> Iterator[Row]:
    scored, told = _goals(events)
    for number, row in enumerate(events):
        kind, period = row["actionType"], row["periodId"]
        event_type, details, reason = _type_of(row, is_goal=number in scored, is_told=number in told)
        team_id, player_id = text(row.get("squadId")), text((row.get("player") or {}).get("id"))
        besides: tuple[Besides, ...] = ()
        if kind == "PENALTY_KICK" and event_type in ("goal", "shot"):
            besides = (Besides(name="penalty", event_type="penalty", team_id=team_id),)
        yield Row(
            raw_id=str(row["id"]),
            type_name=kind,
            event_type=event_type if period in PERIODS else "",
            reason=reason,
            period=period if period in PERIODS else 1,
            seconds=_seconds(row["gameTime"]["gameTime"], period) if period in PERIODS else 0.0,
            team_id=team_id,
            player_id=player_id,
            details=details,
            besides=besides,
        )


def _goals(events: Sequence[Json]) -> tuple[set[int], set[int]]:
    """Return the numbers of the rows that are goals, and of the rows ``GOAL`` that tell of them a second time."""
    scored = {n for n, row in enumerate(events) if row["actionType"] in _KICKS and row.get("result") == "SUCCESS"}
    told: set[int] = set()
    taken: set[int] = set()
    for number, row in enumerate(events):
        if row["actionType"] != "GOAL":
            continue
        found = _scored_before(events, number, text(row.get("squadId")), taken)
        if found is not None:
            taken.add(found)
            told.add(number)
    return scored | taken, told


def _scored_before(events: Sequence[Json], number: int, squad_id: str, taken: set[int]) -> int | None:
    """Return the number of the row that a row ``GOAL`` tells of a second time, None where there is none."""
    for before in range(number - 1, max(-1, number - 1 - _BEFORE_GOAL), -1):
        row = events[before]
        attempted = row["actionType"] in _ATTEMPTS and row.get("result") == "SUCCESS"
        is_its_own = attempted and text(row.get("squadId")) == squad_id
        if before not in taken and (row["actionType"] == "OWN_GOAL" or is_its_own):
            return before
    return None


def _type_of(row: Json, *, is_goal: bool, is_told: bool) -> tuple[str, dict[str, Any], str]:
    """Return the row's event type, details, and why it is left out, if it is."""
    kind = row["actionType"]
    if is_told:
        return "", {}, "told by the shot, too"
    if kind in _KICKS or (kind in _ATTEMPTS and is_goal):
        is_penalty = "PENALTY_KICK" in (kind, row.get("action"))
        outcome = "Goal" if is_goal else ""
        return *attempt(is_goal, period=row["periodId"], is_penalty=is_penalty, outcome=outcome), ""
    if kind in _CARDS:
        return *card_of(_CARDS[kind]), ""
    event_type = _TYPES.get(kind, "")
    outcome = _OUTCOMES.get(str(row.get("result")), "") if event_type == "pass" else ""
    return event_type, {"outcome": outcome} if outcome else {}, NO_TYPE


def _substitutions(squad: Json, names: Mapping[str, str], *, last: int) -> Iterator[Row]:
    """Yield an event for each player who goes to the bench, with the one who comes from it at about that time.

    One for whom nobody comes was sent off: his card tells of it.
    """
    changes = [(_when(change), change) for change in squad.get("substitutions", ())]
    coming = [entry for entry in changes if entry[1].get("fromPosition") == "BANK"]
    for when, change in changes:
        found = [entry for entry in coming if _is_about(entry[0], when)]
        if found and change.get("toPosition") == "BANK" and when[0] <= last:
            coming.remove(found[0])
            yield _substitution(text(squad["id"]), when, change, names.get(text(found[0][1]["playerId"])))


def _is_about(one: tuple[int, float], other: tuple[int, float]) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) <= _SUBSTITUTES_S


def _substitution(team_id: str, when: tuple[int, float], change: Json, replacement: str | None) -> Row:
    return Row(
        raw_id=f"substitution {change['playerId']}",
        type_name="substitution",
        event_type="substitution",
        period=when[0],
        seconds=when[1],
        team_id=team_id,
        player_id=text(change["playerId"]),
        details={"replacement": replacement},
    )


def _when(change: Json) -> tuple[int, float]:
    """Return period and seconds within it, of a clock that alone tells the period."""
    clock = str(change["gameTime"]["gameTime"])
    found = _CLOCK.match(clock)
    minute = int(found[1]) if found else 0
    extra = bool(found and found[3])
    period = max(p for p in (1, 2, 3, 4) if p == 1 or minute > MINUTES_BEFORE[p] - (0 if extra else 1))
    return period, _seconds(clock, period)


def _seconds(clock: str, period: int) -> float:
    found = _CLOCK.match(clock)
    if found is None:
        return 0.0
    added = int(found[3] or 0) * 60 + float(found[4] or 0)
    return max(0.0, seconds_of(period, int(found[1]), float(found[2])) + added)


def _name(player: Json) -> str:
    full = f"{player.get('firstname') or ''} {player.get('lastname') or ''}".strip()
    return str(player.get("commonname") or full)


def _moment(told: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
