"""A clock that is moved all the time, also between starts: nothing follows it that should not."""

from pathlib import Path

import pytest

from tests.faults.clock import NoCompiler
from tests.faults.moving import Moving
from tests.torture.clocks import summary


@pytest.mark.timeout(300)
async def test_no_copy_and_no_match_counts_otherwise_for_a_clocks_sake(tmp_path: Path) -> None:
    try:
        moving = Moving(tmp_path, seed=32, events=400)
    except NoCompiler as error:
        pytest.skip(f"the clock cannot be moved: {error}")
    moved = await moving.run(seconds=30)
    assert moved.clean, summary(moved)
    assert moved.steps > 0, "the clock was never moved while it ran"
    assert all(moved.judged.values())
    assert len(moved.judged) == 5, "something was not looked at"
