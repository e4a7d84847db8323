"""Many events in one body: taking an array or lines apart, and validating without blocking the event loop."""

import asyncio
import io
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any

import attrs
import msgspec

from app.schemas.events import EventSchema, Origin, json_fault
from app.schemas.faults import Fault, InvalidEventError
from shards import Event

Piece = bytes | msgspec.Raw
Numbered = tuple[int, Piece]
"""The text of one event, with its index in the request."""

SLICE_EVENTS = 250
"""Events validated at a stretch, which takes a few milliseconds."""

SLICE_LINES = 5_000
SLICE_BYTES = 1 << 20
"""Lines of a stream that are made durable together: as soon as they are this many, or have this many bytes."""

BOM = b"\xef\xbb\xbf"
"""Byte order mark, which some programs put before UTF-8."""

_array = msgspec.json.Decoder(list[msgspec.Raw])
_DEPTH_CHANGES = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_MARKS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},"]', re.DOTALL)
_WHITESPACE = b" \t\r\n"


class NotAnArrayError(ValueError):
    """The body cannot be taken apart into the elements of an array; the message says what to mend."""


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
    """The outcome of a body: the events taken, how many were not, and the first ``errors_max`` of these."""

    errors_max: int
    events: list[Event] = attrs.field(factory=list)
    rejections: list[RejectedEvent] = attrs.field(factory=list)
    rejected: int = 0

    def reject(self, index: int, error: InvalidEventError) -> None:
        """Count an event as not taken."""
        self.rejected += 1
        if len(self.rejections) < self.errors_max:
            self.rejections.append(RejectedEvent(index, error.event_id, error.faults))


async def validate(schema: EventSchema, pieces: Iterable[Numbered], *, origin: Origin, into: CheckedEvents) -> None:
    """Validate every piece; between slices of `SLICE_EVENTS` other requests get their turn."""
    remaining = iter(pieces)
    while some := list(islice(remaining, SLICE_EVENTS)):
        for index, piece in some:
            try:
                into.events.append(schema.parse(piece, index=index, origin=origin))
            except InvalidEventError as error:
                into.reject(index, error)
        if len(some) == SLICE_EVENTS:
            await asyncio.sleep(0)


async def array_elements(body: bytes) -> list[Piece]:
    """Return the text of each element of a JSON array.

    An element that is not valid JSON on its own (NaN, half a surrogate pair, nested without end) does not
    take its neighbours with it: as long as brackets and strings show where elements end, all are returned.
    Raises NotAnArrayError where they do not.
    """
    try:
        return list(_array.decode(body))
    except RecursionError:
        fault = "is nested too deep to be read"
    except msgspec.DecodeError as error:
        fault = json_fault(body, error)
    # Rare and slow (about 100 ns a byte at worst), so not in the event loop.
    elements = await asyncio.to_thread(_split, body)
    if elements is None:
        raise NotAnArrayError(fault)
    return elements


def lines(body: bytes) -> Iterator[Numbered]:
    """Yield the lines that are not blank, numbered without the blank ones."""
    return enumerate(text for line in io.BytesIO(body) if (text := line.strip(_WHITESPACE)))


@attrs.define
class Lines:
    """Some lines of a stream, in order, without blank ones. ``end``: lines of the stream up to here, blank ones too."""

    end: int
    pieces: list[Numbered] = attrs.field(factory=list)
    size_bytes: int = 0

    def add(self, line: bytes) -> None:
        """Append one line."""
        if self.end == 0:
            line = line.removeprefix(BOM)
        if text := line.strip(_WHITESPACE):
            self.pieces.append((self.end, text))
        self.size_bytes += len(line) + 1
        self.end += 1

    @property
    def full(self) -> bool:
        """Whether there are enough lines to be worked on."""
        return self.size_bytes >= SLICE_BYTES or len(self.pieces) >= SLICE_LINES


class LineTooLongError(ValueError):
    """A line of a stream is longer than a whole body may be."""


async def slices(stream: AsyncIterator[bytes], *, line_max_bytes: int) -> AsyncIterator[Lines]:
    """Yield a stream of lines in slices; holds one slice, one piece of the stream and one unfinished line.

    The last line needs no newline. Raises LineTooLongError after every line before it was yielded.
    """
    held = Lines(0)
    tail = bytearray()
    async for piece in stream:
        first, *others = piece.split(b"\n")
        tail += first
        for following in others:
            if len(tail) > line_max_bytes:
                break
            held.add(bytes(tail))
            tail = bytearray(following)
            if held.full:
                yield held
                held = Lines(held.end)
        if len(tail) > line_max_bytes:
            yield held
            raise LineTooLongError
        # A few compressed bytes can be gigabytes of lines, so other requests must get their turn.
        await asyncio.sleep(0)
    if tail:
        held.add(bytes(tail))
    yield held


def _split(body: bytes) -> list[Piece] | None:
    """Return an array's elements by brackets, commas and strings alone; None where these do not add up."""
    text = body.strip(_WHITESPACE)
    elements: list[Piece] = []
    start = 1
    for mark in _element_ends(text):
        elements.append(text[start : mark.start()].strip(_WHITESPACE))
        start = mark.end()
    whole = text[:1] == b"[" and text[-1:] == b"]" and start == len(text)
    return elements if whole and all(elements) else None


def _element_ends(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield each comma between elements, and the bracket that closes the array; stop at a string without an end."""
    depth = 0
    for mark in _MARKS.finditer(text):
        sign = mark[0]
        if sign == b'"':
            return
        depth += _DEPTH_CHANGES.get(sign, 0)
        if depth == 0 or (depth == 1 and sign == b","):
            yield mark
        if depth == 0:
            return
