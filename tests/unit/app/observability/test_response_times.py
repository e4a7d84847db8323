import pytest

from app.observability.response_times import ResponseTimes

NONE = {"p50": None, "p95": None, "p99": None}


class Clock:
    """A monotonic clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_percentiles_are_within_one_percent(clock: Clock) -> None:
    times = ResponseTimes(monotonic=clock)
    for ms in range(1, 1001):
        times.record("m", ms / 1000)
    assert times.percentiles("m") == {
        "p50": pytest.approx(500, rel=0.011),
        "p95": pytest.approx(950, rel=0.011),
        "p99": pytest.approx(990, rel=0.011),
    }
    assert times.percentiles("another") == NONE


def test_all_requests_count_whatever_they_were_about(clock: Clock) -> None:
    times = ResponseTimes(max_matches=1, monotonic=clock)
    assert times.overall() == NONE
    for match_id in ("m", "another", None):
        times.record(match_id, 0.1)
    assert times.overall()["p50"] == pytest.approx(100, rel=0.011)
    times.record(None, 9)
    times.record(None, 9)
    assert times.overall()["p99"] == pytest.approx(9000, rel=0.011)
    assert times.percentiles("another")["p99"] == pytest.approx(100, rel=0.011)
    clock.now += 301
    assert times.overall() == NONE


def test_forgets_what_is_older_than_five_minutes(clock: Clock) -> None:
    times = ResponseTimes(monotonic=clock)
    times.record("m", 10)
    times.record("m", 10)
    clock.now += 200
    times.record("m", 0.001)
    assert times.percentiles("m")["p95"] == pytest.approx(10_000, rel=0.011)
    clock.now += 150
    assert times.percentiles("m")["p99"] == pytest.approx(1, rel=0.011)
    clock.now += 301
    assert times.percentiles("m") == NONE


def test_asking_changes_nothing(clock: Clock) -> None:
    times = ResponseTimes(monotonic=clock)
    for ms in (1, 2, 3):
        clock.now += 40
        times.record("m", ms / 1000)
    assert times.percentiles("m") == times.percentiles("m")


def test_keeps_a_bounded_number_of_matches_those_asked_about_last(clock: Clock) -> None:
    times = ResponseTimes(max_matches=3, monotonic=clock)
    for match_id in ("a", "b", "c", "a", "d"):
        times.record(match_id, 0.01)
    assert times.percentiles("b") == NONE
    assert all(times.percentiles(match_id) != NONE for match_id in "acd")
