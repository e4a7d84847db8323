"""What a parsed file is, by its content: a provider's rows, a file beside them, or something without events."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from xml.etree import ElementTree

import attrs

from app.sending.providers import datafactory, impect, metrica, opta_feeds, sportec, statsbomb, wyscout_v2, wyscout_v3
from app.sending.providers.match import Document, Json, ProviderFile

KNOWN: Final = (
    "events of ours (one, an array, NDJSON, an answer of GET /api/matches/{matchId}/events), and the event files of "
    "StatsBomb, Opta (F24, F73), Stats Perform (MA3), Wyscout (v2, v3), DataFactory, Sportec, Impect and Metrica"
)


@attrs.frozen(kw_only=True)
class FileKind:
    """What a file is. ``name`` goes on after "is".

    Attributes:
        needs: names of the kinds of which a file must stand beside it.
        wants: names of those that add names where they are there.
        read: makes a match of it and those files, in that order; None where it holds no events.
    """

    name: str
    needs: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    read: Callable[..., ProviderFile] | None = None


STATSBOMB_LINEUPS: Final = "a StatsBomb line-up file"
F7: Final = "an Opta F7 file"
MA1: Final = "a Stats Perform MA1 file"
SPORTEC_INFORMATION: Final = "a Sportec match-information file"
IMPECT_LINEUPS: Final = "an Impect line-up file"
IMPECT_SQUADS: Final = "an Impect file of squads"
IMPECT_PLAYERS: Final = "an Impect file of players"
EPTS: Final = "a metadata file in FIFA's EPTS format"

BESIDE: Final = frozenset(
    {STATSBOMB_LINEUPS, F7, MA1, SPORTEC_INFORMATION, IMPECT_LINEUPS, IMPECT_SQUADS, IMPECT_PLAYERS, EPTS}
)
"""Kinds of files that belong to an event file."""

OWN: Final = FileKind(name="an event of ours")
OWN_EVENTS: Final = FileKind(name="events of ours")
OWN_ANSWER: Final = FileKind(name="an answer of GET /api/matches/{matchId}/events")
STATSBOMB: Final = FileKind(name="a StatsBomb event file", needs=(STATSBOMB_LINEUPS,), read=statsbomb.read)
_F24: Final = FileKind(name="an Opta F24 file", needs=(F7,), read=opta_feeds.read_f24)
_MA3: Final = FileKind(name="a Stats Perform MA3 file", needs=(MA1,), read=opta_feeds.read_ma3)
_WYSCOUT_2: Final = FileKind(name="a Wyscout event file (v2)", read=wyscout_v2.read)
_WYSCOUT_3: Final = FileKind(name="a Wyscout event file (v3)", read=wyscout_v3.read)
_DATAFACTORY: Final = FileKind(name="a DataFactory file", read=datafactory.read)
_SPORTEC: Final = FileKind(name="a Sportec event file", needs=(SPORTEC_INFORMATION,), read=sportec.read)
_IMPECT: Final = FileKind(
    name="an Impect event file", needs=(IMPECT_LINEUPS,), wants=(IMPECT_SQUADS, IMPECT_PLAYERS), read=impect.read
)
_METRICA: Final = FileKind(name="a Metrica event file", needs=(EPTS,), read=metrica.read)

_ROW_KINDS: Final = (
    ({"eventType"}, OWN),
    ({"type", "period", "possession"}, STATSBOMB),
    ({"gameTime", "actionType", "squadId"}, _IMPECT),
)
"""Kinds by the fields of an element, or of a line."""

_ROWLESS: Final = (
    ({"team_id", "lineup"}, STATSBOMB_LINEUPS),
    ({"event_uuid", "visible_area"}, "a StatsBomb 360 file: places of the players, no events"),
    ({"commonname", "firstname"}, IMPECT_PLAYERS),
    ({"id", "name", "access"}, IMPECT_SQUADS),
    ({"utc_time", "match_time", "phase"}, "tracking data of Signality"),
    ({"frame", "possession"}, "tracking data of SkillCorner"),
    ({"frameIdx", "homePlayers"}, "tracking data of Second Spectrum"),
    ({"gameRefId", "frameNum"}, "tracking data of PFF"),
    ({"squadHome", "squadAway"}, IMPECT_LINEUPS),
    ({"FrameData"}, "tracking data of TRACAB"),
    ({"PitchLongSide", "FrameRate"}, "metadata of tracking data of TRACAB"),
    ({"MatchId", "KickOffTime", "Stadium"}, "metadata of tracking data of HawkEye"),
    ({"homeTeam", "awayTeam", "stadium"}, "metadata of tracking data"),
    ({"openapi", "paths"}, "an OpenAPI document"),
)
_ROOTS: Final = {
    "SoccerFeed": F7,
    "main": EPTS,
    "file": "coded video of Sportscode, which has no events of a match",
    "TracabMetaData": "metadata of tracking data of TRACAB",
    "OptaMetaData": "metadata of tracking data of TRACAB",
    "MetaData": "metadata of tracking data of Second Spectrum",
    "Match": "metadata of tracking data of HawkEye",
    "html": "an HTML page",
    "svg": "an SVG image",
}


def kind_of(document: Document) -> FileKind | None:
    """Return what a parsed file is; None for what is not known."""
    if isinstance(document, ElementTree.Element):
        return _kind_of_root(document)
    if isinstance(document, list):
        first = document[0] if document else None
        found = _kind_of_row(first) if isinstance(first, dict) else None
        return OWN_EVENTS if found is OWN else found
    return _kind_of_object(document) if isinstance(document, dict) else None


def _kind_of_row(row: Json) -> FileKind | None:
    for fields, kind in _ROW_KINDS:
        if fields <= row.keys():
            return kind
    return next((FileKind(name=name) for fields, name in _ROWLESS if fields <= row.keys()), None)


def _kind_of_object(document: Json) -> FileKind | None:
    if {"match", "incidences", "teams"} <= document.keys():
        return _DATAFACTORY
    live, events, data = document.get("liveData"), document.get("events"), document.get("data")
    if isinstance(live, dict) and "matchInfo" in document:
        return _MA3 if "event" in live else FileKind(name=MA1)
    if isinstance(events, list):
        return OWN_ANSWER if {"matchId", "nextCursor"} <= document.keys() else _kind_of_listed(_first(events))
    if isinstance(data, list) and {"type", "start", "period", "from"} <= _first(data).keys():
        return _METRICA
    return _kind_of_row(document)


def _kind_of_listed(row: Json) -> FileKind | None:
    """Return what a file is whose ``events`` begin with this one."""
    if "matchPeriod" in row:
        return _WYSCOUT_3 if isinstance(row.get("type"), dict) else _WYSCOUT_2
    return OWN_ANSWER if "eventType" in row else None


def _first(rows: list[Any]) -> Mapping[str, Any]:
    return rows[0] if rows and isinstance(rows[0], dict) else {}


def _kind_of_root(root: ElementTree.Element) -> FileKind | None:
    tag = root.tag.rsplit("}", 1)[-1]
    if tag == "Games":
        return _F24 if root.find("Game") is not None else None
    if tag == "PutDataRequest":
        if root.find("MatchInformation") is not None:
            return FileKind(name=SPORTEC_INFORMATION)
        return _SPORTEC if root.find("Event") is not None else FileKind(name="tracking data of Sportec")
    if tag == "matchEvents":
        return _MA3
    if tag == "match":
        return FileKind(name=MA1) if root.find("matchInfo") is not None else None
    return FileKind(name=_ROOTS[tag]) if tag in _ROOTS else None
