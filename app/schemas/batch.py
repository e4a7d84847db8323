"""Many events in one body: validating them without blocking the event loop, and telling which were not taken."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from app.schemas.elements import EVENTS_MAX, Piece, TooManyEventsError, array_elements
from app.schemas.events import SHORTEST_BYTES, EventSchema, Origin
from app.schemas.faults import Fault, InvalidEventError
from app.schemas.metadata import EMPTY
from app.schemas.warnings import warnings_of
from shards import Event

Numbered = tuple[int, Piece]
"""The text of one event, with its index in the request."""

TURN_S = 0.005
"""Seconds of validation after which other requests get their turn."""

CHUNK_BYTES = 64 << 10
"""Bytes of a body that are taken apart into lines at a stretch."""

BATCH_EVENTS = 1_000
"""Elements of an array in each batch."""

RUNS_MAX = 10_000
"""The most runs of rejected events that one reply names; the last one of these spans all that follow."""

WARNINGS_MAX = 100
"""Most warnings about events that are taken which one reply tells; behind them nothing is looked for."""

BOM = b"\xef\xbb\xbf"
"""Byte order mark, which some programs put before UTF-8."""

WHITESPACE = b" \t\r\n"


@attrs.frozen
class RejectedEvent:
    """One event that was not taken."""

    index: int
    event_id: str | None
    faults: tuple[Fault, ...]

    def view(self) -> dict[str, Any]:
        """Return the rejection as it is sent."""
        errors = [fault.view() for fault in self.faults]
        return {"index": self.index, "eventId": self.event_id, "errors": errors}


@attrs.define
class CheckedEvents:
    """The outcome of a body: the events taken, and those not taken, the first ``errors_max`` with their faults.

    ``warnings`` tell what is not understood in events that are taken: :func:`app.schemas.warnings.warnings_of`.
    """

    errors_max: int
    events: list[Event] = attrs.field(factory=list)
    warnings: list[dict[str, Any]] = attrs.field(factory=list)
    rejections: list[RejectedEvent] = attrs.field(factory=list)
    rejected: int = 0
    _runs: list[list[int]] = attrs.field(factory=list, init=False)

    @property
    def explains(self) -> bool:
        """Whether the faults of the next event that is not taken are told."""
        return len(self.rejections) < self.errors_max

    def take(self, index: int, event: Event) -> None:
        """Keep a valid event, and look for what is not understood in it while there are not too many warnings."""
        self.events.append(event)
        if event.metadata != EMPTY and (left := WARNINGS_MAX - len(self.warnings)):
            warnings = warnings_of(event.event_type, event.metadata)
            self.warnings += [{"index": index, **warning.view()} for warning in warnings[:left]]

    def reject(self, index: int, error: InvalidEventError) -> None:
        """Count an event as not taken, and keep its faults while there are not too many."""
        if self.explains:
            self.rejected += 1
            self.rejections.append(RejectedEvent(index, error.event_id, error.faults))
        else:
            self.count(index)

    def count(self, index: int) -> None:
        """Count an event as not taken whose faults are not told."""
        self.rejected += 1
        if self._runs and (self._runs[-1][1] == index - 1 or len(self._runs) == RUNS_MAX):
            self._runs[-1][1] = index
        else:
            self._runs.append([index, index])

    def view(self) -> dict[str, Any]:
        """Return what was not taken, and the warnings about what was, as they are sent."""
        view: dict[str, Any] = {
            "rejected": self.rejected,
            "errors": [rejection.view() for rejection in self.rejections],
        }
        if self._runs:
            view |= {"errorsTruncated": True, "rejectedIndexes": self._runs}
        return view | ({"warnings": self.warnings} if self.warnings else {})


async def validate(
    schema: EventSchema,
    batch: Iterable[Numbered],
    *,
    origin: Origin,
    into: CheckedEvents,
    between_turns: Callable[[], None] = lambda: None,
) -> None:
    """Validate every piece; after each `TURN_S` other requests get their turn.

    Args:
        schema: the rules.
        batch: the pieces.
        origin: what the request gives to each of its events.
        into: where the outcome is kept.
        between_turns: called after each turn of others; what it raises ends the validation.
    """
    until = time.perf_counter() + TURN_S
    for index, piece in batch:
        _check(schema, index, piece, origin, into)
        if time.perf_counter() > until:
            await asyncio.sleep(0)
            between_turns()
            until = time.perf_counter() + TURN_S


def _check(schema: EventSchema, index: int, piece: Piece, origin: Origin, into: CheckedEvents) -> None:
    text = bytes(piece)
    if len(text) < SHORTEST_BYTES and not into.explains:
        into.count(index)
        return
    try:
        into.take(index, schema.parse(text, index=index, origin=origin, explain=into.explains))
    except InvalidEventError as error:
        into.reject(index, error)


async def line_batches(body: bytes) -> list[list[Numbered]]:
    """Return the lines that are not blank, numbered without the blank ones, some in each list.

    Raises TooManyEventsError as soon as there are more than `EVENTS_MAX`.
    """
    batches = []
    start = number = 0
    while start < len(body):
        end = body.find(b"\n", start + CHUNK_BYTES) + 1 or len(body)
        if batch := numbered(body[start:end].split(b"\n"), number, blank=False):
            batches.append(batch)
        number += len(batch)
        if number > EVENTS_MAX:
            raise TooManyEventsError
        start = end
        await asyncio.sleep(0)
    return batches


async def element_batches(body: bytes) -> list[list[Numbered]]:
    """Return the elements of an array, numbered, some in each list; raises as `app.schemas.elements.array_elements`."""
    elements = list(enumerate(await array_elements(body)))
    return [elements[start : start + BATCH_EVENTS] for start in range(0, len(elements), BATCH_EVENTS)]


def numbered(some: Iterable[bytes], start: int, *, blank: bool) -> list[Numbered]:
    """Return the lines that are not blank, stripped, with their numbers; ``blank``: blank ones have numbers, too."""
    if blank:
        return [(number, text) for number, line in enumerate(some, start) if (text := line.strip(WHITESPACE))]
    return list(enumerate((text for line in some if (text := line.strip(WHITESPACE))), start))
