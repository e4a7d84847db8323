"""Wyscout, version 3: one JSON file with ``events``, ``match``, ``teams``, ``players`` and ``substitutions``.

**Rows and what they become**: by ``type.primary`` as in ``_TYPES``, but for these, which look at ``type.secondary``
and the row's parts: ``shot``, ``penalty`` and a free kick or corner at the goal (``goal``, ``shot``, in the shoot-out
``shootout_goal``, ``shootout_miss``), ``shot_against`` (``save``, else ``goalkeeper``), ``infraction`` (``foul``,
which adds its card, or the card), ``duel`` (``dribble`` where it is one), ``touch`` (``carry`` where it is one). A
penalty kick adds the award, ``penalty``. **Substitutions** are added from the list beside the rows.

**Time** is the clock's, from 45, 90, 105 and 120 minutes; the day's is that of the planned kick-off.
"""

import io
import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

import attrs

from app.sending.providers.clock import seconds_of
from app.sending.providers.match import Besides, Document, Json, ProviderFile, Row, attempt, card_of, text
from app.sending.providers.wyscout import PERIODS, completed, is_over, kickoff_of, match_id_of, names_of, sides_of

_TYPES: Final = {
    "acceleration": "carry",
    "clearance": "clearance",
    "corner": "corner",
    "free_kick": "free_kick",
    "goal_kick": "pass",
    "goalkeeper_exit": "goalkeeper",
    "interception": "interception",
    "offside": "offside",
    "own_goal": "own_goal",
    "pass": "pass",
    "throw_in": "throw_in",
}
_AT_GOAL: Final = {"free_kick": {"free_kick_shot", "shot"}, "corner": {"free_kick_shot", "shot"}}
_PARTICULAR: Final = {
    "duel": ("dribble", "dribble", "duel"),
    "touch": ("carry", "carry", ""),
    "game_interruption": ("ball_out", "ball_out", ""),
    "shot_against": ("save", "save", "goalkeeper"),
    "infraction": ("foul", "foul", ""),
}
"""Primary types that become the second where the first is among the secondary ones, else the third."""


def read(document: Document) -> ProviderFile:
    """Return the match of a file of version 3."""
    document = completed(document)
    home, away = sides_of(document)
    names = names_of(document)

    def load() -> Any:
        from kloppy import wyscout

        content = io.BytesIO(json.dumps(document).encode())
        return wyscout.load(event_data=content, data_version="V3", coordinates="opta")

    return ProviderFile(
        provider="Wyscout",
        match_id=match_id_of(document),
        rows=tuple(_rows(document["events"])),
        unsent=tuple(_substitutions(document, names)),
        home=home,
        away=away,
        names=names,
        kickoff=kickoff_of(document),
        is_over=is_over(document),
        load=load,
    )


def _rows(events: Sequence[Json]) -> Iterator[Row]:
    assist: tuple[str, str] = "", ""
    for row in events:
        read, told = _row(row), row["type"]["secondary"] or ()
        if "assist" in told:
            assist = read.team_id, read.player_id
        is_assisted = read.event_type == "goal" and assist[0] == read.team_id
        yield attrs.evolve(read, assist_id=assist[1]) if is_assisted else read
        if read.event_type in ("goal", "own_goal"):
            assist = "", ""


def _row(row: Json) -> Row:
    primary = row["type"]["primary"]
    team_id, player_id = text(row["team"]["id"]), text((row.get("player") or {}).get("id"))
    period = PERIODS.get(row["matchPeriod"], 0)
    if not period:
        return Row(raw_id=str(row.get("id", primary)), type_name=primary, reason="of no period")
    event_type, details = _type_of(row, primary, period)
    return Row(
        raw_id=str(row.get("id", primary)),
        type_name=primary,
        event_type=event_type,
        period=period,
        seconds=seconds_of(period, row["minute"], row["second"]),
        team_id=team_id,
        player_id=player_id,
        details=details,
        besides=tuple(_besides(row, event_type, team_id, player_id)),
    )


def _type_of(row: Json, primary: str, period: int) -> tuple[str, dict[str, Any]]:
    """Return the row's event type, empty where it is left out, and details."""
    secondary = set(row["type"]["secondary"] or ())
    if primary in ("shot", "penalty") or secondary & _AT_GOAL.get(primary, set()):
        return _attempt(row, is_penalty=primary == "penalty", period=period)
    if primary == "infraction" and "foul" not in secondary:
        return card_of(_card(row)) if _card(row) else ("", {})
    if primary in _PARTICULAR:
        needed, then, otherwise = _PARTICULAR[primary]
        return (then if needed in secondary else otherwise), {}
    event_type = _TYPES.get(primary, "")
    return event_type, _of_pass(row) if event_type == "pass" else {}


def _attempt(row: Json, *, is_penalty: bool, period: int) -> tuple[str, dict[str, Any]]:
    shot = row.get("shot") or {}
    scored = bool(shot.get("isGoal")) or "goal" in (row["type"]["secondary"] or ())
    return attempt(scored, period=period, is_penalty=is_penalty, outcome=_outcome(shot, scored=scored))


def _of_pass(row: Json) -> dict[str, Any]:
    accurate = (row.get("pass") or {}).get("accurate")
    return {} if accurate is None else {"outcome": "Complete" if accurate else "Incomplete"}


def _outcome(shot: Json, *, scored: bool) -> str:
    """Return how an attempt ended, by the zone of the goal: ``b`` blocked, ``p`` post, ``o`` out, ``g`` on target."""
    if scored:
        return "Goal"
    zone = str(shot.get("goalZone") or "")
    return {"b": "Blocked", "p": "Post", "o": "Off target", "g": "Saved"}.get(zone[:1], "")


def _card(row: Json) -> str:
    secondary, infraction = row["type"]["secondary"] or (), row.get("infraction") or {}
    yellow = infraction.get("yellowCard") or "yellow_card" in secondary
    red = infraction.get("redCard") or "red_card" in secondary
    return "second_yellow" if yellow and red else "red" if red else "yellow" if yellow else ""


def _besides(row: Json, event_type: str, team_id: str, player_id: str) -> Iterator[Besides]:
    if event_type == "foul" and (colour := _card(row)):
        card, details = card_of(colour)
        yield Besides(name="card", event_type=card, team_id=team_id, player_id=player_id, details=details)
    if row["type"]["primary"] == "penalty" and event_type in ("goal", "shot"):
        yield Besides(name="penalty", event_type="penalty", team_id=team_id)


def _substitutions(document: Json, names: dict[str, str]) -> Iterator[Row]:
    """Yield an event for each player who goes off, with the one who comes on."""
    for team_id, period, seconds, change in _changes(document.get("substitutions") or {}):
        coming = [names.get(text(player["playerId"])) for player in change.get("in") or ()]
        for player, replacement in zip_longest(change.get("out") or (), coming):
            if player is not None:
                yield Row(
                    raw_id=f"substitution {player['playerId']}",
                    type_name="substitution",
                    event_type="substitution",
                    period=PERIODS.get(period, 1),
                    seconds=seconds,
                    team_id=team_id,
                    player_id=str(player["playerId"]),
                    details={"replacement": replacement},
                )


def _changes(substitutions: Json) -> Iterator[tuple[str, str, float, Json]]:
    """Yield team, period, second and what changed; they are listed by team, then period, then second."""
    for team_id, periods in substitutions.items():
        for period, by_second in (periods or {}).items():
            for second, change in (by_second or {}).items():
                yield str(team_id), period, float(second), change
