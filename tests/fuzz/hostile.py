"""What a client would send that means harm, kind by kind: bodies, headers, chunks, compression, timing, queries."""

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from app.openapi.document import document, resolve
from tests.fuzz import pieces as of
from tests.fuzz.shapes import EVENT, Scale, Text, bombs, counts, packed, packings, shapes
from tests.fuzz.strategies import KNOWN_FILE, KNOWN_MATCH
from tests.fuzz.wire import Chunks, Manner, Sent

_MIB = 1 << 20
_JSON, _LINES = b"application/json", b"application/x-ndjson"


def kinds(scale: Scale) -> dict[str, SearchStrategy[Sent]]:
    """Return every kind by its name, as reports show it."""
    of_bodies = shapes(scale)
    bodies = {name: _posts(shape) for name, shape in of_bodies.items()}
    small = st.one_of(*shapes(Scale(body_bytes=1 << 16, bulk_bytes=1 << 16, events=500)).values())
    return bodies | {
        "headers": _odd_headers(),
        "chunks": _chunked(st.one_of(small, _some(of_bodies, scale))),
        "compression": _posts(st.builds(packed, st.one_of(*of_bodies.values()), packings())),
        "bombs": _posts(bombs(scale.bomb_bytes), _WHOLE_PATHS) | _posts(bombs(scale.bulk_bytes), st.just(_BULK)),
        "timing": _timed(small),
        "queries and cursors": _queries(),
    }


def _some(of_bodies: dict[str, SearchStrategy[Text]], scale: Scale) -> SearchStrategy[Text]:
    """Bodies that may be cut into many chunks: larger ones would take the client too long."""
    return st.one_of(*of_bodies.values()).filter(lambda text: text.made.unpacked_bytes <= scale.chunked_bytes)


_BULK = "/api/events/bulk"
_WHOLE_PATHS = st.sampled_from(("/api/events", "/api/matches/{matchId}/events"))
_POST_PATHS = _WHOLE_PATHS | st.just(_BULK)


@st.composite
def _posts(draw: st.DrawFn, texts: SearchStrategy[Text], paths: SearchStrategy[str] = _POST_PATHS) -> Sent:
    """A request with such a body, to any path that takes events."""
    text = draw(texts)
    template = draw(paths)
    lines = text.lines or template == _BULK
    headers = [(b"Content-Type", _LINES if lines else _JSON)]
    if text.made.packing is not None:
        headers.append((b"Content-Encoding", text.made.packing.encoding.split()[-1].encode()))
    if draw(st.integers(0, 9)) == 9:
        headers.append((b"Idempotency-Key", b"key"))
    return Sent(method="POST", template=template, target=_target(template), headers=tuple(headers), body=text.made)


@st.composite
def _chunked(draw: st.DrawFn, texts: SearchStrategy[Text]) -> Sent:
    sent = draw(_posts(texts))
    chunks = Chunks(
        size_bytes=draw(st.sampled_from((1, 2, 7, 1_000, 65_536, 1 << 24))),
        extension=draw(st.sampled_from((b"", b"", b";a", b";a=b", b';a="b;c"', b";" + b"x" * 4_000, b" ", b";\xff"))),
        trailers=draw(
            st.sampled_from((b"", b"", b"A: b\r\n", b"A: b\r\n" * 100, b"A: " + b"x" * 8_000 + b"\r\n", b"x\r\n"))
        ),
        broken_after=draw(st.none() | st.sampled_from((0, 1, 5, 1_000))),
        broken=draw(
            st.sampled_from((b"zz\r\n", b"-1\r\n", b"\r\n", b"f" * 40 + b"\r\n", b"1\r\nab\r\n", b"0x1\r\n", b"\0"))
        ),
    )
    too_much = len(chunks.extension) * (sent.mib * _MIB / chunks.size_bytes) > _MIB
    return attrs.evolve(sent, chunks=attrs.evolve(chunks, extension=b";a") if too_much else chunks)


@st.composite
def _timed(draw: st.DrawFn, texts: SearchStrategy[Text]) -> Sent:
    """Requests that come in pieces, whose sender says no more or leaves, or sends the next ones at once."""
    sent = draw(_posts(texts))
    manner = Manner(
        pieces=draw(st.sampled_from((1, 2, 3, 50))),
        pause_s=draw(st.sampled_from((0.0, 0.001, 0.005))),
        end=draw(st.sampled_from(("", "half-closed", "cut", "left"))),  # type: ignore[arg-type]
        pipelined=draw(st.sampled_from((0, 1, 100))),
    )
    chunked = draw(st.sampled_from((None, Chunks(size_bytes=1_000))))
    return attrs.evolve(sent, manner=attrs.evolve(manner, pipelined=0) if manner.end else manner, chunks=chunked)


@st.composite
def _odd_headers(draw: st.DrawFn) -> Sent:
    """Headers as long and as many as are read, of every name that anybody reads."""
    template = draw(_POST_PATHS | st.sampled_from(_GET_PATHS))
    method = draw(st.sampled_from(sorted({"get", "post"} & document()["paths"][template].keys()))).upper()
    fields = []
    for _ in range(draw(st.integers(1, 3))):
        name, start = draw(st.sampled_from(of.FIELDS)), draw(st.sampled_from(of.FIELD_STARTS))
        piece, end = draw(st.sampled_from(of.FIELD_PIECES)), draw(st.sampled_from(of.FIELD_ENDS))
        room = 8_180 - len(name + start + end)
        value = start + piece * draw(counts(len(piece), room)) + end
        fields += [(name, value)] * draw(st.sampled_from((1, 1, 1, 2, 60)))
    if method == "POST" and draw(st.booleans()):
        fields.insert(0, (b"Content-Type", _LINES if template == _BULK else _JSON))
    body = EVENT if method == "POST" else b""
    return Sent(method=method, template=template, target=_target(template), headers=tuple(fields), body=body)


@st.composite
def _queries(draw: st.DrawFn) -> Sent:
    """Reads with long queries, cursors of nobody, and matches that nobody knows."""
    template = draw(st.sampled_from(_GET_PATHS))
    match = draw(st.sampled_from((KNOWN_MATCH, "nobody", "n" * 128)) | st.integers(0, 1 << 60).map(str))
    known = [resolve(node) for node in document()["paths"][template]["get"]["parameters"]]
    names = [node["name"].encode() for node in known if node["in"] == "query"] * 3
    pairs = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from((*names, *of.QUERY_NAMES)))
        piece = draw(st.sampled_from(of.QUERY_PIECES))
        value = draw(st.sampled_from(of.CURSORS)) if draw(st.booleans()) else piece * draw(counts(len(piece), 7_000))
        pairs.append(name + b"=" + value)
    query = b"&".join(pairs)[:7_500]
    target = _target(template, match) + (b"?" + query if query else b"")
    return Sent(method="GET", template=template, target=target)


def _target(template: str, match: str = KNOWN_MATCH) -> bytes:
    target = template.replace("{matchId}", match).encode()
    return target.replace(b"{path}", KNOWN_FILE).replace(b"{", b"").replace(b"}", b"")


_GET_PATHS = tuple(path for path, item in document()["paths"].items() if "get" in item)
