import json
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec
import pytest

from app.engagement.sides import match_sides
from app.engagement.views import highlight_view, match_summary, metrics_view
from app.times import iso_ms
from shards.reads.aggregates import MatchAggregates
from shards.reads.highlights import Highlight

START = datetime(2024, 1, 15, 14, tzinfo=UTC)
START_MS = int(START.timestamp()) * 1000
MINUTE = 60_000
SIDES = json.dumps({"home": {"id": "1", "name": "Al-Hilal"}, "away": {"id": 2, "name": "Al-Nassr"}})


def aggregates(*by_type_team: tuple[str, str, int], **fields: Any) -> MatchAggregates:
    total = sum(count for _, _, count in by_type_team)
    known: dict[str, Any] = {
        "match_id": "m",
        "total": total,
        "first_ms": START_MS + 7,
        "last_ms": START_MS + 5 * MINUTE,
        "last_received_ms": START_MS,
        "by_type_team": by_type_team,
        "by_minute": ((START_MS, total),) if total else (),
        "as_of_ms": START_MS + 250,
    }
    return MatchAggregates(**known | fields)


def view(counted: MatchAggregates) -> dict[str, Any]:
    return metrics_view(counted)


def test_counts_by_type_and_by_team_and_leaves_out_no_team() -> None:
    shown = view(aggregates(("pass", "1", 5), ("pass", "2", 7), ("cheer", "", 30), ("yellow_card", "1", 2)))
    assert shown["totalEvents"] == 44
    assert shown["eventsByType"] == {"cheer": 30, "pass": 12, "yellow_card": 2}
    assert list(shown["eventsByType"]) == ["cheer", "pass", "yellow_card"]
    assert shown["eventsByTeam"] == {"1": 7, "2": 7}
    assert (shown["yellowCards"], shown["redCards"], shown["goals"]) == (2, 0, 0)


def test_own_goals_are_goals_of_the_other_side_and_shoot_outs_are_not() -> None:
    shown = view(
        aggregates(
            *(("goal", "1", 2), ("goal", "2", 1), ("own_goal", "1", 3), ("shootout_goal", "1", 5), ("penalty", "1", 1)),
            start_metadata=SIDES,
        )
    )
    assert shown["score"] == {"home": 2, "away": 4}
    assert shown["goals"] == 6


def test_a_match_without_goals_is_nil_nil() -> None:
    assert view(aggregates(("pass", "1", 1), start_metadata=SIDES))["score"] == {"home": 0, "away": 0}


@pytest.mark.parametrize("goal", [("goal", "3", 1), ("own_goal", "", 1), ("goal", "Al-Hilal", 1)])
def test_there_is_no_score_when_a_goal_belongs_to_neither_side(goal: tuple[str, str, int]) -> None:
    shown = view(aggregates(("goal", "1", 1), goal, start_metadata=SIDES))
    assert shown["score"] is None
    assert shown["goals"] == 2


@pytest.mark.parametrize(
    "metadata",
    [
        *(
            "",
            "{}",
            "[]",
            "null",
            "7",
            "not json",
            '{"home":"A"}',
            '{"home":"A","away":null}',
            '{"home":"A","away":""}',
        ),
        *('{"home":"A","away":"A"}', '{"home":true,"away":1.5}', '{"home":{},"away":{"x":1}}', "[" * 100_000),
        *('{"home":{"id":[1]},"away":"B"}', '{"home":{"id":"1"},"away":{"id":1}}'),
    ],
)
def test_sides_that_are_not_told_apart_are_not_known(metadata: str) -> None:
    assert match_sides(metadata) is None
    assert view(aggregates(("goal", "1", 1), start_metadata=metadata))["score"] is None


def test_the_id_of_a_side_is_what_events_carry() -> None:
    sides = match_sides('{"home":{"id":" 1","name":" A "},"away":"B"}')
    assert sides is not None
    assert (sides.home.id, sides.home.name) == (" 1", "A")


def test_a_side_is_an_object_or_just_a_name() -> None:
    sides = match_sides('{"home":"Al-Hilal","away":{"id":12}}')
    assert sides is not None
    assert (sides.home.id, sides.home.name) == ("Al-Hilal", "Al-Hilal")
    assert (sides.away.id, sides.away.name) == ("12", "12")


@pytest.mark.parametrize(
    ("feed_minutes", "quiet_ms", "pending", "status"),
    [
        (6, 15 * MINUTE, 0, "live"),
        (6, 15 * MINUTE + 1, 0, "finished"),
        (6, 15 * MINUTE + 1, 3, "live"),
        (1, 15 * MINUTE + 1, 0, "live"),
        (1, 75 * MINUTE, 0, "live"),
        (1, 75 * MINUTE + 1, 0, "finished"),
    ],
)
def test_a_feed_that_told_of_every_minute_is_quiet_sooner(
    feed_minutes: int, quiet_ms: int, pending: int, status: str
) -> None:
    """As of the count: in an outage of ClickHouse the answer grows old, and the match goes on."""
    counted = aggregates(
        ("pass", "1", feed_minutes),
        play_first_ms=START_MS,
        feed_last_ms=START_MS + 5 * MINUTE,
        feed_by_minute=tuple((START_MS + minute * MINUTE, 1) for minute in range(feed_minutes)),
        quiet_ms=quiet_ms,
        pending_events=pending,
    )
    assert view(counted)["status"] == status


def test_minutes_come_in_order_and_the_earlier_of_equals_is_the_peak() -> None:
    counts = {0: 3, 1: 9, 2: 1, 3: 9, 4: 3, 5: 3, 6: 2}
    minutes = tuple((START_MS + minute * MINUTE, count) for minute, count in reversed(counts.items()))
    shown = view(aggregates(("pass", "1", 30), by_minute=minutes))
    assert shown["eventsPerMinute"][:2] == [
        {"minute": "2024-01-15T14:00:00Z", "eventCount": 3},
        {"minute": "2024-01-15T14:01:00Z", "eventCount": 9},
    ]
    assert len(shown["eventsPerMinute"]) == 7
    assert shown["peakMinute"] == {"minute": "2024-01-15T14:01:00Z", "eventCount": 9}
    assert [peak["timestamp"][14:16] for peak in shown["peakEngagementPeriods"]] == ["01", "03", "00", "04", "05"]
    assert shown["peakEngagementPeriods"][0] == {"timestamp": "2024-01-15T14:01:00Z", "eventCount": 9}


def test_times_are_utc_with_milliseconds() -> None:
    shown = view(aggregates(("pass", "1", 1)))
    assert (shown["firstEventAt"], shown["lastEventAt"]) == ("2024-01-15T14:00:00.007Z", "2024-01-15T14:05:00.000Z")
    assert shown["asOf"] == "2024-01-15T14:00:00.250Z"


def test_every_millisecond_is_shown_as_it_is() -> None:
    for ms in range(0, 1000, 7):
        assert iso_ms(START_MS + ms) == f"2024-01-15T14:00:00.{ms:03d}Z"


def test_a_match_of_which_nothing_counts_has_no_times_and_no_peak() -> None:
    shown = view(aggregates(first_ms=0, last_ms=0, pending_events=3))
    assert (shown["totalEvents"], shown["pendingEvents"]) == (0, 3)
    assert shown["firstEventAt"] is shown["lastEventAt"] is shown["peakMinute"] is None
    assert shown["eventsPerMinute"] == shown["peakEngagementPeriods"] == []


def test_has_no_percentiles_before_the_first_request() -> None:
    assert view(aggregates(("pass", "1", 1)))["responseTimePercentiles"] == {"p50": None, "p95": None, "p99": None}


def test_a_summary_names_the_sides() -> None:
    start = json.dumps(json.loads(SIDES) | {"competition": "Cup", "kickoff": 7.5})
    shown = match_summary(aggregates(("goal", "2", 1), start_metadata=start))
    assert (shown["home"], shown["away"]) == ({"id": "1", "name": "Al-Hilal"}, {"id": "2", "name": "Al-Nassr"})
    assert (shown["competition"], shown["kickoff"], shown["score"]) == ("Cup", None, {"home": 0, "away": 1})


def test_a_highlight_keeps_the_metadata_as_it_was_sent() -> None:
    number = "123456789012345678901234567890"
    highlight = Highlight("id", "goal", START_MS, "1", "", f'{{"x": {number}}}', retracted=True)
    text = msgspec.json.encode(highlight_view(highlight, "m")).decode()
    assert f'"metadata":{{"x": {number}}}' in text
    assert json.loads(text)["playerId"] is None
    assert json.loads(text)["retracted"] is True
    assert json.loads(msgspec.json.encode(highlight_view(attrs.evolve(highlight, metadata=""), "m")))["metadata"] == {}
