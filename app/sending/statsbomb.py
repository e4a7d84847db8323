"""Match files of a data provider, turned into our events: StatsBomb's open-data format, read by ``kloppy``.

A match is two files: the events (a JSON array, one object a **row**) and the line-ups. Every row either
becomes exactly one event, or is left out under a name; nothing else happens to a row. Some events are
added that no row stands for.

**Rows and what they become**: :mod:`app.sending.statsbomb_rows`.

**Added events** (their ids are UUIDv5 with the row's id as namespace and the word in brackets as name)

- ``match_start`` (``match_start``, of the file's first row): at kick-off, no team, ``metadata`` with
  ``home`` and ``away``.
- ``match_end`` (``match_end``, of the file's first row): at the time of the last event sent, no team.
- a card (``card``) for each ``Foul Committed`` with ``foul_committed/card``, same team, player and time:
  ``yellow_card`` for ``Yellow Card``; ``red_card`` for ``Red Card`` and for ``Second Yellow`` (one event
  only).
- ``penalty`` (``penalty``) for each ``Foul Committed`` with ``foul_committed/penalty``: of the *other*
  team, no player, same time.

**Fields.** ``eventId`` is the row's ``id``, ``teamId`` its ``team.id``, ``playerId`` its ``player.id``.
``metadata``: ``minute`` as football counts it (the row's ``minute`` + 1), ``player`` (name), ``x`` and
``y`` (0 to 100, the acting team attacks towards 100), ``provider``, ``providerType`` (the row's
``type.name``), and where the row has them ``outcome``, ``assist`` (of a goal), ``replacement`` (of a
substitution), ``formation``.

**Time.** ``timestamp`` = kick-off + start of the period + the row's ``timestamp`` (within its period), in
ms. Period 1 starts at 0; each further one starts when the one before has ended (time of its last ``Half
End`` row) and a pause has passed: 15 min before period 2, 5 min before period 3, 1 min before period 4, 5
min before period 5 (the shoot-out).

**Sides.** Home is the team of the file's first row, as ``kloppy`` has it.
"""

import io
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from app.sending.statsbomb_rows import CARDS, HALVES, Row, event_type_of, part_of
from app.times import iso_of

INSTALL_HINT: Final = "reading a provider's file needs kloppy: pip install 'fanfinity-analytics[providers]'"
STATSBOMB_NOTICE: Final = "Data provided by StatsBomb (open data)."

_PAUSE_BEFORE: Final = {
    2: timedelta(minutes=15),
    3: timedelta(minutes=5),
    4: timedelta(minutes=1),
    5: timedelta(minutes=5),
}


class ProviderError(Exception):
    """A provider's file cannot be read; the message says why and what to do."""


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
        notice: the line the provider asks for wherever its data is shown.
    """

    events: tuple[dict[str, Any], ...]
    added: frozenset[str]
    rows: int
    left_out: tuple[LeftOut, ...]
    notice: str


def read_statsbomb(events_json: bytes, lineups_json: bytes, *, match_id: str, kickoff: datetime) -> ProviderMatch:
    """Return the match of a StatsBomb event file and line-up file.

    Args:
        events_json: content of the event file.
        lineups_json: content of the line-up file.
        match_id: ``matchId`` of the events.
        kickoff: when the match began, with a zone.

    Raises:
        ProviderError: ``kloppy`` is missing, or cannot read the files.
    """
    dataset = _load(events_json, lineups_json)
    return _Conversion(json.loads(events_json), dataset, match_id=match_id, kickoff=kickoff).run()


def _load(events_json: bytes, lineups_json: bytes) -> Any:
    try:
        from kloppy import statsbomb
    except ImportError as error:
        raise ProviderError(INSTALL_HINT) from error
    try:
        return statsbomb.load(
            event_data=io.BytesIO(events_json), lineup_data=io.BytesIO(lineups_json), coordinates="opta"
        )
    except Exception as error:  # kloppy raises whatever a malformed file makes it stumble over
        reason = f"{type(error).__name__}: {error}"
        raise ProviderError(f"kloppy cannot read these as StatsBomb events and line-ups: {reason}") from error


@attrs.define
class _Conversion:
    """Turns the rows of one file into events; used once."""

    rows: list[Row]
    dataset: Any
    match_id: str = attrs.field(kw_only=True)
    kickoff: datetime = attrs.field(kw_only=True)
    period_starts: dict[int, timedelta] = attrs.field(init=False)
    places: dict[str, tuple[float, float]] = attrs.field(init=False)
    players: dict[str, str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.period_starts = dict(_period_starts(self.dataset.metadata.periods))
        self.places = {
            event.event_id: (round(event.coordinates.x, 1), round(event.coordinates.y, 1))
            for event in self.dataset.events
            if event.coordinates is not None
        }
        self.players = {str(row["id"]): row["player"]["name"] for row in self.rows if "player" in row}

    def run(self) -> ProviderMatch:
        sent: list[dict[str, Any]] = []
        added: list[dict[str, Any]] = []
        left_out: Counter[tuple[str, str]] = Counter()
        halves: set[tuple[str, int]] = set()
        for row in self.rows:
            event_type, reason = event_type_of(row, halves)
            if event_type:
                sent.append(self._event(row, event_type))
                added.extend(self._added(row))
            else:
                left_out[row["type"]["name"], reason] += 1
        added.extend(self._frame(max((event["timestamp"] for event in sent), default=self._time(timedelta()))))
        return ProviderMatch(
            events=tuple(sorted([*sent, *added], key=_order)),
            added=frozenset(event["eventId"] for event in added),
            rows=len(self.rows),
            left_out=tuple(
                LeftOut(type_name=name, reason=reason, rows=rows) for (name, reason), rows in left_out.most_common()
            ),
            notice=STATSBOMB_NOTICE,
        )

    def _event(self, row: Row, event_type: str) -> dict[str, Any]:
        event = {
            "eventId": row["id"],
            "matchId": self.match_id,
            "eventType": event_type,
            "timestamp": self._time(self.period_starts[row["period"]] + _clock(row["timestamp"])),
        }
        if event_type not in HALVES.values():
            event["teamId"] = str(row["team"]["id"])
            if "player" in row:
                event["playerId"] = str(row["player"]["id"])
        return event | {"metadata": self._metadata(row, event_type)}

    def _metadata(self, row: Row, event_type: str) -> dict[str, Any]:
        part = part_of(row)
        place = self.places.get(row["id"], (None, None))
        found = {
            "minute": row["minute"] + 1,
            "player": self.players.get(row["id"]),
            "x": place[0],
            "y": place[1],
            "outcome": part.get("outcome", {}).get("name"),
            "assist": self.players.get(part.get("key_pass_id", "")) if event_type == "goal" else None,
            "replacement": part.get("replacement", {}).get("name"),
            "formation": part.get("formation"),
            "provider": "StatsBomb",
            "providerType": row["type"]["name"],
        }
        return {key: value for key, value in found.items() if value is not None}

    def _added(self, row: Row) -> Iterator[dict[str, Any]]:
        """Yield the card and the penalty that a foul's row tells of, too."""
        part = part_of(row)
        if row["type"]["name"] != "Foul Committed":
            return
        if "card" in part:
            card = self._event(row, CARDS[part["card"]["name"]])
            yield card | {"eventId": _derived_id(row, "card")}
        if part.get("penalty"):
            penalty = self._event(row, "penalty")
            other = next(team for team in self.dataset.metadata.teams if team.team_id != penalty["teamId"])
            metadata = {k: v for k, v in penalty["metadata"].items() if k in ("minute", "provider", "providerType")}
            del penalty["playerId"]
            changed = {"eventId": _derived_id(row, "penalty"), "teamId": other.team_id, "metadata": metadata}
            yield penalty | changed

    def _frame(self, last: str) -> Iterator[dict[str, Any]]:
        """Yield the match's start and end."""
        home, away = ({"id": team.team_id, "name": team.name} for team in self.dataset.metadata.teams)
        kickoff = self._time(timedelta())
        start = {"home": home, "away": away, "kickoff": kickoff, "provider": "StatsBomb"}
        for event_type, timestamp, metadata in (
            ("match_start", kickoff, start),
            ("match_end", last, {"provider": "StatsBomb"}),
        ):
            yield {
                "eventId": _derived_id(self.rows[0], event_type),
                "matchId": self.match_id,
                "eventType": event_type,
                "timestamp": timestamp,
                "metadata": metadata,
            }

    def _time(self, offset: timedelta) -> str:
        return iso_of(self.kickoff + offset)


def _period_starts(periods: Iterable[Any]) -> Iterator[tuple[int, timedelta]]:
    start = timedelta()
    for period in periods:
        start += _PAUSE_BEFORE.get(period.id, timedelta())
        yield period.id, start
        start += period.duration


def _clock(text: str) -> timedelta:
    hours, minutes, seconds = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes), milliseconds=round(float(seconds) * 1000))


def _derived_id(row: Row, name: str) -> str:
    return str(uuid.uuid5(uuid.UUID(row["id"]), name))


def _order(event: Mapping[str, Any]) -> tuple[str, int]:
    """Sort by time; on the same instant the match's start comes before the rest, and its end after."""
    return event["timestamp"], {"match_start": 0, "match_end": 2}.get(event["eventType"], 1)
