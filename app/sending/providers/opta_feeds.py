"""The feeds of Opta and Stats Perform: F24 or F73 with F7 (XML), MA3 with MA1 (XML or JSON).

Their rows have places from 0 to 100, the acting team attacking towards 100, and the line-ups have names: there is
nothing to ask kloppy for. F24 and F73 tell time of day in London's time without saying so; MA3 tells it in UTC.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any, Final
from xml.etree import ElementTree
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from app.sending.providers.match import Document, Json, MatchSide, ProviderError, ProviderFile, text
from app.sending.providers.opta import OptaRow, OptaRows

_PLAYED: Final = frozenset({"played", "awarded", "fulltime", "full time", "postmatch"})


@attrs.frozen(kw_only=True)
class _Match:
    """What the file with the line-ups tells."""

    home: MatchSide
    away: MatchSide
    names: Mapping[str, str]
    match_id: str = ""
    competition: str = ""
    status: str = ""
    """As the feed has it; empty where it does not say."""


def read_f24(events: Document, lineups: Document) -> ProviderFile:
    """Return the match of an F24 or F73 file and an F7 file, given as root elements."""
    game = events.find("Game")
    rows = [_f24_row(element) for element in game.iter("Event")]
    match = _f7(lineups)
    match = attrs.evolve(match, match_id=game.get("id", ""), competition=game.get("competition_name", ""))
    return _file("Opta", rows, match)


def read_ma3(events: Document, lineups: Document) -> ProviderFile:
    """Return the match of an MA3 file and an MA1 file, both as root elements or both as JSON."""
    is_xml = isinstance(events, ElementTree.Element)
    rows = [_ma3_row(row) for row in (_ma3_xml_rows(events) if is_xml else events["liveData"]["event"])]
    match = _ma1(_ma1_from_xml(lineups) if isinstance(lineups, ElementTree.Element) else lineups)
    return _file("Stats Perform", rows, match)


def _file(provider: str, rows: list[OptaRow], match: _Match) -> ProviderFile:
    reader = OptaRows(rows, home=match.home, away=match.away, names=match.names)
    last = max((row.period for row in rows if row.period <= 5), default=1)
    has_ended = any(row.type_id == 30 and row.period in (14, last) for row in rows) and last > 1
    return ProviderFile(
        provider=provider,
        match_id=match.match_id,
        rows=tuple(reader.read()),
        home=match.home,
        away=match.away,
        names=match.names,
        competition=match.competition,
        is_over=match.status.lower() in _PLAYED if match.status else has_ended,
        load=None,
    )


def _f24_row(element: ElementTree.Element) -> OptaRow:
    return OptaRow(
        raw_id=element.get("id", ""),
        number=element.get("event_id", ""),
        type_id=int(element.get("type_id", "0")),
        period=int(element.get("period_id", "0")),
        minute=int(element.get("min", "0")),
        second=int(element.get("sec", "0")),
        team_id=element.get("team_id", ""),
        player_id=element.get("player_id", ""),
        outcome=int(element.get("outcome", "1")),
        x=float(element.get("x", "0")),
        y=float(element.get("y", "0")),
        at=_moment(element.get("timestamp", ""), _london()),
        qualifiers={int(q.get("qualifier_id", "0")): q.get("value") or "" for q in element.iter("Q")},
    )


def _ma3_row(row: Json) -> OptaRow:
    return OptaRow(
        raw_id=str(row["id"]),
        number=str(row["eventId"]),
        type_id=int(row["typeId"]),
        period=int(row["periodId"]),
        minute=int(row["timeMin"]),
        second=int(row["timeSec"]),
        team_id=text(row.get("contestantId")),
        player_id=text(row.get("playerId")),
        outcome=int(row.get("outcome", 1)),
        x=float(row.get("x") or 0),
        y=float(row.get("y") or 0),
        at=_moment(row.get("timeStamp", ""), UTC),
        qualifiers={int(q["qualifierId"]): str(q.get("value") or "") for q in row.get("qualifier", ())},
    )


def _ma3_xml_rows(root: ElementTree.Element) -> Iterator[dict[str, Any]]:
    for element in root.iter("event"):
        yield {**element.attrib, "qualifier": [q.attrib for q in element.iter("qualifier")]}


def _f7(root: ElementTree.Element) -> _Match:
    """Read an F7 file; it writes ``t1`` and ``p1`` for a team and a player that are ``1`` in F24."""
    sides = {}
    for team in root.iter("TeamData"):
        sides[team.get("Side", "")] = team.get("TeamRef", "").lstrip("t")
    teams, names = {}, {}
    for team in root.iter("Team"):
        teams[team.get("uID", "").lstrip("t")] = team.findtext("Name") or ""
        for player in team.iter("Player"):
            names[player.get("uID", "").lstrip("p")] = _f7_name(player)
    info = root.find(".//MatchInfo")
    return _Match(
        home=MatchSide(id=sides.get("Home", ""), name=teams.get(sides.get("Home", ""), "")),
        away=MatchSide(id=sides.get("Away", ""), name=teams.get(sides.get("Away", ""), "")),
        names=names,
        status=info.get("Period", "") if info is not None else "",
    )


def _f7_name(player: ElementTree.Element) -> str:
    parts = (player.findtext("PersonName/First"), player.findtext("PersonName/Last"))
    return player.findtext("PersonName/Known") or " ".join(part for part in parts if part)


def _ma1(document: Json) -> _Match:
    info, live = document["matchInfo"], document["liveData"]
    sides = {team["position"]: MatchSide(id=team["id"], name=team.get("name", "")) for team in info["contestant"]}
    names = {
        player["playerId"]: player.get("knownName") or player.get("matchName", "")
        for lineup in live.get("lineUp", ())
        for player in lineup.get("player", ())
    }
    return _Match(
        home=sides["home"],
        away=sides["away"],
        names=names,
        match_id=info.get("id", ""),
        competition=info.get("competition", {}).get("name", ""),
        status=live.get("matchDetails", {}).get("matchStatus", ""),
    )


def _ma1_from_xml(root: ElementTree.Element) -> dict[str, Any]:
    """Return what is read of an MA1 file in XML, in the shape that it has in JSON."""
    info, details, competition = root.find("matchInfo"), root.find(".//matchDetails"), root.find(".//competition")
    return {
        "matchInfo": {
            "id": info.get("id", "") if info is not None else "",
            "contestant": [team.attrib for team in root.iter("contestant")],
            "competition": competition.attrib if competition is not None else {},
        },
        "liveData": {
            "lineUp": [
                {"player": [player.attrib for player in lineup.iter("player")]} for lineup in root.iter("lineUp")
            ],
            "matchDetails": details.attrib if details is not None else {},
        },
    }


@cache
def _london() -> tzinfo:
    """Return London's zone.

    Raises:
        ProviderError: the machine has no database of time zones.
    """
    try:
        return ZoneInfo("Europe/London")
    except ZoneInfoNotFoundError as error:
        raise ProviderError(
            "an Opta file tells London's time, and this machine knows no zones: install tzdata"
        ) from error


def _moment(told: str, zone: tzinfo) -> datetime | None:
    """Return a time of day in UTC; None where there is none that can be read."""
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
