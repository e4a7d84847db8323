"""Taking bodies apart into events."""

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas.batch import (
    CheckedEvents,
    Lines,
    LineTooLongError,
    NotAnArrayError,
    array_elements,
    lines,
    slices,
    validate,
)
from app.schemas.events import EventSchema, Origin
from shards.clock import ReceiptClock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


async def elements(body: bytes) -> list[bytes]:
    return [bytes(element) for element in await array_elements(body)]


@given(st.lists(JSON, min_size=1, max_size=5))
async def test_a_bad_element_leaves_its_neighbours_whole(values: list[object]) -> None:
    texts = [json.dumps(value).encode() for value in values]
    body = b"[" + b",".join([*texts, b'{"a": NaN}', *texts]) + b" ]"
    assert await elements(body) == [*texts, b'{"a": NaN}', *texts]


@pytest.mark.parametrize("bad", [b'"\\ud800"', b"nope", b"{1}", b"[" * 5000 + b"]" * 5000, b'"\xff" x'])
async def test_elements_are_told_apart_by_structure(bad: bytes) -> None:
    assert await elements(b' [{"a":"],["}, %b ,3]' % bad) == [b'{"a":"],["}', bad, b"3"]


@pytest.mark.parametrize(
    "body", [b"[1,2", b"[1,]", b"[,1]", b"[1]]", b"[1] x", b'["a]', b'[{"a":"x},{}]', b"[{]}", b"[" * 50_000, b"[}"]
)
async def test_bodies_that_cannot_be_taken_apart(body: bytes) -> None:
    with pytest.raises(NotAnArrayError):
        await array_elements(body)


async def test_an_empty_array_has_no_elements() -> None:
    assert await elements(b"[ ]") == []


def test_lines_are_numbered_without_blank_ones() -> None:
    assert list(lines(b"\n{}\r\n \n{}")) == [(0, b"{}"), (1, b"{}")]


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def read(*pieces: bytes, line_max_bytes: int = 100) -> list[Lines]:
    return [part async for part in slices(stream(*pieces), line_max_bytes=line_max_bytes)]


@given(st.lists(st.sampled_from([b"", b" ", b"{}", b'{"a":1}']), max_size=30), st.integers(1, 9), st.booleans())
async def test_lines_of_a_stream_do_not_depend_on_its_pieces(rows: list[bytes], size: int, end: bool) -> None:
    body = b"\n".join(rows) + (b"\n" if end and rows else b"")
    parts = await read(*(body[at : at + size] for at in range(0, len(body), size)))
    found = [piece for part in parts for piece in part.pieces]
    assert found == [(number, row) for number, row in enumerate(rows) if row.strip()]
    assert parts[-1].end == len(body.split(b"\n")) - (body.split(b"\n")[-1] == b"")


async def test_a_long_stream_comes_in_slices() -> None:
    parts = await read(*[b"{}\n" * 1000] * 13)
    assert len(parts) > 2
    assert [part.end for part in parts][-1] == 13_000
    assert sum(len(part.pieces) for part in parts) == 13_000


@pytest.mark.parametrize(
    "pieces", [[b"1\n2\n" + b"x" * 101], [b"1\n2\n", *[b"x" * 10] * 11], [b"1\n2\n" + b"x" * 101 + b"\n"]]
)
async def test_lines_before_one_too_long_are_yielded(pieces: list[bytes]) -> None:
    parts = slices(stream(*pieces), line_max_bytes=100)
    before = await anext(parts)
    assert (before.end, before.pieces) == (2, [(0, b"1"), (1, b"2")])
    with pytest.raises(LineTooLongError):
        await anext(parts)


async def test_valid_events_are_kept_and_others_counted_up_to_a_limit() -> None:
    schema = EventSchema(clock=ReceiptClock())
    batch = CheckedEvents(errors_max=2)
    good, bad = b'{"matchId":"m","eventType":"view"}', b"{}"
    pieces = enumerate([good, bad, good, bad, bad] * 100)
    await validate(schema, pieces, origin=Origin(), into=batch)
    assert (len(batch.events), batch.rejected) == (200, 300)
    assert [rejection.index for rejection in batch.rejections] == [1, 3]
