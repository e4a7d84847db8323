"""The worst requests that anybody has thought of so far, at their full size, each by a name."""

from tests.fuzz.made import Made, Packing, Part
from tests.fuzz.shapes import EVENT
from tests.fuzz.wire import Chunks, Sent

_MIB = 1 << 20
_JSON, _LINES = b"application/json", b"application/x-ndjson"
_FAULTY = b'{"eventId":{},"matchId":[],"eventType":1,"teamId":{},"playerId":[],"timestamp":"2024-13-45","metadata":1}'
_SOUND = EVENT[:-1] + b',"eventId":"00000000-0000-4000-9000-%012d"}'
_GZIP = Packing(encoding="gzip")


def _post(body: Made, *, kind: bytes = _JSON, path: str = "/api/events", **more: object) -> Sent:
    headers = [(b"Content-Type", kind)]
    if body.packing is not None:
        headers.append((b"Content-Encoding", b"gzip"))
    return Sent(method="POST", template=path, target=path.encode(), headers=tuple(headers), body=body, **more)  # type: ignore[arg-type]


def _lines(body: Made, *, bulk: bool = False) -> Sent:
    return _post(body, kind=_LINES, path="/api/events/bulk" if bulk else "/api/events")


def _array(piece: bytes, times: int, packing: Packing | None = None, *, numbered: bool = False) -> Made:
    return Made((Part(b"["), Part(piece + b",", times, numbered=numbered), Part(EVENT), Part(b"]")), packing)


KNOWN: dict[str, Sent] = {
    "an array of 5,000,000 numbers": _post(_array(b"1", 5_000_000)),
    "the same, as 10 kB of gzip": _post(_array(b"1", 5_000_000, _GZIP)),
    "an array of 3,400,000 empty objects": _post(_array(b"{}", 3_400_000)),
    "an array of 10 MiB of brackets": _post(_array(b"[]", 3_400_000)),
    "5,000,000 lines of a number": _lines(Made.of(Part(b"1\n", 5_000_000))),
    "2,000,000 lines of an empty object to /bulk": _lines(Made.of(Part(b"{}\n", 2_000_000)), bulk=True),
    "40 MiB of blank lines to /bulk": _lines(Made.of(Part(b"\n", 40 * _MIB), EVENT), bulk=True),
    "40 MiB of blanks in a line to /bulk": _lines(Made.of(Part(b" ", 40 * _MIB), EVENT), bulk=True),
    "two lines and 10 MiB of newlines between": _lines(Made.of(b"{}", Part(b"\n", 10 * _MIB - 4), b"{}")),
    "two values and 10 MiB of blanks between": _post(Made.of(b"[1,", Part(b" ", 10 * _MIB - 5), b"1]")),
    "an object with 900,000 keys": _post(Made.of(b"{", Part(b'"%d":1,', 900_000, numbered=True), b'"z":1}')),
    "an event with 700,000 keys in its metadata": _post(
        Made.of(EVENT[:-1], b',"metadata":{', Part(b'"%d":1,', 700_000, numbered=True), b'"z":1}}')
    ),
    "an event with a key 800,000 times": _post(Made.of(EVENT[:-1], Part(b',"teamId":"1"', 800_000), b"}")),
    "10 MiB of opened arrays": _post(Made.of(Part(b"[", 10 * _MIB))),
    "10 MiB of opened objects in metadata": _post(Made.of(EVENT[:-1], b',"metadata":', Part(b'{"a":', 2_000_000))),
    "10 MiB of escapes in a string": _post(Made.of(b'{"matchId":"', Part(b"\\u0041", 1_700_000), b'"}')),
    "10 MiB of half surrogates in an array": _post(_array(b'"\\ud800"', 1_000_000)),
    "a string without an end": _post(Made.of(b'["', Part(b"\\\\", 5_000_000))),
    "a number of 10 million digits": _post(Made.of(EVENT[:-1], b',"metadata":{"x":', Part(b"9", 10_000_000), b"}}")),
    "50,000 events with seven faults each": _post(_array(_FAULTY, 49_999)),
    "49,999 sound events": _post(_array(_SOUND, 49_999, numbered=True)),
    "8,000 quotes in Content-Type": Sent(
        method="POST",
        template="/api/events",
        target=b"/api/events",
        headers=((b"Content-Type", b"application/json;" + b'"' * 8_000),),
        body=EVENT,
    ),
    "8,000 parentheses in Content-Type": Sent(
        method="POST",
        template="/api/events",
        target=b"/api/events",
        headers=((b"Content-Type", b"application/json;" + b"(" * 8_000),),
        body=EVENT,
    ),
    "100,000 empty members of gzip": _post(Made((Part(EVENT),), Packing(encoding="gzip", empty=100_000))),
    "100,000 empty members of gzip behind 4 MiB, to /bulk": _lines(
        Made((Part(_SOUND + b"\n", 40_000, numbered=True),), Packing(encoding="gzip", empty=100_000)), bulk=True
    ),
    "10,000 members of gzip": _post(_array(b"1", 500_000, Packing(encoding="gzip", members=10_000))),
    "10 MiB of zeros behind gzip": _post(Made((Part(EVENT),), Packing(encoding="gzip", tail=bytes(10 * _MIB)))),
    "256 MiB of zeros as gzip": _post(Made((Part(b"\0", 256 * _MIB),), _GZIP)),
    "64 MiB of newlines as gzip to /bulk": _lines(Made((Part(b"\n", 64 * _MIB), Part(EVENT)), _GZIP), bulk=True),
    "1 MiB in chunks of a byte": _post(_array(b"1", 500_000), chunks=Chunks(size_bytes=1)),
    "1 MiB in chunks of a byte to /bulk": _post(
        Made.of(Part(b"{}\n", 350_000)), kind=_LINES, path="/api/events/bulk", chunks=Chunks(size_bytes=1)
    ),
}
