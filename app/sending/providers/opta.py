"""Opta and Stats Perform: rows by type id and qualifiers, the same in F24, F73 and MA3.

**Rows and what they become**: by type id as in ``_TYPES``; a pass by its qualifiers (5 ``free_kick``, 6 ``corner``,
107 ``throw_in``); 16 is ``goal``, with qualifier 28 ``own_goal``, in period 5 ``shootout_goal``; 13, 14, 15 are
``shot``, in period 5 ``shootout_miss``; 17 is the card, by qualifier 31, 32, 33; 10 is ``save``, with qualifier 94
``block``. Of the two rows of one duel each team has its own; of the two rows of one foul, ball out, start and end one
is sent. The other ones are left out under the reasons of ``_LEFT_OUT``. A foul with qualifier 9 adds the other team's
``penalty``.

**Time.** Minute and second are the clock's, from 45, 90, 105 and 120; the time of day is the row's, or, where that is
minutes away from the clock (rows that were mended later), that of the clock. **Places** are from 0 to 100 already.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from app.sending.providers.clock import PERIODS, seconds_of
from app.sending.providers.match import NO_TYPE, SAME_HALF, Besides, MatchSide, Row, attempt, card_of, other_side

_OTHER_TEAM: Final = "the same, told of the other team"
_START, _END = 32, 30
_PASS, _OFFSIDE_PASS, _FOUL, _OUT, _CORNER_AWARDED = 1, 2, 4, 5, 6
_SAVE, _GOAL, _CARD, _OFF, _ON, _DELAY, _TOUCH = 10, 16, 17, 18, 19, 27, 61
_SHOTS: Final = {13: "Off target", 14: "Post", 15: "Saved", _GOAL: "Goal"}
_HALVES: Final = {_START: "half_start", _END: "half_end"}
_OF_BOTH_TEAMS: Final = {_FOUL: "foul", _OUT: "ball_out", _CORNER_AWARDED: "ball_out"}
_TYPES: Final = {
    _OFFSIDE_PASS: "offside",
    3: "dribble",
    7: "tackle",
    8: "interception",
    11: "goalkeeper",
    12: "clearance",
    _OFF: "substitution",
    40: "formation_change",
    41: "goalkeeper",
    44: "duel",
    49: "recovery",
    52: "goalkeeper",
    53: "goalkeeper",
    54: "goalkeeper",
    59: "goalkeeper",
    67: "duel",
    74: "block",
    76: "abandoned",
}
_LEFT_OUT: Final = {
    _ON: "the same substitution, told of the player who comes on",
    28: "play goes on after a delay",
    43: "deleted by the provider",
    55: "the offside, told of the other team",
    72: "the offside, told with the pass",
}
_PASSES: Final = {6: "corner", 5: "free_kick", 107: "throw_in"}
_CARDS: Final = {31: "yellow", 32: "second_yellow", 33: "red"}
_PENALTY, _OWN_GOAL, _BLOCKED, _BLOCK, _RELATED, _ASSISTED = 9, 28, 82, 94, 55, 29
_INJURY: Final = {41, 53}
_NAMES: Final = {
    1: "pass", 2: "offside pass", 3: "take on", 4: "foul", 5: "out", 6: "corner awarded", 7: "tackle",
    8: "interception",
    10: "save", 11: "claim", 12: "clearance", 13: "miss", 14: "post", 15: "attempt saved", 16: "goal", 17: "card",
    18: "player off", 19: "player on", 20: "player retired", 24: "condition change", 27: "start delay", 28: "end delay",
    30: "end", 32: "start", 34: "team set up", 37: "collection end", 40: "formation change", 41: "punch",
    42: "good skill", 43: "deleted event", 44: "aerial", 45: "challenge", 49: "ball recovery", 50: "dispossessed",
    51: "error", 52: "keeper pick-up", 53: "cross not claimed", 54: "smother", 55: "offside provoked",
    56: "shield ball", 57: "foul throw-in", 58: "penalty faced", 59: "keeper sweeper", 60: "chance missed",
    61: "ball touch", 64: "resume", 65: "referee decision", 67: "50/50", 68: "drop ball", 70: "injury time announced",
    72: "caught offside", 74: "blocked pass", 75: "delayed start", 76: "early end", 77: "player off pitch",
}  # fmt: skip
_FAR: Final = timedelta(minutes=2)


@attrs.frozen(kw_only=True)
class OptaRow:
    """One row, whichever feed it is from. ``number`` is its number within its team, ``at`` its time of day."""

    raw_id: str
    number: str
    type_id: int
    period: int
    minute: int
    second: int
    team_id: str
    player_id: str
    outcome: int
    x: float
    y: float
    at: datetime | None
    qualifiers: Mapping[int, str]


@attrs.define
class OptaRows:
    """Reads the rows of one file; remembers the halves and injuries seen."""

    rows: Sequence[OptaRow]
    home: MatchSide = attrs.field(kw_only=True)
    away: MatchSide = attrs.field(kw_only=True)
    names: Mapping[str, str] = attrs.field(kw_only=True)
    seen: set[tuple[int, ...]] = attrs.field(factory=set)
    starts: dict[int, datetime] = attrs.field(factory=dict)

    def read(self) -> Iterator[Row]:
        """Yield what each row becomes."""
        for row in self.rows:
            if row.type_id == _START and row.at is not None:
                self.starts.setdefault(row.period, row.at)
        by_number = {(row.team_id, row.number): row for row in self.rows}
        for row in self.rows:
            related = by_number.get((row.team_id, row.qualifiers.get(_RELATED, "").split(".")[0]))
            yield self._row(row, related) if row.period in PERIODS else _of_no_period(row)

    def _row(self, row: OptaRow, related: OptaRow | None) -> Row:
        event_type, details, reason = self._type_of(row)
        partner = related.player_id if related is not None else ""
        if row.type_id == _OFF:
            details |= {"replacement": self.names.get(partner)}
        return Row(
            raw_id=row.raw_id,
            type_name=_name(row),
            event_type=event_type,
            reason=reason,
            period=row.period,
            seconds=_seconds(row),
            at=self._at(row),
            team_id=row.team_id,
            player_id=row.player_id,
            place=_place(row),
            assist_id=partner if event_type == "goal" and _ASSISTED in row.qualifiers else "",
            details=details,
            besides=tuple(self._besides(row)) if event_type == "foul" else (),
        )

    def _type_of(self, row: OptaRow) -> tuple[str, dict[str, Any], str]:
        """Return the row's event type, details, and why it is left out, if it is."""
        kind = row.type_id
        if kind in _HALVES:
            return (_HALVES[kind], {}, "") if self._is_first(kind, row.period) else ("", {}, SAME_HALF)
        if kind in _OF_BOTH_TEAMS:
            return ("", {}, _OTHER_TEAM) if row.outcome else (_OF_BOTH_TEAMS[kind], {}, "")
        if kind == _DELAY:
            return self._delay(row)
        if kind in _SHOTS:
            return *_attempt(row), ""
        if kind == _CARD:
            return *card_of(_colour(row)), ""
        return _plain(row), _of_pass(row) if kind == _PASS else {}, _LEFT_OUT.get(kind, NO_TYPE)

    def _delay(self, row: OptaRow) -> tuple[str, dict[str, Any], str]:
        """Return an injury for the first row of a delay that is one."""
        is_injury = any(q in row.qualifiers for q in _INJURY)
        if is_injury and self._is_first(_DELAY, row.period, row.minute, row.second):
            return "injury", {}, ""
        return "", {}, "a delay, told of the other team or without an injury"

    def _is_first(self, *key: int) -> bool:
        is_first = key not in self.seen
        self.seen.add(key)
        return is_first

    def _at(self, row: OptaRow) -> datetime | None:
        """Return the row's time of day, or that of its clock where the two are far apart."""
        start = self.starts.get(row.period)
        if row.at is None or start is None:
            return row.at
        by_clock = start + timedelta(seconds=_seconds(row))
        return row.at if abs(row.at - by_clock) <= _FAR else by_clock

    def _besides(self, row: OptaRow) -> Iterator[Besides]:
        if _PENALTY in row.qualifiers:
            other = other_side(row.team_id, self.home, self.away)
            yield Besides(name="penalty", event_type="penalty", team_id=other)


def _attempt(row: OptaRow) -> tuple[str, dict[str, Any]]:
    scored = row.type_id == _GOAL
    if scored and _OWN_GOAL in row.qualifiers:
        return "own_goal", {}
    outcome = "Blocked" if _BLOCKED in row.qualifiers and not scored else _SHOTS[row.type_id]
    return attempt(scored, period=row.period, is_penalty=_PENALTY in row.qualifiers, outcome=outcome)


def _plain(row: OptaRow) -> str:
    """Return the event type of a row that needs at most one look at the rest of it; empty for none."""
    if row.type_id == _PASS:
        return next((name for q, name in _PASSES.items() if q in row.qualifiers), "pass")
    if row.type_id == _SAVE:
        return "block" if _BLOCK in row.qualifiers else "save"
    if row.type_id == _TOUCH:
        return "" if row.outcome else "miscontrol"
    return _TYPES.get(row.type_id, "")


def _colour(row: OptaRow) -> str:
    return next((colour for qualifier, colour in _CARDS.items() if qualifier in row.qualifiers), "")


def _of_pass(row: OptaRow) -> dict[str, Any]:
    return {"outcome": "Complete" if row.outcome else "Incomplete"}


def _of_no_period(row: OptaRow) -> Row:
    return Row(raw_id=row.raw_id, type_name=_name(row), reason="before, between or after the periods")


def _name(row: OptaRow) -> str:
    return _NAMES.get(row.type_id, f"type {row.type_id}")


def _seconds(row: OptaRow) -> float:
    return seconds_of(row.period, row.minute, row.second)


def _place(row: OptaRow) -> tuple[float, float] | None:
    """Return the place; None where it is 0, 0: what rows without a place have."""
    if not row.x and not row.y:
        return None
    return round(min(100.0, max(0.0, row.x)), 1), round(min(100.0, max(0.0, row.y)), 1)
