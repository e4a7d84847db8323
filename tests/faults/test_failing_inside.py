"""Errors and cancels inside the service, at places and moments that chance picks: no event is lost, and all is told."""

from pathlib import Path

import pytest

from tests.faults.failing import Failing


@pytest.mark.timeout(300)
async def test_whatever_fails_inside_costs_no_event_and_is_told_and_made_good(tmp_path: Path) -> None:
    failing = Failing(tmp_path, seed=31, every_s=0.3, rate=200.0, kill_every_s=10.0)
    failures = await failing.run(seconds=25)
    assert failures.clean, failures
    assert failures.fired.total() >= 20, "hardly anything failed"
    assert failures.ended, "no task ended of it"
    assert failures.kills >= 1
