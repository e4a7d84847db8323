"""What the curve tells, on curves that can be counted by eye."""

from typing import Any

import pytest

from app.engagement.curves import (
    CurveWanted,
    PeakPeriod,
    leader_of,
    momentum_start_ms,
    peak_periods,
    points_of,
    team_shares,
)
from app.engagement.views import metrics_view
from shards.reads.aggregates import MINUTE_MS, MatchAggregates

START = 1_705_327_200_000  # a multiple of five minutes
SECOND = 1_000


def of_curve(*curve: tuple[int, str, int], **fields: Any) -> MatchAggregates:
    """Aggregates with (ms after the start, team, count)."""
    known: dict[str, Any] = {
        "match_id": "m",
        "total": sum(count for *_, count in curve),
        "first_ms": START,
        "last_ms": START,
        "last_received_ms": START + 120 * MINUTE_MS,
        "by_type_team": (),
        "by_minute": (),
        "curve": tuple((START + at, team, count) for at, team, count in curve),
        "bucket_ms": 10 * SECOND,
    }
    return MatchAggregates(**known | fields)


def minutes(*counts: int) -> list[tuple[int, int]]:
    return [(START + n * MINUTE_MS, count) for n, count in enumerate(counts) if count]


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [
        ("10s", [(0, 3), (10, 1), (60, 5), (300, 2)]),
        ("1m", [(0, 4), (60, 5), (300, 2)]),
        ("5m", [(0, 9), (300, 2)]),
    ],
)
def test_short_buckets_add_up_to_longer_ones(bucket: str, expected: list[tuple[int, int]]) -> None:
    counted = of_curve((0, "", 1), (0, "1", 2), (10 * SECOND, "2", 1), (60 * SECOND, "1", 5), (300 * SECOND, "", 2))
    points = points_of(counted, CurveWanted(bucket))
    assert [((point.start_ms - START) // SECOND, point.count) for point in points] == expected
    assert points[-1].by_team == {}
    assert points[0].by_team == {"10s": {"1": 2}, "1m": {"1": 2, "2": 1}, "5m": {"1": 7, "2": 1}}[bucket]


@pytest.mark.parametrize(
    ("from_s", "to_s", "starts"),
    [
        (None, None, [0, 10, 20]),
        (10, None, [10, 20]),
        (9.999, 20, [10]),
        (10.001, 20.001, [20]),
        (0, 0.001, [0]),
        (21, 90, []),
    ],
)
def test_a_bucket_is_in_the_range_if_it_begins_there(
    from_s: float | None, to_s: float | None, starts: list[int]
) -> None:
    counted = of_curve((0, "1", 1), (10 * SECOND, "1", 1), (20 * SECOND, "1", 1))
    bounds = [None if second is None else START + round(second * SECOND) for second in (from_s, to_s)]
    points = points_of(counted, CurveWanted("10s", *bounds))
    assert [(point.start_ms - START) // SECOND for point in points] == starts


def test_peaks_are_minutes_in_a_row_above_the_mean() -> None:
    found = peak_periods(minutes(2, 8, 9, 2, 1, 0, 6, 0, 6, 6))
    # 40 events in 8 minutes that hold any: the level is 5.
    assert found == [
        PeakPeriod(START + MINUTE_MS, START + 3 * MINUTE_MS, 17, 7.0),
        PeakPeriod(START + 8 * MINUTE_MS, START + 10 * MINUTE_MS, 12, 2.0),
        PeakPeriod(START + 6 * MINUTE_MS, START + 7 * MINUTE_MS, 6, 1.0),
    ]


def test_of_equal_peaks_the_earlier_is_first_and_five_are_named() -> None:
    found = peak_periods(minutes(*[1, 9] * 7))
    assert [(period.start_ms - START) // MINUTE_MS for period in found] == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("counts", [(), (7,), (3, 3, 3)])
def test_an_even_curve_has_no_peak(counts: tuple[int, ...]) -> None:
    assert peak_periods(minutes(*counts)) == []


def test_the_share_of_a_team_is_of_all_events_of_teams() -> None:
    shares = team_shares(of_curve((0, "", 90), (0, "2", 1), (0, "1", 2), (60 * SECOND, "1", 1)))
    assert [(share.team_id, share.count, share.share) for share in shares] == [("1", 3, 0.75), ("2", 1, 0.25)]
    assert leader_of(shares) == "1"


def test_the_momentum_is_of_the_last_five_minutes() -> None:
    counted = of_curve(
        (0, "1", 9), (60 * SECOND, "1", 1), (330 * SECOND, "2", 2), last_ms=START + 5 * MINUTE_MS + 59_999
    )
    start_ms = momentum_start_ms(counted)
    assert start_ms == START + MINUTE_MS
    shares = team_shares(counted, from_ms=start_ms)
    assert [(share.team_id, share.count) for share in shares] == [("2", 2), ("1", 1)]


def test_a_clock_that_is_ahead_takes_no_momentum_away() -> None:
    tomorrow = 23 * 60 * MINUTE_MS
    counted = of_curve(
        (330 * SECOND, "2", 2),
        (tomorrow, "1", 5),
        last_ms=START + tomorrow,
        last_received_ms=START + 5 * MINUTE_MS + 59_999,
    )
    assert momentum_start_ms(counted) == START + MINUTE_MS
    momentum = metrics_view(counted)["momentum"]
    assert [(team["teamId"], team["eventCount"]) for team in momentum["teams"]] == [("2", 2)]


@pytest.mark.parametrize("curve", [(), ((0, "", 5),), ((0, "1", 2), (0, "2", 2))])
def test_without_teams_or_with_equal_ones_nobody_leads(curve: tuple[tuple[int, str, int], ...]) -> None:
    assert leader_of(team_shares(of_curve(*curve))) is None
