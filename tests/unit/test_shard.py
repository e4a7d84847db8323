"""A shard as a restart finds it."""

import time
from pathlib import Path

import pytest

from shards.events import Event, encode_row
from shards.settings import ShardSettings
from shards.shard import Shard, wal_directory
from shards.wal.log import ShardLog

HOUR_S = 3600


def open_log(data_dir: Path) -> ShardLog:
    return ShardLog(wal_directory(data_dir, 0), shard=0, segment_max_bytes=1 << 20)


@pytest.mark.parametrize(("clock_moved_s", "least_s"), [(HOUR_S, HOUR_S), (-HOUR_S, 0)], ids=["later", "set back"])
def test_the_age_of_the_oldest_row_outlives_a_restart_and_is_never_negative(
    tmp_path: Path, clock_moved_s: int, least_s: int
) -> None:
    received_ns = time.time_ns() - clock_moved_s * 1_000_000_000
    log = open_log(tmp_path)
    log.recover()
    log.append([encode_row(Event("m", "id", "pass", 1, "1", "", "{}", received_ns))])
    log.sync()
    log.close()

    again = open_log(tmp_path)
    shard = Shard(0, ShardSettings(data_dir=tmp_path), recovery=again.recover(), log=again)

    first = shard.pending.oldest_age_s
    assert least_s <= first < least_s + HOUR_S
    assert shard.pending.oldest_age_s > first, "it grows from there"
