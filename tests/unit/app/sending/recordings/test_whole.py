"""What is whole of a text that is cut off anywhere: rows from the first on, each as it was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sending.recordings.whole import parse_json, parse_xml

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(alphabet='a",:[]{}\\é\U0001f600 ')),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), min_size=1, max_size=6)


@given(ROWS, st.booleans(), st.sampled_from([None, 1]), st.integers(min_value=1))
def test_of_an_array_of_rows_those_before_the_cut_are_there(
    rows: list[dict[str, Any]], is_ascii: bool, indent: int | None, cut: int
) -> None:
    text = json.dumps(rows, ensure_ascii=is_ascii, indent=indent).encode()
    parsed = parse_json(text[: 1 + cut % (len(text) - 1)])

    assert parsed.is_cut_off
    assert parsed.document == rows[: len(parsed.document)]


@given(ROWS, st.integers(min_value=1))
def test_of_rows_within_an_object_those_before_the_cut_are_there(rows: list[dict[str, Any]], cut: int) -> None:
    head = b'{"match": {"id": [1, 2]}, "events": '
    text = head + json.dumps(rows).encode() + b', "players": {"1": [{"id": 3}]}}'
    parsed = parse_json(text[: len(head) + 1 + cut % (len(text) - len(head) - 1)])

    assert parsed.is_cut_off
    assert parsed.document["match"] == {"id": [1, 2]}
    assert parsed.document["events"] == rows[: len(parsed.document["events"])]


@given(ROWS)
def test_a_whole_text_is_no_text_that_is_cut_off(rows: list[dict[str, Any]]) -> None:
    parsed = parse_json(json.dumps(rows).encode())

    assert (parsed.document, parsed.is_cut_off, parsed.fault) == (rows, False, "")


@pytest.mark.parametrize(
    "text", [b'[{"a":1},,{"b":2}]', b'[{"a":1}}, {', b'{"a":1}{"b":2}', b"[1 2]", b"nul", b'["a"]]', b'[{"a":\xff}]']
)
def test_a_text_that_is_damaged_elsewhere_is_not_guessed_at(text: bytes) -> None:
    parsed = parse_json(text)

    assert (parsed.document, parsed.is_cut_off) == (None, False)
    assert parsed.fault


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(min_value=1))
def test_of_elements_those_before_the_cut_are_there(parts: list[int], cut: int) -> None:
    rows = [f'<Event id="{n}">{"<Q/>" * count}</Event>' for n, count in enumerate(parts)]
    text = f"<Games><Game>{''.join(rows)}</Game></Games>".encode()
    head = len(b"<Games><Game>")
    parsed = parse_xml(text[: head + cut % (len(text) - head)])
    found = [(event.get("id"), len(event)) for event in parsed.document.iter("Event")]

    assert parsed.is_cut_off
    assert found == [(str(n), count) for n, count in enumerate(parts)][: len(found)]
