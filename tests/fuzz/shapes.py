"""Bodies that mean harm, told by how they are made, so that hypothesis makes them smaller by making numbers smaller.

Most are small, some as large as the service takes, and a little larger.
"""

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz import pieces as of
from tests.fuzz.made import Encoding, Made, Packing, Part
from tests.fuzz.strategies import KNOWN_MATCH

_MIB = 1 << 20
EVENT = b'{"matchId":"%b","eventType":"pass","teamId":"1"}' % KNOWN_MATCH.encode()
_NUMBERED = b'{"matchId":"%b","eventType":"pass","teamId":"1","eventId":"00000000-0000-4000-8000-%%012d"}'
_VALID = _NUMBERED % KNOWN_MATCH.encode()


@attrs.frozen(kw_only=True)
class Scale:
    """How large requests become.

    Attributes:
        body_bytes: of a body.
        bulk_bytes: of all lines of a bulk request.
        bomb_bytes: what a bomb unpacks to, where it is not read to its end.
        chunked_bytes: of a body in chunks of a byte.
        events: in one body.
    """

    body_bytes: int = 10 * _MIB
    bulk_bytes: int = 40 * _MIB
    bomb_bytes: int = 256 * _MIB
    chunked_bytes: int = 2 * _MIB
    events: int = 50_001


@attrs.frozen
class Text:
    """A body before it has a target. ``lines``: NDJSON."""

    made: Made
    lines: bool = False


def shapes(scale: Scale) -> dict[str, SearchStrategy[Text]]:
    """Return every kind of body by its name, as reports show it."""
    most = scale.body_bytes
    return {
        "many small elements": _many(st.sampled_from(of.ELEMENTS), most, 5_000_000),
        "invalid events": _many(st.sampled_from(of.ELEMENTS[15:]), most, scale.events),
        "valid events": _valid(scale),
        "nesting": _nested(most),
        "one object, many keys": _keyed(st.sampled_from(of.KEYS), most, numbered=True),
        "one key again and again": _keyed(st.sampled_from(of.KEYS_AGAIN), most, numbered=False),
        "strings": _placed(of.STRING_PLACES, of.STRING_PIECES, most),
        "numbers": _placed(of.NUMBER_PLACES, of.NUMBER_PIECES, most),
        "blank": _blank(scale),
    }


def counts(piece: int, most_bytes: int, most: int = 1 << 62) -> SearchStrategy[int]:
    """How often a piece comes: few, many, as many as may be, and one more."""
    full = max(1, min(most_bytes // max(1, piece), most))
    steps = {
        min(full, count) for count in (1, 2, 10, 1_000, 10_000, full // 10, full // 2, full - 1, full) if count > 0
    }
    return st.sampled_from(sorted(steps | {full + 1})) | st.integers(1, full)


@st.composite
def _many(draw: st.DrawFn, pieces: SearchStrategy[bytes], most_bytes: int, most: int) -> Text:
    """One piece, or two in turn, in an array or in lines."""
    lines = draw(st.booleans())
    piece = draw(pieces)
    if draw(st.booleans()):
        piece += (b"\n" if lines else b",") + draw(pieces)
    count = draw(counts(len(piece) + 1, most_bytes, most))
    if lines:
        return Text(Made.of(Part(piece + b"\n", count), draw(st.sampled_from((b"", EVENT)))), lines=True)
    last = draw(st.sampled_from((b"1]", EVENT + b"]", b"]", b"")))
    return Text(Made.of(b"[", Part(piece + b",", count), last))


@st.composite
def _valid(draw: st.DrawFn, scale: Scale) -> Text:
    """Events that are taken: plain, with long ids, with metadata at its limit, padded, with unknown fields."""
    lines = draw(st.booleans())
    extra = draw(
        st.sampled_from(
            (
                b"",
                b',"playerId":"%b"' % (b"p" * 64),
                b',"metadata":{"a":"%b"}' % (b"x" * 16_000),
                b',"metadata":{%b"a":1}' % (b" " * 16_000),
                b',"metadata":{%b}' % b",".join(b'"k%d":1' % number for number in range(1_000)),
                b',"metadata":%b1%b' % (b'{"a":' * 14, b"}" * 14),
                b"".join(b',"u%d":%d' % (number, number) for number in range(500)),
                b" " * 60_000,
                b',"metadata":{"minute":"x","x":"y","player":1,"card":[],"period":{}}',
            )
        )
    )
    event = _VALID[:-1] + extra.replace(b"%", b"%%") + b"}"
    count = draw(counts(len(event), scale.body_bytes, scale.events))
    if lines:
        return Text(Made.of(Part(event + b"\n", count, numbered=True)), lines=True)
    return Text(Made.of(b"[", Part(event + b",", count, numbered=True), EVENT, b"]"))


@st.composite
def _nested(draw: st.DrawFn, most_bytes: int) -> Text:
    """Opened over and over, and closed as often, or not."""
    opening, closing = draw(st.sampled_from(of.OPENINGS))
    depth = draw(counts(len(opening + closing), most_bytes))
    before, after = draw(
        st.sampled_from(
            ((b"", b""), (b"[", b"]"), (b"[1,", b"," + EVENT + b"]"), (EVENT[:-1] + b',"metadata":{"a":', b"}}"))
        )
    )
    inner = draw(st.sampled_from((b"1", b"", b"{}")))
    closed = Part(closing, depth) if draw(st.booleans()) else Part(b"")
    return Text(Made.of(before, Part(opening, depth), inner, closed, after), lines=draw(st.booleans()))


@st.composite
def _keyed(draw: st.DrawFn, pieces: SearchStrategy[bytes], most_bytes: int, *, numbered: bool) -> Text:
    """One object with a key over and over, at its top or in its metadata, alone or in an array."""
    piece = draw(pieces) + b","
    count = draw(counts(len(piece) + 5 * numbered, most_bytes))
    before, after = draw(
        st.sampled_from(
            (
                (b"{", b'"z":1}'),
                (b"[{", b'"z":1}]'),
                (b'{"matchId":"m","eventType":"cheer",', b'"z":1}'),
                (b'{"matchId":"m","eventType":"cheer","metadata":{', b'"z":1}}'),
                (b'[{"matchId":"m","eventType":"cheer","metadata":{', b'"z":1}}]'),
                (b"{", b""),
            )
        )
    )
    return Text(Made.of(before, Part(piece, count, numbered=numbered), after), lines=draw(st.booleans()))


@st.composite
def _placed(
    draw: st.DrawFn, places: tuple[tuple[bytes, bytes], ...], pieces: tuple[bytes, ...], most_bytes: int
) -> Text:
    """A value that is long, somewhere in an event or elsewhere."""
    before, after = draw(st.sampled_from(places))
    one, other = draw(st.sampled_from(pieces)), draw(st.sampled_from((b"", *pieces)))
    count = draw(counts(len(one + other), most_bytes))
    return Text(Made.of(before, Part(one + other, count), after), lines=draw(st.booleans()))


@st.composite
def _blank(draw: st.DrawFn, scale: Scale) -> Text:
    """Next to nothing: blank lines and blanks, before, between and after what is something."""
    lines = draw(st.booleans())
    blank = draw(st.sampled_from(of.BLANKS))
    count = draw(counts(len(blank), scale.bulk_bytes if lines else scale.body_bytes))
    ends = st.sampled_from((b"{}", b"", EVENT, b"[", b"{", b"1"))
    return Text(Made.of(draw(ends), Part(blank, count), draw(ends)), lines=lines)


@st.composite
def packings(draw: st.DrawFn) -> Packing:
    encodings: tuple[Encoding, ...] = ("gzip", "deflate", "raw deflate")
    return Packing(
        encoding=draw(st.sampled_from(encodings)),
        level=draw(st.sampled_from((9, 1, 0))),
        members=draw(st.sampled_from((1, 2, 100, 10_000))),
        empty=draw(st.sampled_from((0, 0, 1, 1_000, 100_000))),
        tail=draw(st.sampled_from((b"", b"", b"\0" * 1_000_000, b"garbage", b"\x1f\x8b", b"\x1f", b"\0x"))),
        cut_bytes=draw(st.sampled_from((0, 0, 0, 1, 8, 12))),
        flipped=draw(st.none() | st.integers(0, 1 << 16)),
    )


def packed(text: Text, packing: Packing) -> Text:
    return Text(Made(text.made.parts, packing), text.lines)


@st.composite
def bombs(draw: st.DrawFn, most_bytes: int) -> Text:
    """A few bytes that become many."""
    piece = draw(st.sampled_from((b"1,", b"{},", b"\n", b" ", b"{}\n", b"\0", EVENT + b"\n", b"a")))
    count = draw(counts(len(piece), most_bytes))
    packing = Packing(encoding=draw(st.sampled_from(("gzip", "deflate"))), level=draw(st.sampled_from((9, 1))))  # type: ignore[arg-type]
    return Text(Made((Part(b"["), Part(piece, count)), packing), lines=draw(st.booleans()))
