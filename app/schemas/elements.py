"""Taking a JSON array of events apart into the texts of its elements, in bounded time and memory."""

import asyncio
import re
from collections.abc import Iterator
from itertools import islice

import msgspec

from app.schemas.events import json_fault

Piece = bytes | msgspec.Raw
"""The text of one event."""

EVENTS_MAX = 50_000
"""The most events of one request, but to ``/bulk``."""

CHUNK_BYTES = 64 << 10
"""Bytes of an array that are taken apart at a stretch, which takes a millisecond at most."""

CUTS_TRIED = 8
"""Commas at which a chunk may end that are tried, before the array is read bracket by bracket."""

_WHITESPACE = b" \t\r\n"
_CUT = re.compile(rb"\}[ \t\r\n]*+(?=,)")
_OPENING = (b"[", b"{")
_CLOSING = (b"]", b"}")
_INSIDE = rb'(?:[^"\\]{1,1000}+|\\.){0,1000}+'
"""The inside of a string, or its next part, of bounded length, because nothing else runs while this is matched."""

_MARKS = re.compile(rb'"%b"|[\[{]++|[\]},"]' % _INSIDE, re.DOTALL)
_REST = re.compile(_INSIDE, re.DOTALL)

_array = msgspec.json.Decoder(list[msgspec.Raw])


class NotAnArrayError(ValueError):
    """The body cannot be taken apart into the elements of an array; the message says what to mend."""


class TooManyEventsError(ValueError):
    """There are more than `EVENTS_MAX` events in a request."""


async def array_elements(body: bytes) -> list[Piece]:
    """Return the text of each element of a JSON array, which begins with its bracket.

    An element that is not valid JSON on its own (NaN, half a surrogate pair, nested without end) does not
    take its neighbours with it: as long as brackets and strings show where elements end, all are returned.
    Raises NotAnArrayError where they do not, TooManyEventsError as soon as there are more than `EVENTS_MAX`.
    """
    try:
        return await _quickly(body)
    except (msgspec.DecodeError, RecursionError):
        pass
    # Rare and slow (about 100 ns a byte at worst), so not in the event loop.
    elements = await asyncio.to_thread(_by_marks, body)
    if elements is None:
        raise NotAnArrayError(_fault(body))
    return elements


async def _quickly(body: bytes) -> list[Piece]:
    """Return the elements as the decoder finds them, chunk by chunk; raises as that where one cannot be read.

    A chunk that is a valid array between brackets of its own, and is followed by a comma, ends where an element does.
    """
    elements: list[Piece] = []
    start = 1
    while len(body) - start > CHUNK_BYTES:
        start = _take_chunk(body, start, elements)
        if len(elements) > EVENTS_MAX:
            raise TooManyEventsError
        await asyncio.sleep(0)
    rest = _array.decode(b"[" + body[start:])
    if elements and not rest:
        raise msgspec.DecodeError("a comma before the end")
    elements += rest
    if len(elements) > EVENTS_MAX:
        raise TooManyEventsError
    return elements


def _take_chunk(body: bytes, start: int, elements: list[Piece]) -> int:
    """Append the elements of the chunk that begins at ``start``; return where the next one begins."""
    cuts = _CUT.finditer(body, start + CHUNK_BYTES, start + 2 * CHUNK_BYTES)
    for cut in islice(cuts, CUTS_TRIED):
        try:
            chunk = _array.decode(b"[%b]" % body[start : cut.end()])
        except (msgspec.DecodeError, RecursionError):
            continue
        elements += chunk
        return cut.end() + 1
    raise msgspec.DecodeError("no place to cut")


def _by_marks(body: bytes) -> list[Piece] | None:
    """Return an array's elements by brackets, commas and strings alone; None where these do not add up."""
    text = body.strip(_WHITESPACE)
    elements: list[Piece] = []
    start = 1
    for mark in _element_ends(text):
        elements.append(text[start : mark.start()].strip(_WHITESPACE))
        start = mark.end()
        if len(elements) > EVENTS_MAX:
            raise TooManyEventsError
    whole = text[:1] == b"[" and text[-1:] == b"]" and start == len(text)
    return elements if whole and all(elements) else None


def _element_ends(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield each comma between elements, and the bracket that closes the array; stop at a string without an end."""
    depth = 0
    for mark in _marks(text):
        sign = mark[0]
        if sign[:1] in _OPENING:
            depth += len(sign)
        elif sign in _CLOSING:
            depth -= 1
        if depth == 0 or (depth == 1 and sign == b","):
            yield mark
        if depth == 0:
            return


def _marks(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield brackets, runs of opening ones as one, and commas, all outside strings; stop at a string without an end."""
    at = 0
    while at < len(text):
        mark = _MARKS.search(text, at, at + CHUNK_BYTES)
        if mark is None:
            at += CHUNK_BYTES  # a string that the end of the chunk cuts is found by its quote
        elif mark[0] == b'"':
            at = _string_end(text, mark.end()) or len(text)
        else:
            at = mark.end()
            yield mark


def _string_end(text: bytes, start: int) -> int:
    """Return where a string ends whose inside begins at ``start``, behind its quote; 0 where it does not."""
    at = start
    while (part := _REST.match(text, at)) and part.end() > at:
        at = part.end()
    return at + 1 if text[at : at + 1] == b'"' else 0


def _fault(body: bytes) -> str:
    """Say why a text is no array, for a short one as precisely as the decoder can."""
    if len(body) > 4 * CHUNK_BYTES:
        return "is not valid JSON: its brackets, commas or quotes do not add up"
    try:
        _array.decode(body)
    except RecursionError:
        return "is nested too deep to be read"
    except msgspec.DecodeError as error:
        return json_fault(body, error)
    return "is not valid JSON"
