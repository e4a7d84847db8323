"""The answer for a large match: groups and extremes of what parts counted, rows taken off, and rows that stand."""

import json
from typing import Any

import pytest

from shards.errors import StoreUnavailable
from shards.reads.counts import NOBODY, Curves, Extremes
from shards.reads.large.answer import RowKind, Said, TableState, counted_of

NAMED = "0190a4f2-0000-7000-8000-000000000001"
NO_START = (0, 0, "")


def row(
    kind: RowKind,
    first_ms: int,
    last_ms: int,
    received_ms: int,
    *,
    events: int = 1,
    named: str = NOBODY,
    event_type: str = "cheer",
    curve: tuple[list[int], list[int], list[int]] = ([], [], []),
    targets: tuple[str, ...] = (),
    start: tuple[int, int, str] = NO_START,
) -> str:
    times = [first_ms, last_ms, received_ms]
    return json.dumps([named, kind, event_type, "7", events, *times, 0, curve, start, targets, []])


SUMMED = row(RowKind.SUMMED, 100, 200, 300, events=5, curve=([1, 2], [3, 2], [0, 750]))


def extremes(*texts: str) -> Extremes | None:
    exact = any(json.loads(text)[1] == RowKind.UNCONTESTED for text in texts)
    return counted_of(texts, bucket_ms=60_000, exact_extremes=exact)[1]


def test_rows_that_are_taken_off_and_rows_that_stand_are_in_the_counts() -> None:
    taken_off = row(RowKind.TAKEN_OFF, 150, 160, 170, events=-2, curve=([2], [-2], [-500]))
    standing = row(RowKind.STANDING, 150, 150, 170, curve=([1], [1], [250]))
    counted, _ = counted_of([SUMMED, taken_off, standing], bucket_ms=60_000)
    [group] = counted.groups
    assert (group.named, group.event_type, group.team_id, group.events) == (NOBODY, "cheer", "7", 4)
    assert counted.curves == Curves(((60_000, "7", 4),), ((60_000, "7", 250), (120_000, "7", 250)))


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], Extremes(100, 200, 300)),
        ([row(RowKind.TAKEN_OFF, 101, 199, 299)], Extremes(100, 200, 300)),
        ([row(RowKind.TAKEN_OFF, 101, 199, 300)], None),
        ([row(RowKind.TAKEN_OFF, 100, 199, 299)], None),
        ([row(RowKind.TAKEN_OFF, 101, 200, 299)], None),
        ([row(RowKind.TAKEN_OFF, 100, 200, 300), row(RowKind.STANDING, 100, 200, 300)], Extremes(100, 200, 300)),
        # What stands reaches farther than any stored row: no matter which of these count.
        ([row(RowKind.TAKEN_OFF, 100, 200, 300), row(RowKind.STANDING, 99, 201, 301)], Extremes(99, 201, 301)),
        ([row(RowKind.TAKEN_OFF, 101, 199, 300), row(RowKind.STANDING, 150, 150, 299)], None),
        (
            [row(RowKind.TAKEN_OFF, 100, 200, 300), row(RowKind.UNCONTESTED, 110, 190, 290, events=0)],
            Extremes(110, 190, 290),
        ),
        # All events are contested: nothing was found of others.
        (
            [
                row(RowKind.TAKEN_OFF, 100, 200, 300),
                row(RowKind.STANDING, 120, 180, 280),
                row(RowKind.UNCONTESTED, 0, 0, 0, events=0),
            ],
            Extremes(120, 180, 280),
        ),
    ],
)
def test_extremes_are_those_of_events_that_count(others: list[str], expected: Extremes | None) -> None:
    assert extremes(SUMMED, *others) == expected


def test_what_was_withdrawn_has_no_part_in_when_events_happened() -> None:
    goal = row(RowKind.STANDING, 90, 210, 310, named=NAMED, event_type="goal")
    assert extremes(SUMMED, goal) == Extremes(90, 210, 310, 210, 310, 90, 210)
    retraction = row(RowKind.STANDING, 150, 150, 305, event_type="retraction", targets=(NAMED,))
    assert extremes(SUMMED, goal, retraction) == Extremes(100, 200, 310, 0, 310)
    withdrawn = row(RowKind.STANDING, 90, 210, 310, named=NAMED, event_type="goal", curve=([0], [1], [0]))
    assert counted_of([withdrawn, retraction], bucket_ms=60_000)[0].curves == Curves()


def test_of_a_match_that_is_only_pending_there_are_no_sums() -> None:
    assert extremes(row(RowKind.STANDING, 90, 210, 310)) == Extremes(90, 210, 310)
    assert extremes() == Extremes(0, 0, 0)


def test_an_uncontested_row_is_no_group() -> None:
    counted, _ = counted_of([row(RowKind.UNCONTESTED, 1, 2, 3, events=0)], bucket_ms=60_000)
    assert counted.groups == []


def test_a_statement_says_what_it_was_answered_from() -> None:
    rows: list[tuple[Any, int]] = [
        ("[1]", Said.ANSWER),
        ("202611_1_5_1:40", Said.PART),
        ("a-b:123", Said.TABLE),
        ("[2]", 0),
        ("a-c", Said.REPLACING),
        ("202611_6_6_0:2", 1),
    ]
    assert TableState.taken_from(rows) == (
        TableState({"202611_1_5_1": 40, "202611_6_6_0": 2}, "a-b", 123),
        ["[1]", "[2]"],
        ["a-c"],
    )


def test_a_table_that_is_gone_is_an_outage() -> None:
    with pytest.raises(StoreUnavailable, match="went away"):
        TableState.taken_from([("202611_1_5_1:40", Said.PART)])


def test_the_earliest_start_that_has_texts_is_that_of_the_group_whatever_its_order() -> None:
    starts = [NO_START, (150, 2, "later\0"), (150, 0, "first\0")]
    rows = [row(RowKind.STANDING, 150, 150, 170, event_type="match_start", start=start) for start in starts]
    [group] = counted_of(rows, bucket_ms=60_000)[0].groups
    assert group.start == (150, 0, "first\0")
