"""Simulated matches have, on average, what ``docs/SIMULATOR.md`` gives: its tables are the test."""

import re
from collections.abc import Callable
from functools import cache

import pytest

from tests.course import GOALS, KICKS, Course, distance_m, is_in_box
from tests.paths import ROOT

MATCHES = 200
CROWDED = 40
FANS = 60.0
QUIET_S = 190
EXCITING = (*GOALS, "penalty", "red_card", "card", "retraction", "var_review", "half_start", "half_end")

_RANGE = re.compile(r"^\| ([^|]+) \| (\d[\d.]*) to (\d[\d.]*) \|", re.MULTILINE)
_RANGES = {name: (float(least), float(most)) for name, least, most in _RANGE.findall(
    (ROOT / "docs" / "SIMULATOR.md").read_text(encoding="utf-8")
)}  # fmt: skip


@cache
def _matches() -> tuple[Course, ...]:
    return tuple(Course.of(seed, knockout=True) for seed in range(MATCHES))


@cache
def _crowded() -> tuple[Course, ...]:
    return tuple(Course.of(seed, fans=FANS) for seed in range(CROWDED))


def _count(*types: str, where: Callable[[dict], bool] = lambda event: True) -> int:
    return sum(where(event) for match in _matches() for event in match.standing(*types))


def _mean(*types: str) -> float:
    return _count(*types) / MATCHES


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole


def _from_the_spot(event: dict) -> bool:
    return bool(event["metadata"].get("penalty"))


def _clock(event: dict) -> int:
    """The minute; 0 in stoppage time."""
    return 0 if "added" in event["metadata"] else event["metadata"]["minute"]


def _in_play(event: dict) -> bool:
    return not _from_the_spot(event)


def _shots(where: Callable[[dict], bool]) -> float:
    return _percent(
        _count("shot", where=lambda event: _in_play(event) and where(event)), _count("shot", where=_in_play)
    )


def _on_target() -> int:
    """Shots that were saved or went in, also those that the video referee disallowed."""
    disallowed = sum(
        event["metadata"]["period"] <= 2 for match in _matches() for _, event in match.events("retraction")
    )
    return _count("goal", "save") + disallowed


def _stoppage_min(period: int) -> float:
    played = [list(match.periods())[period - 1] for match in _matches()]
    return sum(end_s - start_s - 45 * 60 for start_s, end_s in played) / 60 / MATCHES


def _home_share() -> float:
    scores = [match.score() for match in _matches()]
    return _percent(sum(home for home, _ in scores), sum(map(sum, scores)))


def _home_shots() -> float:
    ours = sum(event["teamId"] == match.sides()[0] for match in _matches() for event in match.standing("shot"))
    return _percent(ours, _count("shot"))


def _results(wanted: Callable[[int, int], bool]) -> float:
    return _percent(sum(wanted(*match.score()) for match in _matches()), MATCHES)


def _kicks_scored() -> float:
    kicks = [event["eventType"] for match in _matches() for _, event in match.events(*KICKS)]
    assert len(kicks) > 100
    return _percent(kicks.count("shootout_goal"), len(kicks))


def _sent_off() -> int:
    return _count("red_card", "card")


_MEASURED: dict[str, Callable[[], float]] = {
    "goals that stand": lambda: _mean(*GOALS),
    "own goals, % of the goals": lambda: _percent(_count("own_goal"), _count(*GOALS)),
    "shots": lambda: _mean("shot"),
    "shots of the home team, % of the shots": _home_shots,
    "shots on target, % of the shots": lambda: _percent(_on_target(), _count("shot")),
    "shots in the box, % of the shots": lambda: _shots(is_in_box),
    "shots from beyond 30 m, % of the shots": lambda: _shots(lambda event: distance_m(event) > 30),
    "goals from shots in play, % of those": lambda: _percent(
        _count("goal", where=_in_play), _count("shot", where=_in_play)
    ),
    "corners": lambda: _mean("corner"),
    "penalties": lambda: _mean("penalty"),
    "penalties scored, % of them": lambda: _percent(_count("goal", where=_from_the_spot), _count("penalty")),
    "fouls": lambda: _mean("foul"),
    "yellow cards, without second ones": lambda: _mean("yellow_card"),
    "players sent off": lambda: _sent_off() / MATCHES,
    "second yellow cards, % of the players sent off": lambda: _percent(_count("card"), _sent_off()),
    "passes": lambda: _mean("pass"),
    "offsides": lambda: _mean("offside"),
    "throw-ins": lambda: _mean("throw_in"),
    "substitutions": lambda: _mean("substitution"),
    "video reviews": lambda: _mean("var_review"),
    "stoppage time of the first half, minutes": lambda: _stoppage_min(1),
    "stoppage time of the second half, minutes": lambda: _stoppage_min(2),
    "goals after the break, % of the goals": lambda: _percent(
        _count(*GOALS, where=lambda event: event["metadata"]["period"] == 2), _count(*GOALS)
    ),
    "goals after 75 minutes, % of the goals": lambda: _percent(
        _count(*GOALS, where=lambda event: event["metadata"]["minute"] > 75), _count(*GOALS)
    ),
    "goals of the home team, % of the goals": _home_share,
    "home wins, % of the matches": lambda: _results(lambda home, away: home > away),
    "draws, % of the matches": lambda: _results(lambda home, away: home == away),
    "shoot-out kicks scored, % of them": _kicks_scored,
}


def _around_goals(first_s: float, last_s: float) -> float:
    """The mean rate from ``first_s`` to ``last_s`` after goals with nothing else exciting near, as a multiple."""
    sent = goals = 0
    for match in _crowded():
        exciting = [at_s for at_s, _ in match.events(*EXCITING)]
        fans = match.fans()
        for goal_s, _ in match.events(*GOALS):
            if all(at_s == goal_s or abs(at_s - goal_s) > QUIET_S for at_s in exciting):
                goals += 1
                sent += sum(first_s <= at_s - goal_s < last_s for at_s in fans)
    assert goals > 30
    return sent / goals / (last_s - first_s) * 60 / FANS


def _within(span: Callable[[Course], tuple[float, float]]) -> float:
    """The mean rate within one span of each match, as a multiple."""
    sent = seconds = 0.0
    for match in _crowded():
        start_s, end_s = span(match)
        seconds += end_s - start_s
        sent += sum(start_s <= at_s < end_s for at_s in match.fans())
    return sent / seconds * 60 / FANS


def _half_time(match: Course) -> tuple[float, float]:
    (_, end_s), (start_s, _) = match.periods()
    return end_s + 120, start_s


_CROWD: dict[str, Callable[[], float]] = {
    "60 to 30 s before a goal": lambda: _around_goals(-60, -30),
    "5 s before a goal": lambda: _around_goals(-5, 0),
    "10 s after a goal": lambda: _around_goals(0, 10),
    "a minute after a goal": lambda: _around_goals(55, 65),
    "two minutes after a goal": lambda: _around_goals(115, 125),
    "half-time, but its first two minutes": lambda: _within(_half_time),
    "before kick-off": lambda: _within(lambda match: (-300.0, 0.0)),
}


def test_the_document_gives_a_range_for_everything_that_is_measured() -> None:
    assert _RANGES.keys() == _MEASURED.keys() | _CROWD.keys()


@pytest.mark.parametrize("name", _MEASURED)
def test_200_matches_are_within_the_range_of_the_document(name: str) -> None:
    least, most = _RANGES[name]
    assert least <= _MEASURED[name]() <= most


def test_shots_become_more_frequent_until_the_end() -> None:
    first, last = (
        _count("shot", where=lambda event, after=after: after < _clock(event) <= after + 30) for after in (0, 60)
    )
    assert last > 1.15 * first


@pytest.mark.parametrize("name", _CROWD)
def test_the_crowd_has_the_shape_that_the_document_gives(name: str) -> None:
    least, most = _RANGES[name]
    assert least <= _CROWD[name]() <= most
