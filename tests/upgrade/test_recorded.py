"""What a killed service of the release before left is stored by this one, and written back to the byte."""

import shutil
from pathlib import Path

from shards.recovery import downgrade
from shards.settings import ShardSettings
from shards.wal.log import ShardLog
from shards.wal.segment import SegmentReader
from tests.bench.engines import Embedded
from tests.bench.service import Service
from tests.upgrade.recorded import EVENTS, RECORDED, SETTINGS
from tests.upgrade.sent import Sent

SEGMENT = "000000000001.wal"


async def test_rows_that_the_release_before_left_are_read_at_once_and_the_first_received_stands(tmp_path: Path) -> None:
    shutil.copytree(RECORDED, tmp_path / "data")
    sent = Sent(EVENTS)
    long = {"FANFINITY_FLUSH_INTERVAL_MS": "60000"}
    async with Service(tmp_path, Embedded(tmp_path), environment=SETTINGS | long) as service:
        gauges = await service.gauges()
        assert gauges["fanfinity_wal_pending_records"] == EVENTS
        await sent.send_again(service.url, EVENTS)
        for match_id, types in sent.expected().items():
            metrics = await service.metrics(match_id)
            assert metrics is not None
            assert metrics["eventsByType"] == types
    async with Service(tmp_path, Embedded(tmp_path), environment=SETTINGS) as service:
        for match_id, types in sent.expected().items():
            metrics = await service.metrics(match_id)
            assert metrics is not None
            assert metrics["eventsByType"] == types


def test_rows_that_it_left_are_the_same_bytes_after_the_way_up_and_down(tmp_path: Path) -> None:
    for index in range(2):
        name = f"wal/shard-{index:03d}"
        with SegmentReader(RECORDED / name / SEGMENT) as reader:
            rows = [record.payload for record in reader.records()]
        up = ShardLog(tmp_path / name, shard=index, segment_max_bytes=1 << 20)
        up.recover()
        up.append(rows)
        up.sync()
        up.close()
        assert (tmp_path / name / SEGMENT).read_bytes()[:8] == b"FFWAL02\n"
    assert sum(shard.log.records for shard in downgrade(ShardSettings(data_dir=tmp_path, shard_count=2))) == EVENTS
    for index in range(2):
        name = f"wal/shard-{index:03d}/{SEGMENT}"
        assert (tmp_path / name).read_bytes() == (RECORDED / name).read_bytes()
