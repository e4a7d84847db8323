"""Parts of statements and answers that need no ClickHouse to be shown."""

import re
import time
import uuid
from itertools import pairwise

import pytest

from shards.events import Event, encode_row
from shards.reads.large.statements import _in_slice
from shards.reads.matches import _last_receipts


def bound(text: str, comparison: str) -> int | None:
    """Return the bound of a condition as the second half of its UUID; None: there is no such condition."""
    found = re.search(rf"event_id {comparison} toUUID\('([0-9a-f-]+)'\)", text)
    return uuid.UUID(found[1]).int & (1 << 64) - 1 if found else None


@pytest.mark.parametrize("slices", [1, 2, 3, 7, 64])
def test_slices_cover_all_ids_follow_each_other_and_are_of_one_size(slices: int) -> None:
    conditions = [_in_slice(index, slices) for index in range(slices)]
    least = [bound(condition, ">=") for condition in conditions]
    above = [bound(condition, "<") for condition in conditions]
    assert least[0] is above[-1] is None, "other ids lie before and behind the usual ones"
    assert least[1:] == above[:-1]
    first, end = 0b10 << 62, 0b11 << 62
    edges = [first, *(edge for edge in above[:-1] if edge is not None), end]
    sizes = [later - earlier for earlier, later in pairwise(edges)]
    assert max(sizes) - min(sizes) <= 1


def row(match_id: str, received_ms: int) -> bytes:
    return encode_row(
        Event(match_id, str(uuid.uuid4()), "pass", 1, "1", "", "{}", received_ms * 1_000_000 + 999_999, 1)
    )


def test_the_last_receipt_of_a_match_is_that_of_its_newest_row_in_memory_or_on_disk() -> None:
    before_ms = time.time_ns() // 1_000_000
    found = _last_receipts(
        ["a", "b", "c", "d"],
        [row("a", 700), row("a", 900), row("a", 800), row("b", 300), row("c", 5)],
        {"b": 400, "c": 4},
    )
    assert (found["a"], found["b"], found["c"]) == (900, 400, 5)
    assert before_ms <= found["d"] <= time.time_ns() // 1_000_000, "it was stored meanwhile"
    assert found.keys() == {"a", "b", "c", "d"}
