"""Where the reads get what is pending."""

from collections.abc import Collection, Mapping
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class Pending:
    """Unconfirmed rows of some matches: WAL payloads in memory, and per match how many more are on disk only.

    ``unread_at`` is when the last of the latter came, ms since the epoch.
    """

    rows: tuple[bytes, ...]
    unread: Mapping[str, int]
    unread_at: Mapping[str, int] = attrs.field(factory=dict, eq=False)


class PendingSource(Protocol):
    """What the reads need of :class:`shards.shardset.ShardSet`."""

    def pending(self, match_ids: Collection[str]) -> Pending:
        """Return what is not confirmed of some matches. Take this first, then query."""

    def pending_matches(self) -> frozenset[str]:
        """Return the matches that have unconfirmed rows."""
