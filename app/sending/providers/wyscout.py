"""What versions 2 and 3 of Wyscout's files have in common: everything but the rows."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from app.sending.providers.match import Json, MatchSide, text

PERIODS: Final = {"1H": 1, "2H": 2, "E1": 3, "E2": 4, "P": 5}

_FORMATION: Final[Json] = {"1H": {"0": {"4-4-2": {"players": []}}}}


def completed(document: Json) -> dict[str, Any]:
    """Return the file with teams, players and line-ups, which stand behind the rows: one that is cut off lacks them.

    Teams and players are then those of the rows; line-ups are made up, are not sent, and let kloppy read the rest.
    """
    teams, named = _of_rows(document["events"])
    told = (document.get("match") or {}).get("teamsData") or {}
    for team_id, data in told.items():
        formation = data.get("formation") or {}
        for player in (*formation.get("lineup", ()), *formation.get("bench", ())):
            named.setdefault(str(team_id), {}).setdefault(str(player["playerId"]), "")
    players = {
        team_id: _squad((document.get("players") or {}).get(team_id, ()), made) for team_id, made in named.items()
    }
    match = {"teamsData": {team_id: _line_up(team_id, players[team_id], n) for n, team_id in enumerate(teams)}}
    made_up = {
        "match": match,
        "teams": {key: {"team": {"name": name, "officialName": name}} for key, name in teams.items()},
        "formations": dict.fromkeys(teams, _FORMATION),
    }
    return {**made_up, **document, "players": players}


def _of_rows(rows: Iterable[Json]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return the names of the teams, and those of their players, as far as the rows have them, by ids."""
    teams: dict[str, str] = {}
    players: dict[str, dict[str, str]] = {}
    for row in rows:
        team, player = row.get("team") or {}, row.get("player") or {}
        team_id, player_id = text(team.get("id") or row.get("teamId")), text(player.get("id") or row.get("playerId"))
        if team_id:
            teams.setdefault(team_id, str(team.get("name") or ""))
            squad = players.setdefault(team_id, {})
            if player_id:
                squad.setdefault(player_id, str(player.get("name") or ""))
    return teams, players


def _squad(told: Iterable[Json], made: Mapping[str, str]) -> list[Json]:
    """Return the players that the file lists, and those besides that it only mentions."""
    listed = [entry for entry in told if entry]
    known = {text(entry.get("player", entry).get("wyId")) for entry in listed}
    return [*listed, *(_player(player_id, name) for player_id, name in made.items() if player_id not in known)]


def _player(player_id: str, name: str) -> dict[str, Any]:
    named = {"shortName": name, "firstName": name, "lastName": ""}
    return {"player": {"wyId": int(player_id) if player_id.isdecimal() else player_id, **named}}


def _line_up(team_id: str, squad: list[Json], number: int) -> dict[str, Any]:
    """Return a team's data of the match in which all of its players began; the first team is at home."""
    lineup = [{"playerId": entry.get("player", entry)["wyId"], "shirtNumber": None} for entry in squad]
    return {"teamId": team_id, "side": "away" if number else "home", "formation": {"lineup": lineup, "bench": []}}


def sides_of(document: Json) -> tuple[MatchSide, MatchSide]:
    """Return home and away: as the match's data say, else in the order of the teams, as kloppy has it."""
    told = (document.get("match") or {}).get("teamsData") or {}
    sides = [
        MatchSide(id=str(key), name=str(team.get("team", team).get("name", "")))
        for key, team in document["teams"].items()
    ]
    sides.sort(key=lambda side: told.get(side.id, {}).get("side") == "away")
    home, away = (*sides, MatchSide(id=""), MatchSide(id=""))[:2]
    return home, away


def names_of(document: Json) -> dict[str, str]:
    """Return the short names of the players, by id."""
    players = [entry.get("player", entry) for squad in document.get("players", {}).values() for entry in squad if entry]
    return {text(player.get("wyId")): player["shortName"] for player in players if player.get("shortName")}


def match_id_of(document: Json) -> str:
    """Return the match's id; empty where the file has none."""
    match = document.get("match") or {}
    return text(match.get("wyId") or next((row.get("matchId") for row in document["events"]), ""))


def kickoff_of(document: Json) -> datetime | None:
    """Return when the match was to begin, or None where the file does not say."""
    told = (document.get("match") or {}).get("dateutc") or ""
    try:
        return datetime.strptime(told, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def is_over(document: Json) -> bool:
    """Say whether the match has been played, which a file without a status does not deny."""
    return (document.get("match") or {}).get("status") in (None, "", "Played")
