"""The simulated match has a believable course, and is the same for the same seed."""

import random
from collections import Counter
from datetime import UTC, datetime

import pytest

from app.commands.simulate import Fixture, outgoing
from app.schemas.event_types import FAN_TYPES, MATCH_TYPES, TEAM_TYPES
from app.schemas.events import EventSchema, Origin
from app.sending.simulator import Moment, match_length_s, simulate_match
from shards.clock import ReceiptClock

BASE = 60.0


@pytest.fixture(scope="module")
def matches() -> list[list[Moment]]:
    return [list(simulate(seed)) for seed in range(20)]


def simulate(seed: int):
    return simulate_match(random.Random(seed), match_id=f"sim-{seed}", fans_per_minute=BASE)


def types(match: list[Moment]) -> Counter[str]:
    return Counter(moment.event["eventType"] for moment in match)


def test_the_same_seed_gives_the_same_match():
    assert list(simulate(3)) == list(simulate(3))
    assert list(simulate(3)) != list(simulate(4))


def test_time_never_goes_back_and_the_match_is_framed(matches):
    for match in matches:
        offsets = [moment.offset_s for moment in match]
        assert offsets == sorted(offsets)
        assert [m.event["eventType"] for m in match[:2]] == ["match_start", "half_start"]
        assert [m.event["eventType"] for m in match[-2:]] == ["half_end", "match_end"]
        assert offsets[-1] == match_length_s(90)
        assert types(match)["half_start"] == types(match)["half_end"] == 2


def test_passes_are_the_most_common_team_event(matches):
    for match in matches:
        team_events = {name: n for name, n in types(match).items() if name in TEAM_TYPES}
        assert max(team_events, key=team_events.__getitem__) == "pass"
        assert team_events["pass"] > sum(team_events.values()) / 3


def test_teams_rest_at_half_time_and_fans_do_not(matches):
    for match in matches:
        (pause,) = [m.offset_s for m in match if m.event["eventType"] == "half_end"][:1]
        (restart,) = [m.offset_s for m in match if m.event["eventType"] == "half_start"][1:]
        between = {m.event["eventType"] for m in match if pause < m.offset_s < restart}
        assert between
        assert between <= FAN_TYPES


def test_fans_burst_after_a_goal(matches):
    """In the three minutes after a goal they send well above their base rate."""
    after, goals = 0, 0
    for match in matches:
        for goal in (m for m in match if m.event["eventType"] in ("goal", "own_goal")):
            goals += 1
            after += sum(
                m.event["eventType"] in FAN_TYPES and goal.offset_s <= m.offset_s < goal.offset_s + 180 for m in match
            )

    assert goals > 10
    assert after / goals > 3 * 3 * BASE


def test_there_are_goals_cards_substitutions_and_var(matches):
    total = sum((types(match) for match in matches), Counter())

    assert 1 < total["goal"] / len(matches) < 6
    assert total["own_goal"] < total["goal"] / 5
    assert total["save"] and total["yellow_card"] and total["penalty"] and total["var_review"]  # noqa: PT018
    assert total["substitution"] <= 10 * len(matches)
    late = [m.offset_s > match_length_s(90) / 2 for match in matches for m in match
            if m.event["eventType"] == "substitution"]  # fmt: skip
    assert sum(late) > len(late) * 0.8


def test_a_retraction_names_a_goal_of_the_match(matches):
    retractions = 0
    for match in matches:
        goals = {m.event["eventId"] for m in match if m.event["eventType"] in ("goal", "own_goal")}
        for moment in match:
            if moment.event["eventType"] == "retraction":
                retractions += 1
                assert moment.event["metadata"]["eventId"] in goals
    assert retractions


def test_every_event_is_valid_for_the_service(matches):
    schema = EventSchema(clock=ReceiptClock())
    known = MATCH_TYPES | TEAM_TYPES | FAN_TYPES | {"retraction"}
    kickoff = datetime(2024, 1, 15, 14, tzinfo=UTC)

    for match in matches[:3]:
        for moment in match:
            event = schema.parse(outgoing(moment, kickoff).body, origin=Origin())
            assert event.event_type in known
            if event.event_type in TEAM_TYPES:
                assert event.player_id
                assert '"player"' in event.metadata


def test_event_ids_are_unique(matches):
    ids = [moment.event["eventId"] for match in matches for moment in match]

    assert len(set(ids)) == len(ids)


def test_a_fixture_merges_its_matches_by_time():
    fixture = Fixture(seed=1, matches=3, minutes=10, fans_per_minute=5)
    moments = list(fixture.moments())

    assert [m.offset_s for m in moments] == sorted(m.offset_s for m in moments)
    assert {m.event["matchId"] for m in moments} == set(fixture.match_ids()) == {"sim-1-1", "sim-1-2", "sim-1-3"}


def test_the_pace_is_the_matchs_clock_or_even():
    fixture = Fixture(seed=1, matches=1, minutes=10, fans_per_minute=5)
    kickoff = datetime(2024, 1, 15, 14, tzinfo=UTC)
    by_clock = [due_s for due_s, _ in fixture.schedule(kickoff=kickoff, speed=60, rate=None)]
    evenly = [due_s for due_s, _ in fixture.schedule(kickoff=kickoff, speed=60, rate=50)]

    assert by_clock[-1] == pytest.approx(match_length_s(10) / 60)
    assert evenly == pytest.approx([number / 50 for number in range(len(by_clock))])
