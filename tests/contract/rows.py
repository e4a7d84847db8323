"""Rows and small questions for the contract tests."""

import uuid
from collections.abc import Sequence
from typing import Any

from shards.clock import ReceiptClock
from shards.events import Event, encode_row
from shards.stores.base import Batch, Store

CLOCK = ReceiptClock()
MATCH = "match-1"


def event(**fields: Any) -> Event:
    """An event that differs from every other one, but for the fields given."""
    default = {
        "match_id": MATCH,
        "event_id": str(uuid.uuid4()),
        "event_type": "pass",
        "timestamp": 1_705_327_200_000,
        "team_id": "1",
        "player_id": "",
        "metadata": "{}",
        **receipt(CLOCK.order_ns()),
    }
    return Event(**(default | fields))


def receipt(at_ns: int) -> dict[str, int]:
    """Order and time of a receipt by a clock that is right; the time in whole ms, as ``events`` keeps it."""
    return {"received_ns": at_ns // 1_000_000 * 1_000_000, "order_ns": at_ns}


def batch(events: Sequence[Event], *, number: int = 1, shard: int = 0, writer: str = "w1") -> Batch:
    return Batch(writer=writer, shard=shard, number=number, rows=[encode_row(e) for e in events])


async def stored(store: Store, *, final: bool = False) -> list[Event]:
    """What ``events`` holds, as events, with receive times cut to ms."""
    rows = await store.fetch(
        "SELECT match_id, toString(event_id), event_type, toUnixTimestamp64Milli(timestamp), team_id, player_id, "
        "metadata, toUnixTimestamp64Milli(received_at) * 1000000, bitNot(version) "
        f"FROM {store.database}.events {'FINAL' if final else ''} ORDER BY version DESC"
    )
    return [Event(*row) for row in rows]


async def count(store: Store) -> int:
    [(rows,)] = await store.fetch(f"SELECT count() FROM {store.database}.events")
    return int(rows)
