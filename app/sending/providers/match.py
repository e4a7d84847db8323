"""What is common to the files of all providers: rows, sides, and the match that comes out."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import attrs

NO_TYPE: Final = "no event type for it"
SAME_HALF: Final = "the same half, told of the other team"

Document = Any
"""A parsed file: what ``json`` returns, or the root element of an XML file."""

Json = Mapping[str, Any]


class ProviderError(Exception):
    """A provider's file cannot be read; the message says why and what to do."""


@attrs.frozen(kw_only=True)
class MatchSide:
    """A team of the match."""

    id: str
    name: str = ""


@attrs.frozen(kw_only=True)
class Besides:
    """An event that a row tells besides its own, as a foul tells of a card. ``name`` is what its id is made of."""

    name: str
    event_type: str
    team_id: str = ""
    player_id: str = ""
    details: Json = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Row:
    """One row of a file.

    Attributes:
        raw_id: as the provider writes it; it need be neither a UUID nor unique.
        type_name: how the provider calls such a row; the summary shows it.
        event_type: our type; empty: the row is left out, and ``reason`` says why.
        period: 1 to 5: the halves, extra time, the shoot-out.
        seconds: since the start of the period.
        at: the time of day, where the file tells it.
        place: ``x`` and ``y`` from 0 to 100, the acting team attacks towards 100; None: kloppy's, if it has one.
        assist_id: player who laid on the goal.
        details: what ``metadata`` has besides.
        besides: further events that the row tells of.
    """

    raw_id: str
    type_name: str
    event_type: str = ""
    reason: str = NO_TYPE
    period: int = 1
    seconds: float = 0.0
    at: datetime | None = None
    team_id: str = ""
    player_id: str = ""
    place: tuple[float, float] | None = None
    assist_id: str = ""
    details: Json = attrs.field(factory=dict)
    besides: tuple[Besides, ...] = ()


@attrs.frozen(kw_only=True)
class ProviderFile:
    """What a provider's module reads.

    Attributes:
        provider: its name for people.
        match_id: the provider's own, empty where the file has none.
        rows: every row of the file, in its order.
        unsent: events that no row stands for, as the substitutions that a line-up file tells of.
        names: of players, by their id: the nickname where there is one.
        kickoff: the time of day that the file gives for it.
        is_over: whether the file says nothing to the contrary.
        load: has ``kloppy`` read the same content; raises whatever that makes it stumble over. None where the rows have
            their places and the names are known without it.
    """

    provider: str
    match_id: str
    rows: tuple[Row, ...]
    home: MatchSide
    away: MatchSide
    load: Callable[[], Any] | None
    unsent: tuple[Row, ...] = ()
    names: Mapping[str, str] = attrs.field(factory=dict)
    kickoff: datetime | None = None
    competition: str = ""
    is_over: bool = True
    notice: str = ""


@attrs.frozen(kw_only=True)
class LeftOut:
    """Rows of one type that become no event, and why."""

    type_name: str
    reason: str
    rows: int


@attrs.frozen(kw_only=True)
class ProviderMatch:
    """One match of a provider. ``rows`` = ``events`` - ``added`` + the rows of ``left_out``.

    Attributes:
        events: our events, earliest first, ready to be sent.
        added: ids of those events that no row stands for.
        rows: rows in the provider's file.
        notices: lines to be shown with the data.
    """

    events: tuple[dict[str, Any], ...]
    added: frozenset[str]
    rows: int
    left_out: tuple[LeftOut, ...]
    notices: tuple[str, ...] = ()


def other_side(team_id: str, home: MatchSide, away: MatchSide) -> str:
    """Return the id of the team that plays against this one."""
    return away.id if team_id == home.id else home.id


def card_of(colour: str) -> tuple[str, dict[str, Any]]:
    """Return event type and details of a card that is ``yellow``, ``second_yellow``, ``red`` or of unknown colour."""
    if colour in ("yellow", "red"):
        return f"{colour}_card", {}
    return "card", {"card": colour} if colour else {}


def attempt(scored: bool, *, period: int, is_penalty: bool, outcome: str = "") -> tuple[str, dict[str, Any]]:
    """Return event type and details of a kick or header at the goal: in period 5 it belongs to the shoot-out."""
    details: dict[str, Any] = {"outcome": outcome} if outcome else {}
    if period == 5:
        return ("shootout_goal" if scored else "shootout_miss"), details
    if is_penalty:
        details["penalty"] = True
    return ("goal" if scored else "shot"), details


def last_period(rows: Iterable[Row]) -> int:
    """Return the last period of which there is an event."""
    return max((row.period for row in rows if row.event_type), default=1)


def has_ended(rows: Iterable[Row], period: int) -> bool:
    """Say whether a row tells of the end of a period, or of the match within it."""
    return any(row.event_type in ("half_end", "abandoned") and row.period == period for row in rows)


def text(value: Any) -> str:
    """Return an id as text; empty where there is none: absent, or 0 as some providers write it."""
    return "" if value in (None, 0, "", "0") else str(value)
