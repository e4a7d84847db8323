"""The way up, down and up again, small. The large one: ``python -m tests.upgrade --help``."""

from pathlib import Path

import pytest

from tests.bench.engines import ENGINES, engine_for_kills
from tests.upgrade.before import code_of_the_release_before
from tests.upgrade.trial import Trial


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", list(ENGINES))
async def test_up_down_and_up_again_nothing_is_lost_and_the_first_received_stands(engine: str, tmp_path: Path) -> None:
    before = code_of_the_release_before(tmp_path / "before")
    if before is None:
        pytest.skip("the history does not reach back to the release before: git fetch --unshallow")
    trial = Trial(
        directory=tmp_path / "trial",
        engine=engine_for_kills(engine, tmp_path / "trial"),
        before=before,
        stored=500,
        pending=1_000,
        pending_back=1_000,
        waits=False,
        deadline_s=90,
    )
    await trial.run()
    assert trial.sent.count == 500 + 3 * 1_000 + 3 * 100
