"""tests/data/release_before: the data directory that a killed service of the release before left, all rows pending.

``python -m tests.upgrade.recorded`` makes it anew, where the history reaches back to that release.
"""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench.engines import Row, Server
from tests.bench.service import Service
from tests.paths import DATA
from tests.upgrade.before import code_of_the_release_before
from tests.upgrade.sent import Sent

RECORDED = DATA / "release_before"
EVENTS = 60
SETTINGS = {"FANFINITY_SHARDS": "2"}
_NOT_KEPT = shutil.ignore_patterns("lock", "admin-token")


class _Away(Server):
    """A ClickHouse that is never started."""

    async def query(self, sql: str) -> list[Row]:
        raise AssertionError(sql)


async def _make(directory: Path) -> None:
    code = code_of_the_release_before(directory / "before")
    if code is None:
        sys.exit("the history does not reach back to the release before: git fetch --unshallow")
    async with Service(directory, _Away(directory), code=code, environment=SETTINGS) as service:
        await Sent().send(service.url, EVENTS)
        await service.kill()
    shutil.rmtree(RECORDED, ignore_errors=True)
    shutil.copytree(directory / "data", RECORDED, ignore=_NOT_KEPT)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(_make(Path(made)))
