"""What clients might send: requests made from the OpenAPI document, sound ones and all others."""

import gzip
import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from app.openapi.document import document
from app.schemas.event_types import MATCH_TYPES, TEAM_TYPES
from tests.fuzz.wire import Chunks, Sent
from tests.http.documented import resolve

KNOWN_MATCH = "fuzzed"
"""A match that exists."""

KNOWN_FILE = b"css/base.css"

# fmt: off
ODD_SEGMENTS = (
    b"%00", b"%2F", b"a%2Fb", b"..%2f..%2fetc", b"%2e%2e", b".", b"..", b"'", b'"', b"%22", b"%27%20OR%201=1--", b"%",
    b"%z", b"%ff", b"%c3%28", b"%ED%A0%80", b"%C2%85", b"%0d%0aX-Odd:%20b", b"+", b"a;b", b"$(id)", b"null", b"-1",
    b"%F0%9F%8E%89", "\N{PARTY POPPER}".encode(), "\u00e9".encode(), b"<script>", b"{matchId}", b"a b", b"%5c", b"\\",
    b"x" * 128, b"x" * 129, b"x" * 10_000, b"%41" * 128, b"%F0%9F%8E%89" * 128, b"", b"a//b", b"a/", b"%7f",
)
ODD_TEXTS = (
    "", " ", "\0", "\n", "'", '"', "\\", "%", "null", "true", "-1", "0", "1e9", "NaN", "9" * 40, "\u0661", "x" * 10_000,
    "\N{PARTY POPPER}", "\ud83d", "\u202e", "\x7f", "\x85", "$tag$", "'; DROP TABLE events; --", "a\r\nX-Odd: b", "[]",
)
ODD_HEADERS = (
    (b"Accept", b""), (b"Accept", b"*/*;q=x"), (b"Accept", b"application/openmetrics-text; version=1.0.0; q=0.5"),
    (b"Expect", b"100-continue"), (b"Expect", b"a cake"), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"),
    (b"Range", b"bytes=5-2"), (b"Range", b"bytes=0-9"), (b"Range", b"bytes=999999999-"), (b"If-Range", b"x"),
    (b"If-None-Match", b"*"), (b"If-Match", b'"x"'), (b"If-Modified-Since", b"Fri, 01 Jan 2100 00:00:00 GMT"),
    (b"If-Modified-Since", b"now"), (b"If-Unmodified-Since", b"Fri, 01 Jan 2010 00:00:00 GMT"),
    (b"X-Forwarded-For", b"::1"), (b"Forwarded", b"for=\xff"), (b"Cookie", b"=;=\xff"), (b"Origin", b"null"),
    (b"Host", b"\xf0\x9f\x8e\x89"), (b"Host", b""), (b"Authorization", b"Bearer x"), (b"Content-Type", b"text/plain"),
    (b"X-Filler", b"x" * 10_000), (b"X-Filler", b"\x01"), (b"X Filler", b"x"), (b"", b"x"), (b"X-Filler", b"a\nb"),
    (b"Content-Length", b"-1"), (b"Content-Length", b"x"), (b"Transfer-Encoding", b"gzip"), (b"Connection", b"close"),
    (b"Last-Event-ID", b"0-x"), (b"Accept-Encoding", b"br"), (b"Accept-Language", b"\xff"), (b"TE", b"trailers"),
    (b"X-HTTP-Method-Override", b"DELETE"),
)
CONTENT_TYPES = (
    b"application/json", b"application/x-ndjson", b"application/json; charset=utf-8", b"APPLICATION/JSON", b"",
    b"application/jsonl", b"text/plain", b"application/json; charset=utf-16", b"application/json;charset", b"/",
    b"\xff", b"multipart/form-data", b"application/x-www-form-urlencoded", b"application/json, text/plain",
    b"x" * 10_000,
)
RAW_BODIES = (
    b"", b" ", b"{}", b"[]", b"[[]]", b"null", b"0", b'""', b"{", b"[{]", b"\xef\xbb\xbf{}", b"\xff\xfe", b"{}{}",
    b"[" * 5000, b'{"a":' * 5000, b"1e999", b"-", b"\n", b'"\\ud800"', b'{"matchId":1,"matchId":2}', b"NaN",
    b"x" * 10_000,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "FOO", "CONNECT", "PRI")
# fmt: on

_AFTER, _BEFORE = datetime(2000, 1, 2), datetime(2026, 1, 1)  # noqa: DTZ001 (the strategy takes no zones)


def texts() -> SearchStrategy[str]:
    """Text of every kind, surrogates included."""
    return st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(exclude_categories=()), max_size=20))


def values() -> SearchStrategy[Any]:
    """JSON of every shape, and what Python calls JSON."""
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts())
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3))


def metadata() -> SearchStrategy[dict[str, Any]]:
    """Metadata that is taken: of anything, what is understood, and the same keys with what is not."""
    sides = st.text(max_size=5) | st.fixed_dictionaries(
        {}, optional={"id": _scalars, "name": _scalars, "color": _scalars}
    )
    understood = {
        "minute": st.integers(0, 150) | st.sampled_from(("47", "45+2", 45.0, "", -1, {"minute": 45, "added": 2})),
        "added": _scalars,
        "period": st.integers(0, 6) | _scalars,
        "player": _scalars,
        "x": st.floats(-10, 110) | _scalars,
        "penalty": st.booleans() | _scalars,
        "card": st.sampled_from(("yellow", "second_yellow", "RED", "rot", "", 1)),
        "home": sides | _scalars,
        "away": sides | _scalars,
        "homeTeam": sides,
        "kickoff": st.sampled_from(("2024-01-15T14:00:00Z", "2024-01-15T14:00:00", "soon", 5)),
        "replaces": st.uuids(version=4).map(str) | st.none(),
    }
    anything = st.dictionaries(
        st.text(max_size=5), st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=20), max_size=4
    )
    return st.builds(lambda first, second: first | second, anything, st.fixed_dictionaries({}, optional=understood))


def events() -> SearchStrategy[dict[str, Any]]:
    """Events as documented."""
    optional = {
        "eventId": st.uuids().map(str),
        "timestamp": st.datetimes(_AFTER, _BEFORE).map(lambda moment: moment.isoformat() + "Z"),
        "playerId": st.integers(0, 99) | st.text("abc\u00e9", min_size=1, max_size=64),
        "metadata": metadata(),
    }
    required = {
        "matchId": st.sampled_from((KNOWN_MATCH, "other")),
        "eventType": st.sampled_from((*sorted(TEAM_TYPES), *sorted(MATCH_TYPES), "cheer")),
        "teamId": st.sampled_from(("1", "2", 3)),
    }
    return st.fixed_dictionaries(required, optional=optional)


def near_events() -> SearchStrategy[dict[str, Any]]:
    """Events with some fields replaced, added or missing."""
    names = (
        *("matchId", "eventType", "timestamp", "teamId", "playerId", "metadata", "eventId", "extra", "_unmapped"),
        *("home", "awayTeam", "minute", "replaces"),
    )
    changes = st.dictionaries(st.sampled_from(names) | texts(), values(), max_size=3)
    left_out = st.sets(st.sampled_from(names), max_size=2)
    return st.builds(
        lambda event, changed, without: {k: v for k, v in (event | changed).items() if k not in without},
        events(),
        changes,
        left_out,
    )


def bodies() -> SearchStrategy[tuple[bytes, bytes]]:
    """Content types and bodies: one event, many, lines, and what is none of these."""
    event = st.one_of(events(), near_events())
    many = st.lists(events(), min_size=1, max_size=4) | st.lists(event | values(), max_size=4)
    lines = many.map(lambda items: b"\n".join(map(_json, items)))
    other = st.one_of(values().map(_json), st.sampled_from(RAW_BODIES), st.binary(max_size=200))
    return st.one_of(
        st.tuples(st.just(b"application/json"), events().map(_json)),
        st.tuples(st.just(b"application/json"), st.one_of(event, many).map(_json)),
        st.tuples(st.just(b"application/x-ndjson"), lines),
        st.tuples(st.sampled_from(CONTENT_TYPES[:2]), other),
    )


@st.composite
def requests(draw: st.DrawFn, method: str, template: str, *, token: str) -> Sent:
    """A request for an operation of the document: mostly near what it expects, sometimes far from it.

    What is for operators is mostly asked for with ``token``.
    """
    operation = document()["paths"][template][method.lower()]
    parameters = [resolve(parameter) for parameter in operation["parameters"]]
    target, odd = template.encode(), False
    for parameter in (parameter for parameter in parameters if parameter["in"] == "path"):
        segment, strange = draw(_segments())
        if parameter["name"] == "path" and draw(_often):
            segment, strange = KNOWN_FILE, False
        target, odd = target.replace(b"{%b}" % parameter["name"].encode(), segment), odd or strange
    if query := draw(_queries(parameters)):
        target += b"?" + query
    headers = draw(_headers(method, parameters))
    if "security" in operation and draw(_often):
        headers += ((b"Authorization", b"Bearer " + token.encode()),)
    if draw(_seldom):
        method = draw(st.sampled_from(METHODS))
    body = b""
    if method == "POST" or (method != "CONNECT" and draw(_seldom)):  # what follows a CONNECT is no body
        body, more = draw(_encoded_bodies())
        headers += more
    return Sent(
        method=method,
        template=template,
        target=target,
        headers=headers,
        body=body,
        chunks=draw(_chunks) if body else None,
        odd=odd or method == "CONNECT",  # whose target is no path
    )


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 200)
    | st.floats(-5, 200)
    | st.sampled_from(("", " ", "\u200b", "7", "X"))
)
_seldom = st.integers(0, 19).map(lambda number: number == 19)
_often = st.integers(0, 9).map(lambda number: number < 8)
_chunks = st.sampled_from((0, 0, 0, 1, 7, 1000)).map(lambda size: Chunks(size_bytes=size) if size else None)


@st.composite
def _segments(draw: st.DrawFn) -> tuple[bytes, bool]:
    """One segment of a path, and whether it may not be one."""
    if draw(_often):
        text = draw(st.one_of(st.just(KNOWN_MATCH), st.uuids().map(str), st.text(st.characters(categories=("L", "N")))))
        return quote(text, safe="").encode(), text == ""
    if draw(st.booleans()):
        return draw(st.sampled_from(ODD_SEGMENTS)), True
    return quote(draw(texts()), safe="", errors="surrogatepass").encode(), True


@st.composite
def _queries(draw: st.DrawFn, parameters: list[Mapping[str, Any]]) -> bytes:
    known = [parameter for parameter in parameters if parameter["in"] == "query"]
    pairs = []
    for parameter in known:
        if draw(st.booleans()):
            value = draw(_value_of(parameter["schema"]) if draw(_often) else texts())
            pairs.append(_pair(parameter["name"], value))
    if draw(_seldom):
        odd = st.sampled_from(
            (b"", b"=", b"%00", b"a[]=1&a[]=2", b"x" * 10_000, b"%zz", b"\xff", b"?", b"limit=", b"a b")
        )
        pairs.append(draw(odd | st.tuples(texts(), texts()).map(lambda pair: _pair(*pair))))
    return b"&".join(pairs)


@st.composite
def _headers(draw: st.DrawFn, method: str, parameters: list[Mapping[str, Any]]) -> tuple[tuple[bytes, bytes], ...]:
    headers = []
    for parameter in (parameter for parameter in parameters if parameter["in"] == "header"):
        if parameter["name"] != "Content-Encoding" and draw(_seldom):
            value = draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300) | texts())
            headers.append((parameter["name"].encode(), value.encode("utf-8", "surrogatepass")))
    if draw(_seldom if method == "POST" else st.booleans()):
        headers += draw(st.lists(st.sampled_from(ODD_HEADERS), min_size=1, max_size=3))
    return tuple(headers)


@st.composite
def _encoded_bodies(draw: st.DrawFn) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    content_type, body = draw(bodies())
    if draw(_seldom):
        content_type = draw(st.sampled_from(CONTENT_TYPES))
    headers = [(b"Content-Type", content_type)]
    if draw(st.booleans()):
        encoding = draw(st.sampled_from((b"gzip", b"gzip", b"deflate", b"identity", b"br", b"gzip, gzip")))
        headers.append((b"Content-Encoding", encoding))
        body = _PACKED.get(encoding, bytes)(body) if draw(_often) else body
    return body, tuple(headers)


def _value_of(schema: Mapping[str, Any]) -> SearchStrategy[str]:
    """Text of a parameter as its schema wants it."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "examples" in schema:
        return st.sampled_from(schema["examples"])
    if schema["type"] == "array":
        return _value_of(schema["items"])
    if schema["type"] == "boolean":
        return st.sampled_from(("true", "false"))
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"]).map(str)
    if schema["type"] == "number":
        return st.floats(0.001, 0.2).map(str)  # seconds that the fuzzer itself waits
    return st.text(st.characters(categories=("L", "N")), max_size=schema.get("maxLength", 50))


def _pair(name: str, value: str) -> bytes:
    return b"=".join(quote(text, safe="", errors="surrogatepass").encode() for text in (name, value))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


_PACKED = {b"gzip": gzip.compress, b"deflate": zlib.compress}
