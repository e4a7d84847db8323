"""Receipts: what their text holds, and what becomes of two of one request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.receipts import Outcome, Receipt, Stretch, joined

DIRECTORY = "0123abcd"


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    stretches = []
    for shard in sorted(draw(st.sets(st.integers(0, 9_999), min_size=1, max_size=5))):
        first, length = draw(st.integers(1, 10**9)), draw(st.integers(1, 1_000))
        stretches.append(Stretch(shard, first, first + length - 1, draw(st.integers(1, length))))
    return Receipt(DIRECTORY, tuple(stretches))


@given(receipts())
def test_the_text_holds_all(receipt: Receipt) -> None:
    assert Receipt.parse(str(receipt)) == receipt


@given(receipts(), receipts())
def test_two_of_one_request_are_one_that_covers_and_counts_both(one: Receipt, other: Receipt) -> None:
    both = one.joined(other)
    assert both.directory == DIRECTORY
    assert both.count == one.count + other.count
    assert [stretch.shard for stretch in both.stretches] == sorted(
        {s.shard for s in (*one.stretches, *other.stretches)}
    )
    for stretch in both.stretches:
        parts = [part for part in (*one.stretches, *other.stretches) if part.shard == stretch.shard]
        assert stretch.first == min(part.first for part in parts)
        assert stretch.last == max(part.last for part in parts)
        assert stretch.count == sum(part.count for part in parts)


def test_a_later_step_of_a_request_may_come_first() -> None:
    assert joined([Stretch(0, 7, 9, 2), Stretch(0, 1, 3, 3)]) == (Stretch(0, 1, 9, 5),)
    assert joined([Stretch(0, 1, 9, 4), Stretch(0, 3, 5, 3)]) == (Stretch(0, 1, 9, 7),)


@pytest.mark.parametrize("text", ["0-1-1-1", "9999-1-1-1", "0-1-5-5.1-3-3-1", f"0-1-{10**18 - 1}-1"])
def test_what_can_be_is_taken(text: str) -> None:
    assert str(Receipt.parse(f"{DIRECTORY}.{text}")) == f"{DIRECTORY}.{text}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        DIRECTORY,
        f"{DIRECTORY}.",
        f"{DIRECTORY}.0-0-1-1",
        f"{DIRECTORY}.0-2-1-1",
        f"{DIRECTORY}.0-1-5-0",
        f"{DIRECTORY}.0-1-5-6",
        f"{DIRECTORY}.0-1-1-1.0-2-2-1",
        f"{DIRECTORY}.0-1-1-1.1-1-1",
        f"{DIRECTORY}.10000-1-1-1",
        f"{DIRECTORY}.0-1-{10**18}-1",
        f"{DIRECTORY.upper()}.0-1-1-1",
        f"{DIRECTORY}.0-1-1-1\n",
        f"{DIRECTORY}.0-1-1-\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_cannot_be_a_receipt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a receipt"):
        Receipt.parse(text)


@pytest.mark.parametrize(
    ("durable", "stored", "dead_lettered", "status"),
    [
        (1, 1, 1, "durable"),
        (1, 0, 0, "durable"),
        (0, 1, 1, "dead_lettered"),
        (0, 0, 1, "dead_lettered"),
        (0, 1, 0, "stored"),
    ],
)
def test_a_request_is_stored_once_nothing_of_it_waits_and_none_of_it_was_refused(
    durable: int, stored: int, dead_lettered: int, status: str
) -> None:
    assert Outcome(durable=durable, stored=stored, dead_lettered=dead_lettered).status == status
