"""What holds in every simulated match: who may do what, what follows what, what the clock says."""

from collections import Counter, defaultdict
from itertools import count, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from app.schemas.event_types import FAN_TYPES, MATCH_TYPES
from tests.course import GOALS, KICKS, Course, distance_m

SECONDS_TO_GOAL = 3
FIRST_MINUTES = {1: 1, 2: 46, 3: 91, 4: 106}
LAST_MINUTES = {1: 45, 2: 90, 3: 105, 4: 120}
BREAKS_S = [15 * 60, 5 * 60, 60]

seeds = given(seed=st.integers(min_value=0, max_value=10**9), knockout=st.booleans())
many = settings(deadline=None, max_examples=25)
RARE = 14


def _first_matches_with(*types: str) -> list[Course]:
    """Knockout matches, of the first seeds in which an event of these types happens."""
    found: list[Course] = []
    for seed in count():
        match = Course.of(seed, knockout=True)
        found += [match] if match.events(*types) else []
        if len(found) == RARE:
            break
    return found


@many
@seeds
def test_a_goal_is_by_the_player_whose_shot_came_just_before(seed: int, knockout: bool) -> None:
    play = Course.of(seed, knockout=knockout).play()
    for (before_s, before), (at_s, event) in pairwise(play):
        if event["eventType"] == "goal":
            assert before["eventType"] == "shot"
            assert (before["teamId"], before["playerId"]) == (event["teamId"], event["playerId"])
            assert at_s - before_s <= SECONDS_TO_GOAL
            assert event["metadata"].get("assist") != event["metadata"]["player"]
            assert event["metadata"].get("penalty") == before["metadata"].get("penalty")


@many
@seeds
def test_a_kick_from_the_spot_follows_an_award_to_the_same_team(seed: int, knockout: bool) -> None:
    match = Course.of(seed, knockout=knockout)
    kicks = [(at_s, event) for at_s, event in match.events("penalty", "shot")
             if event["eventType"] == "penalty" or event["metadata"].get("penalty")]  # fmt: skip
    assert [event["eventType"] for _, event in kicks] == ["penalty", "shot"] * (len(kicks) // 2)
    for (awarded_s, award), (at_s, kick) in zip(kicks[::2], kicks[1::2], strict=True):
        assert award["teamId"] == kick["teamId"]
        assert at_s - awarded_s < 150
        assert abs(distance_m(kick) - 11) < 0.1


@many
@seeds
def test_shots_come_from_in_front_of_the_goal(seed: int, knockout: bool) -> None:
    for _, event in Course.of(seed, knockout=knockout).events("shot"):
        assert 0 <= event["metadata"]["x"] <= 100
        assert 0 <= event["metadata"]["y"] <= 100
        assert 2 < distance_m(event) < 40
        assert event["metadata"]["x"] < 99.5
        assert event["metadata"]["x"] < 90 or 20 < event["metadata"]["y"] < 80, "from beside the goal"


@many
@seeds
def test_after_a_corner_the_ball_is_near_the_goal(seed: int, knockout: bool) -> None:
    play = Course.of(seed, knockout=knockout).play()
    for (corner_s, corner), (at_s, event) in pairwise(play):
        if corner["eventType"] == "corner":
            assert corner["metadata"]["x"] > 99
            assert corner["metadata"]["y"] in (0.5, 99.5)
            assert at_s - corner_s < 8
            x = event["metadata"]["x"]
            assert (x if event["teamId"] == corner["teamId"] else 100 - x) >= 70, event["eventType"]


@many
@seeds
def test_nobody_plays_who_is_not_on_the_pitch(seed: int, knockout: bool) -> None:
    """Not after a red or second yellow card, not once replaced, and no substitute before he comes on."""
    match = Course.of(seed, knockout=knockout)
    gone: set[str] = set()
    came: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, set[str]] = defaultdict(set)
    for _, event in match.play():
        if (player := event.get("playerId")) is None:
            continue
        assert player not in gone, f"{event['eventType']} of one who has left"
        seen[event["teamId"]].add(player)
        if event["eventType"] in ("red_card", "card", "substitution"):
            gone.add(player)
        if event["eventType"] == "substitution":
            assert event["metadata"]["replacementId"] not in seen[event["teamId"]]
            came[event["teamId"]].add(event["metadata"]["replacementId"])
    for team, players in seen.items():
        assert len(players - came[team]) <= 11


@many
@seeds
def test_substitutions_and_cards_are_those_that_the_laws_allow(seed: int, knockout: bool) -> None:
    match = Course.of(seed, knockout=knockout)
    for periods, most in ((2, 5), (5, 6)):
        changes = Counter(
            event["teamId"] for _, event in match.events("substitution") if event["metadata"]["period"] <= periods
        )
        assert all(count <= most for count in changes.values())
    booked = set()
    for _, event in match.events("yellow_card", "card"):
        if event["eventType"] == "yellow_card":
            assert event["playerId"] not in booked
            booked.add(event["playerId"])
        else:
            assert event["metadata"]["card"] == "second_yellow"
            assert event["playerId"] in booked


def test_before_the_break_only_the_injured_are_replaced_and_others_from_the_restart_on() -> None:
    at_the_restart = 0
    for seed in range(60):
        match = Course.of(seed)
        restart_s = match.events("half_start")[1][0]
        injured = {event["playerId"] for _, event in match.events("injury")}
        for at_s, event in match.events("substitution"):
            assert event["metadata"]["period"] == 2 or event["playerId"] in injured
            at_the_restart += at_s == restart_s
    assert at_the_restart


@many
@seeds
def test_a_retraction_follows_a_review_that_says_so(seed: int, knockout: bool) -> None:
    match = Course.of(seed, knockout=knockout)
    goals = {event["eventId"]: event for _, event in match.events("goal")}
    decided = match.events("var_review", "retraction")
    for _, event in match.events("var_review"):
        assert event["metadata"]["outcome"] in ("goal stands", "goal disallowed", "penalty given", "no penalty")
    disallowed = [event for _, event in decided if event["metadata"].get("outcome") == "goal disallowed"]
    retracted = [event for _, event in decided if event["eventType"] == "retraction"]
    assert len(disallowed) == len(retracted)
    for (before_s, before), (at_s, event) in pairwise(decided):
        if event["eventType"] == "retraction":
            assert before["metadata"]["outcome"] == "goal disallowed"
            assert at_s - before_s < 10
            assert goals[event["metadata"]["eventId"]]["teamId"] == event["teamId"]


@many
@seeds
def test_minutes_are_those_that_people_say(seed: int, knockout: bool) -> None:
    match = Course.of(seed, knockout=knockout)
    starts = [start_s for start_s, _ in match.periods()]
    last = max(event["metadata"]["period"] for _, event in match.play())
    for at_s, event in match.play():
        metadata = event["metadata"]
        period = metadata["period"]
        if period == 5:
            assert "minute" not in metadata
            continue
        minute = FIRST_MINUTES[period] + int((at_s - starts[period - 1]) // 60)
        assert metadata["minute"] == min(minute, LAST_MINUTES[period])
        assert metadata.get("added") == (minute - LAST_MINUTES[period] if minute > LAST_MINUTES[period] else None)
    assert last in ((2, 4, 5) if knockout else (2,))


@many
@seeds
def test_teams_do_nothing_outside_the_periods_and_fans_never_stop(seed: int, knockout: bool) -> None:
    match = Course.of(seed, knockout=knockout, fans=20)
    periods = list(match.periods())
    for at_s, event in match.play():
        if event["eventType"] not in MATCH_TYPES and event["metadata"]["period"] != 5:
            assert any(start_s <= at_s <= end_s for start_s, end_s in periods), event["eventType"]
    breaks = [start_s - end_s for (_, end_s), (start_s, _) in pairwise(periods)]
    assert [round(break_s) for break_s in breaks] == BREAKS_S[: len(breaks)]
    for (_, end_s), (start_s, _) in pairwise(periods):
        assert start_s - end_s < 100 or any(end_s < at_s < start_s for at_s in match.fans())


@many
@seeds
def test_a_match_is_framed_and_only_a_draw_in_a_knockout_goes_on(seed: int, knockout: bool) -> None:
    _assert_framed(Course.of(seed, knockout=knockout), knockout=knockout)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(min_value=0, max_value=10**9), minutes=st.floats(min_value=1, max_value=300))
def test_a_match_of_any_length_is_framed(seed: int, minutes: float) -> None:
    match = Course.of(seed, minutes=minutes, knockout=True)
    _assert_framed(match, knockout=True)
    for (start_s, end_s), length in zip(match.periods(), (1 / 2, 1 / 2, 1 / 6, 1 / 6), strict=False):
        assert end_s - start_s > minutes * 60 * length


def test_an_own_goal_counts_for_the_other_side() -> None:
    """Whether a match goes on shows how the simulator itself has counted it."""
    for match in _first_matches_with("own_goal"):
        _assert_framed(match, knockout=True)
        for _, event in match.events("own_goal"):
            assert event["metadata"]["x"] < 10, "in front of the other goal"


def _assert_framed(match: Course, *, knockout: bool) -> None:
    whistles = [event["eventType"] for _, event in match.events(*MATCH_TYPES)]
    drawn, still_drawn = (len({*match.score(periods=periods)}) == 1 for periods in (2, 4))
    halves = 4 if knockout and drawn else 2
    assert whistles == ["match_start", *["half_start", "half_end"] * halves, "match_end"]
    assert bool(match.events(*KICKS)) == (knockout and drawn and still_drawn)
    assert match.play()[0][1]["eventType"] == "match_start"
    assert match.moments[-1].event["eventType"] == "match_end"
    offsets = [moment.offset_s for moment in match.moments]
    assert offsets == sorted(offsets)


def test_a_shoot_out_alternates_and_ends_as_soon_as_it_is_decided() -> None:
    lengths = set()
    for match in _first_matches_with(*KICKS):
        kicks = [event for _, event in match.events(*KICKS)]
        first, second = kicks[0]["teamId"], kicks[1]["teamId"]
        assert {first, second} == set(match.sides())
        scored = {first: 0, second: 0}
        for number, kick in enumerate(kicks):
            assert kick["teamId"] == (second if number % 2 else first)
            assert kick["metadata"]["period"] == 5
            assert not _is_over(scored[first], scored[second], number), "a kick after it was decided"
            scored[kick["teamId"]] += kick["eventType"] == "shootout_goal"
        assert _is_over(scored[first], scored[second], len(kicks))
        for team in (first, second):
            takers = [kick["playerId"] for kick in kicks if kick["teamId"] == team][:8]
            assert len(set(takers)) == len(takers)
        assert match.play()[-1][1]["eventType"] == "match_end"
        lengths.add(len(kicks))
    assert min(lengths) < 10 < max(lengths)


def _is_over(first: int, second: int, taken: int) -> bool:
    """Whether one team cannot be caught: by hand, kick by kick, what the others could still score."""
    if taken > 10 or (taken == 10 and first != second):
        return taken % 2 == 0 and first != second
    kicks_left = {0: 5 - (taken + 1) // 2, 1: 5 - taken // 2}
    return first - second > kicks_left[1] or second - first > kicks_left[0]


def test_all_of_it_happens() -> None:
    """So that no test above passes because what it looks at never came about."""
    types = Counter(
        event["eventType"] for seed in range(60) for _, event in Course.of(seed, knockout=True, fans=1).events()
    )
    assert types.keys() >= FAN_TYPES | {*GOALS, *KICKS, "penalty", "card", "red_card", "retraction", "var_review"}
    assert types.keys() >= {"injury", "formation_change", "goalkeeper", "substitution", "corner", "own_goal"}
