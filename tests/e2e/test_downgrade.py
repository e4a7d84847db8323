"""``fanfinity downgrade`` as its own process: refused while a service runs, or where there is nothing."""

import json
import re
from pathlib import Path
from signal import SIGKILL, SIGTERM

import aiohttp

from shards.wal.segment import SegmentReader
from tests.e2e.process import Start
from tests.http.command import Ended, run


async def downgrade(data_dir: Path, **settings: str) -> Ended:
    environment = {"FANFINITY_DATA_DIR": str(data_dir), "FANFINITY_SHARDS": "2", "FANFINITY_LOG_FORMAT": "json"}
    return await run("downgrade", environment=environment | {f"FANFINITY_{name}": v for name, v in settings.items()})


def formats(data_dir: Path) -> set[int]:
    found = set()
    for path in data_dir.glob("wal/shard-*/*.wal"):
        with SegmentReader(path) as reader:
            assert reader.header is not None
            found.add(reader.header.format)
    return found


async def test_it_refuses_while_a_service_runs_and_then_writes_what_that_one_left(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = await start(FLUSH_INTERVAL_MS=60_000)
    url = await service.url()
    events = [{"matchId": f"m{n}", "eventType": "cheer", "timestamp": "2024-01-15T18:30:00Z"} for n in range(8)]
    async with http.post(f"{url}/api/events", json=events) as reply:
        assert reply.status == 202
    refused = await downgrade(tmp_path / "data")
    assert refused.code == 1
    assert "is in use by another fanfinity process" in refused.err
    assert "nothing was changed" in refused.err
    assert formats(tmp_path / "data") == {2}
    await service.ends(SIGKILL)

    done = await downgrade(tmp_path / "data")
    assert (done.code, done.err) == (0, "")
    assert formats(tmp_path / "data") == {1}
    [_, *table] = [line.split() for line in done.out.splitlines() if line.strip()][:4]
    counted = [[int(cell) for cell in line] for line in table if line[0].isdigit()]
    assert [sum(column) for column in zip(*counted, strict=True)][1:] == [2, 8, 8, 0, 0]
    assert "DELETE FROM fanfinity.schema_version WHERE version = 5" in done.out
    assert re.search(r"\n\nThen start the release before, at 20\d\d-\S+Z or later\. ", done.out)

    service = await start()
    url = await service.url()
    async with http.get(f"{url}/api/matches/m1/metrics") as reply:
        assert json.loads(await reply.read())["totalEvents"] == 1
    assert await service.ends(SIGTERM) == 0


async def test_for_a_server_the_statement_names_its_database(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    url = "clickhouse://user:secret@127.0.0.1:9000/sports"
    done = await downgrade(tmp_path, CLICKHOUSE_URL=url)
    assert done.code == 0
    assert "    DELETE FROM sports.schema_version WHERE version = 5\n" in done.out
    assert done.out.endswith("\n\nThen start the release before.\n")
    assert "secret" not in done.out + done.err


async def test_where_there_is_no_log_it_makes_none(tmp_path: Path) -> None:
    done = await downgrade(tmp_path / "nothing")
    assert done.code == 1
    assert f"{tmp_path / 'nothing'} holds no write-ahead log; see FANFINITY_DATA_DIR" in done.err
    assert not (tmp_path / "nothing").exists()


async def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "wal" / "shard-000" / "000000000001.wal").mkdir(parents=True)
    done = await downgrade(tmp_path)
    assert done.code == 1
    assert "000000000001.wal" in done.err
    assert "do not start the release before" in done.err


async def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = await downgrade(tmp_path, SHARDS="many")
    assert done.code == 2
    assert "FANFINITY_SHARDS='many' is not allowed" in done.err
