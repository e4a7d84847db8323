"""Metadata of highlights: whole where it is short, else what is understood, and never long."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shards.reads.texts import METADATA_MAX_CHARS, UNDERSTOOD, VALUE_MAX_CHARS, shortened

values = st.one_of(
    st.integers(),
    st.booleans(),
    st.integers(0, 2 * VALUE_MAX_CHARS).map(lambda length: "é" * length),
    st.integers(0, 9).map(lambda number: {"name": f"p{number}", "of": [number] * number}),
)


@given(st.dictionaries(st.sampled_from([*UNDERSTOOD, "other", "padding"]), values))
def test_what_is_kept_is_an_object_of_what_was_sent(metadata: dict[str, Any]) -> None:
    text = json.dumps(metadata, ensure_ascii=False)
    assert shortened(text) == text if len(text) <= METADATA_MAX_CHARS else True
    long = json.dumps({**metadata, "padding": "x" * METADATA_MAX_CHARS}, ensure_ascii=False)
    kept = json.loads(shortened(long))
    assert len(shortened(long)) <= METADATA_MAX_CHARS
    assert kept.items() <= metadata.items()
    assert kept.keys() <= set(UNDERSTOOD)


def test_short_values_are_kept_among_long_ones() -> None:
    text = json.dumps({"frame": "x" * 16_000, "minute": 47, "player": "Al-Dawsari", "assist": "y" * 600})
    assert shortened(text) == '{"minute":47,"player":"Al-Dawsari"}'


def test_what_is_no_object_is_an_empty_one() -> None:
    assert shortened("[" * 3_000) == shortened("x" * 3_000) == "{}"
