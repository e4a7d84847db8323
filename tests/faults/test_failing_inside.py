"""Errors and cancels inside the service, at places and moments that chance picks: no event is lost, and all is told."""

from pathlib import Path

import pytest

from tests.faults.failing import Failing
from tests.torture.failpoints import summary


@pytest.mark.timeout(300)
async def test_whatever_fails_inside_costs_no_event_and_is_told_and_made_good(tmp_path: Path) -> None:
    failing = Failing(tmp_path, seed=31, every_s=0.15, rate=200.0, kill_every_s=10.0)
    failures = await failing.run(seconds=25)
    assert failures.clean, summary(failures)
    assert failures.fired.total() >= 40, "hardly anything failed"
    assert failures.ended, "no task ended of it"
    assert failures.kills >= 1


@pytest.mark.timeout(300)
async def test_inserts_that_fail_on_either_side_cost_no_event_without_a_restart(tmp_path: Path) -> None:
    """Neither a kill nor much else has the rows sent again that such a failure may leave."""
    failing = Failing(tmp_path, seed=33, every_s=0.15, rate=200.0, kill_every_s=1e9, only="Store.insert_")
    failures = await failing.run(seconds=15)
    assert failures.clean, summary(failures)
    assert failures.fired.total() >= 20, "hardly anything failed"
