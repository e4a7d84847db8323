"""From the rows of a provider's file to our events.

**Added events**, which no row stands for. Their ids are UUIDv5 with the id of the file's first row, or of the row
that tells of them, as namespace, and the word in brackets as name:

- ``match_start`` (``match_start``): at kick-off, ``metadata`` with ``home``, ``away``, ``kickoff`` and, where the file
  tells it, ``competition``.
- ``half_start``, ``half_end`` (``half_start 2``, ``half_end 2``): of a period for which the file has no such row.
- ``match_end`` (``match_end``): at the time of the last event; not where the match is still running, or the file is
  cut off.
- what a row tells besides (``card``, ``penalty``), and what a file beside it tells (substitutions).

**Fields.** ``eventId`` is the row's id where that is a UUID, else a UUIDv5 of provider, match and row id. Of several
rows with one id the first is sent. ``metadata``: ``minute`` and ``added`` as people say them, ``period``, ``player``,
``x`` and ``y``, ``provider``, ``providerType`` (how the provider calls the row), and what the row tells besides:
``outcome``, ``assist``, ``penalty``, ``card``, ``replacement``, ``formation``.

**Time.** The row's time of day where the file has it. Else kick-off + start of the period + time within it
(:mod:`app.sending.providers.clock`). A kick-off that is given moves everything with it.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from app.sending.providers.clock import period_starts, said_minute
from app.sending.providers.match import LeftOut, MatchSide, ProviderFile, ProviderMatch, Row
from app.sending.providers.reading import Reading
from app.times import iso_of

ROW_NAMESPACE: Final = uuid.UUID("6f5f5d2c-5d0e-5c3b-9b3e-0b1d3c8f7a42")
"""Namespace of the ids of rows that have no UUID. It is fixed, so that a file replayed twice counts once."""

Kickoff = Callable[[datetime | None, float], datetime]
"""Returns when the match begins, from the time that the file gives, if any, and the match's length in s."""

STILL_RUNNING: Final = "The match is still running in this file: no match_end is sent."

_TEAMLESS: Final = frozenset({"half_start", "half_end", "match_end", "suspended", "resumed", "abandoned"})
_RANKS: Final = {"match_start": 0, "half_start": 1, "half_end": 3, "match_end": 4}
_SAME_ID: Final = "has the id of an earlier row, and would count once"


def convert(
    file: ProviderFile, reading: Reading, *, match_id: str, kickoff: Kickoff, cut_off: bool = False
) -> ProviderMatch:
    """Return the file's events.

    Args:
        file: what the provider's module read.
        reading: what kloppy read.
        match_id: ``matchId`` of the events.
        kickoff: tells when the match begins.
        cut_off: whether the file ends in the middle.
    """
    return _Conversion(file=file, reading=reading, match_id=match_id, cut_off=cut_off).run(kickoff)


@attrs.frozen
class _Placed:
    """An event without its time, and when it happens, in s since kick-off."""

    at_s: float
    event: dict[str, Any]


@attrs.define(kw_only=True)
class _Conversion:
    """Turns the rows of one file into events; used once."""

    file: ProviderFile
    reading: Reading
    match_id: str
    cut_off: bool
    had_extra_time: bool = attrs.field(init=False)
    starts_s: dict[int, float] = attrs.field(init=False)
    first_at: datetime | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        sent = [row for row in self.file.rows if row.event_type]
        ends: dict[int, float] = {}
        for row in sent:
            ends[row.period] = max(ends.get(row.period, 0.0), row.seconds)
        ends |= {row.period: row.seconds for row in sent if row.event_type == "half_end"}
        self.had_extra_time = bool(ends.keys() & {3, 4}) or not ends.keys() & {1, 2}
        self.starts_s = period_starts(sorted(ends.items())) or {1: 0.0}
        self.first_at = _first_at(sent)

    def run(self, kickoff: Kickoff) -> ProviderMatch:
        sent, added, left_out = self._rows()
        for row in self.file.unsent:
            added.append(_Placed(self._at_s(row), self._event(row, self._id(row))))
        added.extend(self._halves(sent))
        added.extend(self._frame([*sent, *added]))
        placed = sorted([*sent, *added], key=_order)
        start = kickoff(self.first_at or self.file.kickoff, placed[-1].at_s)
        return ProviderMatch(
            events=tuple(_dated(p, start) for p in placed),
            added=frozenset(p.event["eventId"] for p in added),
            rows=len(self.file.rows),
            left_out=left_out,
            notices=tuple(self._notices()),
        )

    @property
    def _is_over(self) -> bool:
        return self.file.is_over and not self.cut_off

    def _notices(self) -> Iterator[str]:
        if self.file.notice:
            yield self.file.notice
        if not self.file.is_over and not self.cut_off:
            yield STILL_RUNNING

    def _rows(self) -> tuple[list[_Placed], list[_Placed], tuple[LeftOut, ...]]:
        """Return the events of the rows, those that rows tell besides, and the rows left out."""
        sent: list[_Placed] = []
        added: list[_Placed] = []
        left_out: Counter[tuple[str, str]] = Counter()
        seen: set[str] = set()
        for row in self.file.rows:
            event_id = self._id(row)
            if not row.event_type or event_id in seen:
                left_out[row.type_name, _SAME_ID if row.event_type else row.reason] += 1
                continue
            seen.add(event_id)
            at_s = self._at_s(row)
            sent.append(_Placed(at_s, self._event(row, event_id)))
            added.extend(_Placed(at_s, event) for event in self._besides(row, event_id))
        listed = left_out.most_common()
        return sent, added, tuple(LeftOut(type_name=name, reason=why, rows=n) for (name, why), n in listed)

    def _id(self, row: Row) -> str:
        try:
            return (
                str(uuid.UUID(row.raw_id)) if len(row.raw_id) == 36 and uuid.UUID(row.raw_id).int else self._made(row)
            )
        except ValueError:
            return self._made(row)

    def _made(self, row: Row) -> str:
        match = self.file.match_id or self.match_id
        return str(uuid.uuid5(ROW_NAMESPACE, f"{self.file.provider} {match} {row.raw_id}"))

    def _at_s(self, row: Row) -> float:
        if row.at is not None and self.first_at is not None:
            return max(0.0, (row.at - self.first_at).total_seconds())
        return self.starts_s.get(row.period, 0.0) + max(0.0, row.seconds)

    def _event(self, row: Row, event_id: str) -> dict[str, Any]:
        event = {"eventId": event_id, "matchId": self.match_id, "eventType": row.event_type}
        if row.event_type not in _TEAMLESS:
            if row.team_id:
                event["teamId"] = row.team_id
            if row.player_id:
                event["playerId"] = row.player_id
        return event | {"metadata": self._metadata(row)}

    def _metadata(self, row: Row) -> dict[str, Any]:
        whose = {} if row.event_type in _TEAMLESS else self._whose(row)
        told = {**self._clock(row.period, row.seconds), **whose, **row.details}
        told |= {"provider": self.file.provider, "providerType": row.type_name}
        return {key: value for key, value in told.items() if value is not None}

    def _whose(self, row: Row) -> dict[str, Any]:
        """Return who did it, and where."""
        place = row.place or self.reading.places.get(row.raw_id)
        x, y = place or (None, None)
        return {"player": self._name(row.player_id), "x": x, "y": y, "assist": self._name(row.assist_id)}

    def _name(self, player_id: str) -> str | None:
        return self.file.names.get(player_id) or self.reading.names.get(player_id)

    def _besides(self, row: Row, event_id: str) -> Iterator[dict[str, Any]]:
        """Yield the events that a row tells besides: at its time; at its place only where they are its team's."""
        for besides in row.besides:
            place = row.place if besides.team_id == row.team_id else None
            changed = attrs.evolve(
                row,
                raw_id=row.raw_id if besides.team_id == row.team_id else "",
                event_type=besides.event_type,
                team_id=besides.team_id,
                player_id=besides.player_id,
                place=place,
                assist_id="",
                details=besides.details,
            )
            yield self._event(changed, str(uuid.uuid5(uuid.UUID(event_id), besides.name)))

    def _halves(self, sent: list[_Placed]) -> Iterator[_Placed]:
        """Yield start and end of each period that has no row for it, but for the end of one that is still running."""
        told = {(p.event["eventType"], p.event["metadata"]["period"]) for p in sent}
        periods = sorted({period for _, period in told})
        for period in periods:
            times = [p.at_s for p in sent if p.event["metadata"]["period"] == period]
            has_ended = self._is_over or period < periods[-1]
            if ("half_start", period) not in told:
                yield self._half("half_start", period, self._starts_s(period, min(times)), 0.0)
            if ("half_end", period) not in told and has_ended:
                yield self._half("half_end", period, max(times), self._length_s(period))

    def _half(self, event_type: str, period: int, at_s: float, seconds: float) -> _Placed:
        return _Placed(at_s, self._added(f"{event_type} {period}", event_type, self._clock(period, seconds)))

    def _starts_s(self, period: int, first_s: float) -> float:
        return first_s if self.first_at is not None else min(first_s, self.starts_s[period])

    def _length_s(self, period: int) -> float:
        return max(row.seconds for row in self.file.rows if row.period == period and row.event_type)

    def _frame(self, placed: list[_Placed]) -> Iterator[_Placed]:
        """Yield the match's start, and its end where it is over."""
        start: dict[str, Any] = {"home": _view(self.file.home), "away": _view(self.file.away)}
        if self.file.competition:
            start["competition"] = self.file.competition
        yield _Placed(0.0, self._added("match_start", "match_start", start))
        last = max(placed, key=lambda p: p.at_s, default=None)
        if last is not None and self._is_over:
            told = last.event["metadata"]
            clock = {key: told[key] for key in ("minute", "added", "period") if key in told}
            yield _Placed(last.at_s, self._added("match_end", "match_end", clock))

    def _clock(self, period: int, seconds: float) -> dict[str, Any]:
        minute, added = said_minute(period, seconds, had_extra_time=self.had_extra_time)
        return {"minute": minute, "period": period} | ({"added": added} if added else {})

    def _added(self, name: str, event_type: str, metadata: dict[str, Any]) -> dict[str, Any]:
        namespace = uuid.UUID(self._id(self.file.rows[0])) if self.file.rows else ROW_NAMESPACE
        return {
            "eventId": str(uuid.uuid5(namespace, name)),
            "matchId": self.match_id,
            "eventType": event_type,
            "metadata": metadata | {"provider": self.file.provider},
        }


def _first_at(sent: list[Row]) -> datetime | None:
    """Return the time of day at which the first half starts, or else of the first row; None where none is told."""
    starts = [row.at for row in sent if row.at is not None and row.event_type == "half_start"]
    return min(starts or [row.at for row in sent if row.at is not None], default=None)


def _dated(placed: _Placed, start: datetime) -> dict[str, Any]:
    """Return the event with its time; the match's start tells it as the kick-off, too."""
    timestamp = iso_of(start + timedelta(seconds=placed.at_s))
    event = placed.event | {"timestamp": timestamp}
    if event["eventType"] == "match_start":
        event["metadata"] = event["metadata"] | {"kickoff": timestamp}
    return event


def _view(side: MatchSide) -> dict[str, str]:
    return {"id": side.id, "name": side.name or side.id}


def _order(placed: _Placed) -> tuple[float, int]:
    """Sort by time; on the same instant starts come before the rest, and ends after."""
    return placed.at_s, _RANKS.get(placed.event["eventType"], 2)
