"""Reading a course: one line a step, ``time event [team] [key=value …] | expected``.

The time is that of the day the match is played, ``+1`` before it the next day's; ``-`` in place of an event only looks.
``#name`` names an event, so that ``of=name`` withdraws it and ``replaces=name`` takes its place. Expected are, in any
order: the phase; the clock (``46'`` runs, ``45+2`` stands, ``--`` is none); the score (``1:0``); the shoot-out
(``pens=4:1``, ``pens=none``); the status; ``by=`` what ended it; ``struck=`` how many lines of the feed are struck out.
"""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs

from shards.events import Event
from shards.reads.kinds import FEED_TYPES

DAY = datetime(2026, 11, 27, tzinfo=UTC)
SIDES = {"home": {"id": "1", "name": "Home"}, "away": {"id": "2", "name": "Away"}}
_NAMESPACE = uuid.UUID(int=20)
_KEYS = {"of": "eventId"}


@attrs.frozen
class Step:
    """One line of a course: when, the event if there is one, and what is expected after it."""

    line: str
    at_ms: int
    event: Event | None
    expected: tuple[str, ...]


def steps_of(course: str, *, match_id: str = "m") -> Iterator[Step]:
    """Yield the steps of a course."""
    for number, line in enumerate(filter(None, map(str.strip, course.splitlines()))):
        happened, _, expected = line.partition("|")
        *day, time, what = re.fullmatch(r"(?:\+(\d) )?(\S+) (.*)", happened.strip()).groups()  # type: ignore[union-attr]
        at = DAY + timedelta(days=int(day[0] or 0)) + _time(time)
        at_ms = round(at.timestamp() * 1000)
        yield Step(line, at_ms, _event(what.split(), at_ms, number, match_id), tuple(expected.split()))


def quiet_ms(steps: list[Step]) -> int:
    """Return how long nothing of the match itself was received at the last of some steps, each received at its time."""
    heard = [step for step in steps if step.event is not None]
    feed = [step for step in heard if step.event is not None and step.event.event_type in FEED_TYPES]
    return steps[-1].at_ms - max(step.at_ms for step in feed or heard or steps[-1:])


def _time(text: str) -> timedelta:
    hours, minutes, seconds = (*map(float, text.split(":")), 0.0)[:3]
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _event(words: list[str], at_ms: int, number: int, match_id: str) -> Event | None:
    event_type, team, name, fields = words[0], "", str(number), dict[str, object]()
    if event_type == "-":
        return None
    for word in words[1:]:
        key, is_field, value = word.partition("=")
        if word.startswith("#"):
            name = word[1:]
        elif is_field and key in ("of", "replaces"):
            fields[_KEYS.get(key, key)] = str(uuid.uuid5(_NAMESPACE, value))
        elif is_field:
            fields[key] = int(value) if value.isdigit() else value
        else:
            team = word
    if event_type == "START":
        event_type, fields = "match_start", SIDES | fields
    received_ns = at_ms * 1_000_000
    return Event(
        match_id,
        str(uuid.uuid5(_NAMESPACE, name)),
        event_type,
        at_ms,
        team,
        "",
        json.dumps(fields),
        received_ns,
        received_ns + number,
    )
