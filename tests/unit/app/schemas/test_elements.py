"""Taking arrays apart into events."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas.elements import (
    CHUNK_BYTES,
    EVENTS_MAX,
    NotAnArrayError,
    TooManyEventsError,
    array_elements,
)

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


LONG = b'{"matchId":"m, [1]","metadata":{"home":{"id":1},"away":{"id":"}, {"}},"eventType":"view"}'


@given(st.lists(st.sampled_from([LONG, b"{}", b'"},{"', b"[[1],{}]", b" " * 50, b"1.5e9"]), max_size=40), st.booleans())
async def test_long_arrays_are_taken_apart_as_short_ones(some: list[bytes], spaced: bool) -> None:
    texts = [text.strip() or b"null" for text in some] + [LONG] * (3 * CHUNK_BYTES // len(LONG))
    for order in (texts, texts[::-1]):
        assert await elements(b"[" + (b" ,\n" if spaced else b",").join(order) + b"]") == order


@pytest.mark.parametrize("before", [0, 1, 2, 3, 5, 9])
@pytest.mark.parametrize("element", [b'"a, b"', b'{"a":[1,"]"]}', b"nope", b'"\\"]"', b"[[[1]]]"])
async def test_blanks_and_strings_of_any_length_are_passed_over(element: bytes, before: int) -> None:
    blanks = b" " * (CHUNK_BYTES - before)
    texts = [element, b'"' + blanks + b'"', element, b"[" + blanks + element + b"]"]
    assert await elements(b"[" + (blanks + b",").join(texts) + blanks + b"]") == texts


@pytest.mark.parametrize("at", [0, 500, -1])
@pytest.mark.parametrize("bad", [b'{"a": NaN}', b"nope", b'{"a":"\xff"}'])
async def test_in_a_long_array_too_a_bad_element_leaves_its_neighbours_whole(bad: bytes, at: int) -> None:
    texts = [LONG] * (3 * CHUNK_BYTES // len(LONG))
    texts[at] = bad
    assert await elements(b"[" + b",".join(texts) + b"]") == texts


@pytest.mark.parametrize("end", [b",]", b"", b"]]", b',"]', b",,{}]", b"}"])
@pytest.mark.parametrize("size", [CHUNK_BYTES // 2, 3 * CHUNK_BYTES, 6 * CHUNK_BYTES])
async def test_long_arrays_that_do_not_end_are_none(size: int, end: bytes) -> None:
    with pytest.raises(NotAnArrayError):
        await array_elements(b"[" + b",".join([LONG] * (size // len(LONG))) + end)


@pytest.mark.parametrize("element", [b"{}", b"1", b'""', b"[]", LONG, b"nope"])
async def test_of_too_many_elements_no_more_are_read_than_may_be(element: bytes) -> None:
    most = b",".join([element] * EVENTS_MAX)
    assert len(await array_elements(b"[%b]" % most)) == EVENTS_MAX
    for end in (b"]", b", broken"):
        with pytest.raises(TooManyEventsError):
            await array_elements(b"[%b,%b%b" % (most, element * 1, end) if end == b"]" else b"[%b,1,1%b" % (most, end))
