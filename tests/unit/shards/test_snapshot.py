"""What a snapshot says of the whole."""

from typing import Any

import pytest

from shards.snapshot import ShardSnapshot, StoreState
from tests.snapshots import SINCE, snapshot

AWAY = StoreState(kind="server", up=False, since=SINCE, error="away")


TERMS = ("appended", "confirmed", "pending", "dead_lettered", "requeued", "discarded", "damaged", "erased")


def shard(index: int, **figures: Any) -> ShardSnapshot:
    """A shard of which all is confirmed, but for the figures given."""
    counts = (*TERMS, "erased_letters", "unaccounted")
    others = ("depth", "in_flight", "unread", "retries", "wal_bytes", "wal_segments")
    durations: dict[str, Any] = {"oldest_unconfirmed_s": 0.0, "stalled_s": 0.0}
    flags = {"paused": False, "retired": False, "last_error": ""}
    return ShardSnapshot(index=index, **(dict.fromkeys((*counts, *others), 0) | durations | flags | figures))


def test_shards_are_stuck_that_fail_or_stand_still_with_rows_the_one_that_waits_longest_first() -> None:
    shards = (
        shard(0, pending=1, oldest_unconfirmed_s=5.0, last_error="refused"),
        shard(1, pending=1, oldest_unconfirmed_s=9.0, stalled_s=9.0),
        shard(2, pending=1, oldest_unconfirmed_s=99.0),
        shard(3, oldest_unconfirmed_s=0.0, last_error="the last one was mended"),
        shard(4, pending=1, oldest_unconfirmed_s=7.0, stalled_s=1.0, last_error="refused"),
    )
    assert [one.index for one in snapshot(*shards).stuck] == [1, 4, 0]
    assert snapshot(*shards, store=AWAY).stuck == (), "an outage is the reason"


@pytest.mark.parametrize(
    "name",
    [
        *TERMS,
        "erased_letters",
        "wal_bytes",
    ],
)
def test_figures_of_the_whole_are_sums_of_the_shards(name: str) -> None:
    assert getattr(snapshot(shard(0, **{name: 2}), shard(1, **{name: 5})), name) == 7


def test_rows_that_one_shard_misses_do_not_make_up_for_those_that_another_has_twice() -> None:
    assert snapshot(shard(0, unaccounted=-2), shard(1, unaccounted=5)).unaccounted == 7


def test_the_oldest_row_of_the_whole_is_that_of_the_shard_whose_rows_wait_longest() -> None:
    assert snapshot(shard(0, oldest_unconfirmed_s=2.0), shard(1, oldest_unconfirmed_s=5.0)).oldest_unconfirmed_s == 5.0
    assert snapshot().oldest_unconfirmed_s == 0.0
