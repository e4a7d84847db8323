"""When a match begins that is replayed ``now``."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.commands.replay import _kickoff

LENGTHS = st.floats(1, 4 * 3600)


@given(LENGTHS, st.floats(0.01, 100_000), st.floats(0, 1))
def test_now_dates_nothing_ahead_of_the_clock(length_s: float, speed: float, part: float) -> None:
    """An event is sent when the time since kick-off, divided by the speed, has passed since the start of the run."""
    kickoff = _kickoff("now", speed)(None, length_s)
    started = datetime.now(UTC)
    dated = kickoff + timedelta(seconds=part * length_s)

    assert dated <= started + timedelta(seconds=part * length_s / speed, milliseconds=1)


@given(LENGTHS, st.one_of(st.none(), st.floats(1, 100_000)))
def test_now_ends_the_match_when_the_run_ends(length_s: float, speed: float | None) -> None:
    before = datetime.now(UTC)
    end = _kickoff("now", speed)(None, length_s) + timedelta(seconds=length_s)
    run = timedelta(seconds=length_s / speed if speed else 0)

    assert before + run - timedelta(milliseconds=1) <= end <= datetime.now(UTC) + run + timedelta(milliseconds=1)


def test_a_moment_that_is_given_stands_before_the_files() -> None:
    given_, told = datetime(2024, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)

    assert _kickoff(given_, 60)(told, 100) == given_
    assert _kickoff(None, 60)(told, 100) == told
    assert _kickoff(None, None)(None, 100).time() == datetime(2024, 1, 1, tzinfo=UTC).time()
