"""Sportec Solutions (DFL): an XML file of ``Event`` elements, and one with the match information.

**Rows and what they become**: by the elements within, as in ``_TYPES``. ``ShotAtGoal`` is ``goal`` with
``SuccessfulShot`` in it, else ``shot``; within ``Penalty`` from the spot, in the shoot-out ``shootout_goal`` and
``shootout_miss``; ``OwnGoal`` is of the team of its player. ``Play`` is ``pass``, or ``corner``, ``free_kick``,
``throw_in`` within such an element. ``Caution`` is the card. ``TacklingGame`` is the winner's ``duel``.
``BallClaiming`` is ``interception`` or ``recovery``. ``FinalWhistle`` is ``half_end``, or ``abandoned`` where the
match is broken off. A penalty kick adds the award.

**Time** is the time of day; a period begins with its ``KickOff`` that names a section.
"""

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from xml.etree import ElementTree

import attrs

from app.sending.providers.match import (
    NO_TYPE,
    Besides,
    Document,
    MatchSide,
    ProviderFile,
    Row,
    attempt,
    card_of,
    has_ended,
    last_period,
)

_SECTIONS: Final = {"firstHalf": 1, "secondHalf": 2, "firstHalfExtra": 3, "secondHalfExtra": 4}
_SETTINGS: Final = {"CornerKick": "corner", "FreeKick": "free_kick", "ThrowIn": "throw_in"}
_TYPES: Final = {
    "Foul": "foul",
    "Offside": "offside",
    "Substitution": "substitution",
    "TacklingGame": "duel",
    "VideoAssistantAction": "var_review",
}
_OUTCOMES: Final = {
    "SuccessfulShot": "Goal",
    "ShotWide": "Off target",
    "SavedShot": "Saved",
    "BlockedShot": "Blocked",
    "ShotWoodWork": "Post",
}
_CARDS: Final = {"yellow": "yellow", "yellowRed": "second_yellow", "red": "red"}
_TEAMS: Final = ("TeamFouler", "WinnerTeam", "Team")
_PLAYERS: Final = ("Fouler", "Winner", "PlayerOut", "Player")
_LEFT_OUT: Final = {"KickOff": "the kick itself is not told", "Delete": "deleted by the provider"}


def read(events: Document, information: Document) -> ProviderFile:
    """Return the match of an event file and a match-information file, given as root elements."""
    general = information.find("MatchInformation/General")
    teams = {team.get("Role", ""): team for team in information.iter("Team")}
    home, away = (
        MatchSide(id=team.get("TeamId", ""), name=team.get("TeamName", "")) for team in (teams["home"], teams["guest"])
    )
    names = {player.get("PersonId", ""): player.get("Shortname", "") for player in information.iter("Player")}
    rows = tuple(_SportecRows(events, names=names).read())
    last = last_period(rows)

    def load() -> Any:
        from kloppy import sportec

        event_data, meta_data = (
            io.BytesIO(ElementTree.tostring(root, encoding="utf-8"))
            for root in (
                events,
                _for_kloppy(information),
            )
        )
        return sportec.load_event(event_data=event_data, meta_data=meta_data, coordinates="opta")

    return ProviderFile(
        provider="Sportec",
        match_id=general.get("MatchId", ""),
        rows=rows,
        home=home,
        away=away,
        names=names,
        competition=general.get("CompetitionName", ""),
        is_over=last > 1 and has_ended(rows, last),
        load=load,
    )


def _for_kloppy(information: ElementTree.Element) -> ElementTree.Element:
    """Fill in what kloppy needs to find, and a match that is still running has not: nothing of it is sent."""
    for path, needed in (("General", {"Result": "0:0"}), ("OtherGameInformation", _LENGTHS)):
        parent = information.find("MatchInformation")
        if parent is None:
            continue
        element = parent.find(path)
        if element is None:
            element = ElementTree.SubElement(parent, path)
        for name, value in needed.items():
            if not element.get(name):
                element.set(name, value)
    return information


_LENGTHS: Final = {"TotalTimeFirstHalf": "2700000", "TotalTimeSecondHalf": "2700000"}


@attrs.define
class _SportecRows:
    """Reads the rows of one file."""

    root: ElementTree.Element
    names: Mapping[str, str] = attrs.field(kw_only=True)
    sections: list[tuple[datetime, int]] = attrs.field(init=False)
    ends: dict[int, datetime] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.sections = []
        for element in self.root.iter("Event"):
            kickoff, whistle = element.find("KickOff"), element.find("FinalWhistle")
            if kickoff is not None and kickoff.get("GameSection"):
                section = kickoff.get("GameSection", "")
                self.sections.append((_moment(element), _SECTIONS.get(section, 5)))
            if whistle is not None:
                self.ends[_SECTIONS.get(whistle.get("GameSection", ""), 5)] = _moment(element)
        self.sections.sort()

    def read(self) -> Iterator[Row]:
        for element in self.root.iter("Event"):
            at = _moment(element)
            begun = [(start, period) for start, period in self.sections if start <= at]
            start, period = begun[-1] if begun else (at, 1)
            chain = _chain(element)
            event_type, details, reason = self._type_of(chain, period)
            until = min(at, self.ends.get(period, at))
            flat: dict[str, str] = {}
            for _, attributes in reversed(chain):
                flat |= attributes
            team_id, player_id = _first(flat, _TEAMS), _first(flat, _PLAYERS)
            yield Row(
                raw_id=element.get("EventId", ""),
                type_name="/".join(dict.fromkeys(name for name, _ in chain)) or "Event",
                event_type=event_type,
                reason=reason,
                period=period,
                seconds=(until - start).total_seconds(),
                at=at,
                team_id=team_id,
                player_id=player_id,
                assist_id=flat.get("Assist", "") if event_type == "goal" else "",
                details=details,
                besides=tuple(_besides(chain, event_type, team_id)),
            )

    def _type_of(self, chain: list[tuple[str, dict[str, str]]], period: int) -> tuple[str, dict[str, Any], str]:
        """Return the row's event type, details, and why it is left out, if it is."""
        names = [name for name, _ in chain]
        outermost, attributes = chain[0] if chain else ("", {})
        if "OwnGoal" in names:
            return "own_goal", {}, ""
        if "ShotAtGoal" in names:
            outcome = next((_OUTCOMES[name] for name in names if name in _OUTCOMES), "")
            is_penalty = "Penalty" in names
            return *attempt(outcome == "Goal", period=period, is_penalty=is_penalty, outcome=outcome), ""
        if "Play" in names:
            return *_play(names, dict(chain)["Play"]), ""
        if outermost == "Caution":
            return *card_of(_CARDS.get(attributes.get("CardColor", ""), "")), ""
        return self._other(outermost, attributes)

    def _other(self, name: str, attributes: Mapping[str, str]) -> tuple[str, dict[str, Any], str]:
        if name == "FinalWhistle":
            return ("abandoned" if attributes.get("BreakingOff") == "true" else "half_end"), {}, ""
        if name == "BallClaiming":
            return ("interception" if attributes.get("Type") == "InterceptedBall" else "recovery"), {}, ""
        if name == "OtherBallAction" and attributes.get("DefensiveClearance") == "true":
            return "clearance", {}, ""
        if name == "VideoAssistantAction" and not _first(attributes, _TEAMS):
            return "", {}, "a review of no team"
        details = {"replacement": self.names.get(attributes.get("PlayerIn", ""))} if name == "Substitution" else {}
        return _TYPES.get(name, ""), details, _LEFT_OUT.get(name, NO_TYPE)


def _play(names: list[str], attributes: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    event_type = next((_SETTINGS[name] for name in names if name in _SETTINGS), "pass")
    complete = attributes.get("Evaluation", "").startswith("successful")
    return event_type, {"outcome": "Complete" if complete else "Incomplete"}


def _chain(element: ElementTree.Element) -> list[tuple[str, dict[str, str]]]:
    """Return the elements within, each the first one of the one before, from the outermost, with their attributes."""
    chain = []
    while len(element):
        element = element[0]
        chain.append((element.tag, dict(element.attrib)))
    return chain


def _first(attributes: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((attributes[name] for name in names if attributes.get(name)), "")


def _moment(element: ElementTree.Element) -> datetime:
    return datetime.fromisoformat(element.get("EventTime", ""))


def _besides(chain: list[tuple[str, dict[str, str]]], event_type: str, team_id: str) -> Iterator[Besides]:
    if event_type in ("goal", "shot") and any(name == "Penalty" for name, _ in chain):
        yield Besides(name="penalty", event_type="penalty", team_id=team_id)
