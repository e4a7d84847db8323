"""`fanfinity audit` against a running service that was killed before."""

import json
import signal
from pathlib import Path

import aiohttp

from tests.e2e.asking import get, post, until, until_up
from tests.e2e.process import Start
from tests.http.command import Ended, run

COUNT = 400


async def audit(data_dir: Path, *options: str) -> Ended:
    return await run("audit", *options, environment={"FANFINITY_DATA_DIR": str(data_dir)})


async def test_whole_after_a_kill(start: Start, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    quick = {"FLUSH_INTERVAL_MS": 20, "CHECKPOINT_INTERVAL_MS": 100}
    first = await start(**quick)
    url = await first.url()
    await until_up(http, url)
    await post(http, url, COUNT)

    async def confirmed() -> bool:
        return bool((await get(http, f"{url}/api/status"))["accounting"]["confirmed"] >= COUNT)

    await until(confirmed)
    await post(http, url, COUNT, prefix="b")
    assert await first.ends(signal.SIGKILL) == -signal.SIGKILL

    second = await start(**quick)
    url = await second.url()
    await until_up(http, url)

    async def all_behind_the_checkpoint() -> bool:
        shards = json.loads((await audit(tmp_path / "data", "--json")).out)["shards"]
        return sum(shard["checkpoint"] for shard in shards) == 2 * COUNT

    await until(all_behind_the_checkpoint)
    ended = await audit(tmp_path / "data")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("whole\n")
    assert "the ledger shows" in ended.out
    assert "not" not in ended.out, "nothing that cannot be checked"
    found = json.loads((await audit(tmp_path / "data", "--json")).out)
    assert (found["verdict"], found["differences"]) == ("whole", [])
    assert sum(shard["confirmed"] for shard in found["shards"]) == 2 * COUNT
    assert await second.ends(signal.SIGTERM) == 0
