"""The source of pending rows for the reads."""

from collections.abc import Collection, Mapping
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class Pending:
    """Unconfirmed rows of some matches: WAL payloads in memory, and per match how many more are on disk only.

    ``unread_at`` is when the last row on disk only of a match came, ms since the epoch.
    """

    rows: tuple[bytes, ...]
    unread: Mapping[str, int]
    unread_at: Mapping[str, int] = attrs.field(factory=dict, eq=False)


class PendingSource(Protocol):
    """The part of :class:`shards.shardset.ShardSet` that the reads need."""

    def pending(self, match_ids: Collection[str]) -> Pending:
        """Return the unconfirmed rows of some matches. Take these first, then query."""

    def is_erasing(self, match_id: str) -> bool:
        """Say whether a match is being erased: a read knows nothing of it then."""

    def pending_matches(self) -> frozenset[str]:
        """Return the matches that have unconfirmed rows."""
