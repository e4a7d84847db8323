"""Matches for the tests of reads: events, pending rows that hold still, and one count."""

import json
import uuid
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any

import attrs

from shards.events import Event, encode_row
from shards.reads.aggregates import MatchAggregates
from shards.reads.matches import MatchReads
from shards.stores.base import Batch, Store
from tests.contract.rows import receipt

KICKOFF_MS = 1_705_327_200_000
SECONDS = 1_000
MINUTE = 60 * SECONDS

receipts = count(1_705_330_000_000_000_000, 1_000_000)
batches = count(1)


@attrs.define
class Unconfirmed:
    """Pending rows as a test needs them: a real shard set would not hold still."""

    rows: tuple[bytes, ...] = ()
    unread: Mapping[str, int] = attrs.field(factory=dict)
    unread_at: Mapping[str, int] = attrs.field(factory=dict)

    def pending(self, match_ids: Collection[str]) -> "Unconfirmed":
        rows = tuple(row for row in self.rows if json.loads(row)["match_id"] in match_ids)
        unread = {match: n for match, n in self.unread.items() if match in match_ids}
        return Unconfirmed(rows, unread, self.unread_at)

    def is_erasing(self, match_id: str) -> bool:
        return False

    def pending_matches(self) -> frozenset[str]:
        return frozenset({json.loads(row)["match_id"] for row in self.rows} | self.unread.keys())

    def hold(self, *events: Event) -> None:
        self.rows += tuple(encode_row(event) for event in events)


def event(event_type: str = "pass", at: int = 0, *, match: str = "m", team: str = "", **fields: Any) -> Event:
    made = Event(match, str(uuid.uuid4()), event_type, KICKOFF_MS + at, team, "", "{}", **receipt(next(receipts)))
    return attrs.evolve(made, **fields)


def retraction(of: str, at: int = 0, *, match: str = "m", **fields: Any) -> Event:
    return event("retraction", at, match=match, metadata=json.dumps({"eventId": of}), **fields)


def replacing(
    replaced: Event, event_type: str, at: int = 0, *, metadata_too: Mapping[str, Any] | None = None, **fields: Any
) -> Event:
    metadata = json.dumps({"replaces": replaced.event_id, **(metadata_too or {})})
    return event(event_type, at, match=replaced.match_id, metadata=metadata, **fields)


async def insert(store: Store, *events: Event) -> None:
    rows = [encode_row(row) for row in events]
    await store.insert_direct(Batch(writer="test", shard=0, number=next(batches), rows=rows))


async def count_of(reads: MatchReads, match_id: str = "m") -> MatchAggregates:
    return (await reads.aggregates([match_id]))[match_id]
