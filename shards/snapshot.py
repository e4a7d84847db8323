"""Snapshots: values of the shard set at one moment, for the outside."""

from datetime import datetime

import attrs

from shards.errors import Refusal


@attrs.frozen(kw_only=True)
class StoreState:
    """The state of ClickHouse: ``up`` or not, since when, and why not."""

    kind: str
    up: bool
    since: datetime
    error: str


@attrs.frozen(kw_only=True)
class RoomLimits:
    """Bytes that the log may have, and that its disk has to have free; ``disk_free_bytes`` is None if not known."""

    wal_max_bytes: int
    disk_min_free_bytes: int
    disk_free_bytes: int | None


@attrs.frozen(kw_only=True)
class EndedTask:
    """A task that has ended and does not run again yet: ``where`` is as in "shard 3", or empty.

    ``reason`` quotes no event: ``cancelled``, or the type of the error.
    """

    task: str
    where: str
    since: datetime
    reason: str


@attrs.frozen
class Pause:
    """A shard's rows are not sent: by whose order, and since when."""

    by: str
    since: datetime


@attrs.frozen(kw_only=True)
class ShardSnapshot:
    """One shard, in rows (= events) unless the name says otherwise; ``appended`` is its last sequence number.

    ``appended`` = ``confirmed`` + ``pending`` + ``dead_lettered`` + ``requeued`` + ``discarded`` + ``damaged`` +
    ``erased`` + ``unaccounted``, where all but the last are counted by themselves. ``unaccounted`` is 0, unless the
    service has forgotten rows, or (below 0) counted some twice. A dead letter is in ``dead_lettered`` until somebody
    discards it, or requeues it, which appends its row again under another number. ``erased`` are rows and open dead
    letters (``erased_letters``) that were erased with their match; what was confirmed before stays in ``confirmed``.
    Pending rows are either ``in_flight`` (sent, and waiting for the next checkpoint) or in ``depth`` (waiting to be
    sent); ``unread`` ones of these are on disk only.
    ``stalled_s`` is 0 unless nothing was done with for too long, although rows wait and ClickHouse is up.
    """

    index: int
    appended: int
    confirmed: int
    pending: int
    dead_lettered: int
    requeued: int
    discarded: int
    damaged: int
    erased: int = 0
    erased_letters: int = 0
    unaccounted: int
    depth: int
    in_flight: int
    unread: int
    retries: int
    wal_bytes: int
    wal_segments: int
    oldest_unconfirmed_s: float
    stalled_s: float
    paused: Pause | None
    retired: bool
    last_error: str


@attrs.frozen(kw_only=True)
class ErasureState:
    """An erasure that is under way: asked for at ``at_ms`` (ms since the epoch), and at which step it is.

    ``error`` is why the last try failed, empty where it did not.
    """

    id: str
    match_id: str
    at_ms: int
    step: str
    error: str


@attrs.frozen(kw_only=True)
class Snapshot:
    """The whole shard set.

    ``refusal`` is why events are not taken, None while they are, and ``refusal_reason`` the same as a sentence; all
    that is said of it anywhere comes from here. ``ended`` are tasks, also of the application, that do not run.
    """

    shards: tuple[ShardSnapshot, ...]
    store: StoreState
    recovered: bool
    refusal: Refusal | None
    refusal_reason: str
    limits: RoomLimits
    queued_bytes: int
    ended: tuple[EndedTask, ...]
    erasures: tuple[ErasureState, ...] = ()

    @property
    def accepting(self) -> bool:
        """Whether events are taken."""
        return self.refusal is None

    @property
    def recovery_error(self) -> str:
        """Reason why the write-ahead log cannot be read; else empty."""
        return self.refusal_reason if self.refusal == "unreadable" else ""

    @property
    def wal_error(self) -> str:
        """Reason why the write-ahead log, once it is read, cannot take events; empty while it can."""
        return self.refusal_reason if self.refusal in ("log_full", "disk_short", "log_failed") else ""

    @property
    def stuck(self) -> tuple[ShardSnapshot, ...]:
        """Shards whose rows ClickHouse does not take although it is up, the one whose rows wait longest first."""
        if not self.store.up:
            return ()
        stuck = (shard for shard in self.shards if shard.pending and (shard.last_error or shard.stalled_s))
        return tuple(sorted(stuck, key=lambda shard: -shard.oldest_unconfirmed_s))

    @property
    def appended(self) -> int:
        """Rows ever appended."""
        return sum(shard.appended for shard in self.shards)

    @property
    def confirmed(self) -> int:
        """Rows that the ledger has shown to be in ClickHouse."""
        return sum(shard.confirmed for shard in self.shards)

    @property
    def pending(self) -> int:
        """Rows that are not done with yet."""
        return sum(shard.pending for shard in self.shards)

    @property
    def dead_lettered(self) -> int:
        """Open dead letters: rows put aside, and not settled by hand since."""
        return sum(shard.dead_lettered for shard in self.shards)

    @property
    def requeued(self) -> int:
        """Dead letters that were appended again by hand, as rows of their own."""
        return sum(shard.requeued for shard in self.shards)

    @property
    def discarded(self) -> int:
        """Dead letters that were given up by hand."""
        return sum(shard.discarded for shard in self.shards)

    @property
    def damaged(self) -> int:
        """Rows that the disk lost."""
        return sum(shard.damaged for shard in self.shards)

    @property
    def erased(self) -> int:
        """Rows, and open dead letters, that were erased with their match."""
        return sum(shard.erased for shard in self.shards)

    @property
    def erased_letters(self) -> int:
        """Those of the erased that were dead letters."""
        return sum(shard.erased_letters for shard in self.shards)

    @property
    def unaccounted(self) -> int:
        """Rows by which the sums differ, added up without their signs, so that two shards never cancel out."""
        return sum(abs(shard.unaccounted) for shard in self.shards)

    @property
    def wal_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(shard.wal_bytes for shard in self.shards)

    @property
    def oldest_unconfirmed_s(self) -> float:
        """Age of the oldest pending row."""
        return max((shard.oldest_unconfirmed_s for shard in self.shards), default=0.0)
