"""Snapshots of a shard set that is well, made without one."""

from datetime import UTC, datetime
from typing import Any

import attrs

from shards import ShardSnapshot, Snapshot, StoreState
from shards.snapshot import RoomLimits

SINCE = datetime(2024, 1, 15, 14, tzinfo=UTC)


def snapshot(*shards: ShardSnapshot, **changes: Any) -> Snapshot:
    """Return one of these shards: events are taken, ClickHouse is up, nothing waits; but for what ``changes`` name."""
    well = Snapshot(
        shards=shards,
        store=StoreState(kind="server", up=True, since=SINCE, error=""),
        recovered=True,
        refusal=None,
        refusal_reason="",
        limits=RoomLimits(wal_max_bytes=1, disk_min_free_bytes=1, disk_free_bytes=1),
        queued_bytes=0,
        ended=(),
    )
    return attrs.evolve(well, **changes)
