"""What the service keeps on its disk is for its owner only, also what the embedded engine makes."""

import signal
import stat
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.asking import get, post, until, until_up
from tests.e2e.process import Start


def open_to_others(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): f"{stat.S_IMODE(path.lstat().st_mode):o}"
        for path in (directory, *directory.rglob("*"))
        if not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o077
    }


async def test_everything_in_the_data_directory_is_for_its_owner(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    process = await start(CHECKPOINT_INTERVAL_MS=200)
    url = await process.url()
    await until_up(http, url)
    await post(http, url, 20)

    async def stored() -> bool:
        return bool((await get(http, f"{url}/api/status"))["accounting"]["pending"] == 0)

    await until(stored)
    assert open_to_others(tmp_path / "data") == {}
    assert await process.ends(signal.SIGTERM) == 0
    assert len(list((tmp_path / "data" / "clickhouse").rglob("*"))) > 50
    assert open_to_others(tmp_path / "data") == {}

    for path in (tmp_path / "data").rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)
    (tmp_path / "data").chmod(0o755)
    again = await start()
    await again.url()
    assert open_to_others(tmp_path / "data") == {}
    assert await again.ends(signal.SIGTERM) == 0


@pytest.mark.parametrize("place", ["a?b", "~nobody-of-this-name/data", "loop/data", "x" * 300])
async def test_a_directory_that_is_no_good_is_one_line(start: Start, tmp_path: Path, place: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    process = await start(DATA_DIR=place if place.startswith("~") else tmp_path / place)
    assert await process.ends() in (1, 2)
    assert len(process.lines) == 1, process.lines
    assert "FANFINITY_DATA_DIR" in process.lines[0]
    assert "Traceback" not in process.lines[0]


async def test_a_password_in_a_wrong_url_is_in_no_line(start: Start) -> None:
    process = await start(CLICKHOUSE_URL="default:S3cret@db:9000/x")
    assert await process.ends() == 2
    assert len(process.lines) == 1
    assert "S3cret" not in process.lines[0]
    assert "FANFINITY_CLICKHOUSE_URL=*** is not allowed" in process.lines[0]


@pytest.mark.parametrize("name", ["a 'b'", "a#b%41&c=é", "a\nb", "file:x"])
async def test_other_odd_names_are_taken(start: Start, http: aiohttp.ClientSession, tmp_path: Path, name: str) -> None:
    process = await start(DATA_DIR=tmp_path / name, SHUTDOWN_TIMEOUT_S=1)
    await until_up(http, await process.url())
    assert await process.ends(signal.SIGTERM) == 0
    assert {path.name for path in (tmp_path / name).iterdir()} >= {"wal", "clickhouse", "id", "lock"}
    assert [path.name for path in tmp_path.iterdir()] == [name]
