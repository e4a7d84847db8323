"""The core: takes validated events, makes them durable, brings them to ClickHouse, and counts them.

Usable without HTTP: nothing in here imports aiohttp, jinja2 or the application.

**The promise.** `ShardSet.append` returns when every event is in a write-ahead log and fsynced, unless
``ShardSettings.wal_sync`` says that syncs may come later. From then on a crash of
this process, of ClickHouse, or of both, loses none of them, and none counts twice in any answer.

**An event's way**, with the folder that holds each step::

    append ──► shard.py: shard = hash(match id) mod shards
                  │
                  ▼
    wal/       one log a shard, one committer thread for all: write, fsync, then the future of the append is done
                  │ the row is *pending* now
                  ▼
    flush/     pending rows in memory (a bounded part; the rest stays in the log) ──► batch ──► INSERT
                  │    into the shard's Buffer table, or straight into ``events`` where a batch is full
                  ▼
    stores/    ClickHouse: a server over TCP, or the embedded engine; every statement that writes
                  │    a materialized view notes in ``ingest_ledger`` what landed, by writer, shard and batch
                  ▼
    flush/     checkpoint: batches that the ledger shows whole are *confirmed*, others are sent again under a new number
                  │
                  ▼
    wal/       the journal notes the attempt, the checkpoint moves on, segments that hold nothing pending are removed

    reads/     an answer = the table ``events`` and the pending rows, taken before the query and sent along with it
    deadletters/  a row that only ClickHouse refuses is put aside in a file, to be repaired and requeued by hand
    erasure/   everything of a match from before a cut-off is removed, wherever it is
    audit/     the sums of the log, checked against what ClickHouse shows
    tasks/     whatever runs here and ends without being told to is logged, counted, and started anew

**The accounting**, in sequence numbers of the logs, true across restarts::

    appended = confirmed + pending + dead letters + requeued + discarded + damaged + erased + unaccounted

where each term but the last is counted by itself. ``unaccounted`` is 0; any other value is a fault that is reported.

**Layers.** An arrow is an import. No import goes back, and no two files import each other::

    shardset, recovery, erasure/, lookups, shard ──► audit/, flush/, reads/ ──► deadletters/, stores/ ──► wal/
                              ──► tasks/ ──► events, errors, runs, clock, settings, observer, snapshot, receipts, logger

**The door.** The application may use only the names listed here. `ShardSet` is the one object to work with;
`MatchReads` and `EventReads` answer questions; the one place that wires everything makes the `EmbeddedStore` or
`ServerStore`.

**Its log.** Lines go to the loggers ``shards.*`` of `logging`, through structlog as the process has configured it. In
a process that has not configured it, each line is text with its fields. `logging` decides about level and place.
"""

from shards.audit.accounting import Audit, Difference, ShardAccount
from shards.clock import ReceiptClock
from shards.deadletters.entries import FiledLetter
from shards.errors import (
    REFUSALS,
    DataDirectoryLocked,
    ErasuresUnderWay,
    LetterSettled,
    NotAccepting,
    Refusal,
    ShardPaused,
    ShardsError,
    StoreError,
    StoreUnavailable,
    TooManyReads,
    Unavailable,
    UnknownLetter,
)
from shards.events import HIGHLIGHT_TYPES, RETRACTION, Event, canonical_id, decode_row, withdrawn_id
from shards.logger import RepeatedLines
from shards.observer import TASKS, Observer, Task
from shards.reads.aggregates import MINUTE_MS, MatchAggregates
from shards.reads.counts import NOBODY
from shards.reads.highlights import HIGHLIGHTS, Highlight
from shards.reads.kinds import FEED_TYPES, KICK_TYPES, MATCH_TYPES, PLAY_TYPES, TEAM_TYPES
from shards.reads.known import KnownEvents
from shards.reads.matches import MatchReads
from shards.reads.pages.pages import EventPage, EventReads, FoundEvent
from shards.reads.pages.statements import EventQuery, Position
from shards.reads.sides import Side, Sides, is_blank, match_sides, metadata_of, text_in
from shards.reads.teams import OTHERS
from shards.reads.texts import shortened
from shards.receipts import Receipt
from shards.recovery import DowngradedShard, downgrade
from shards.settings import SHARDS_MAX, ShardSettings, WalSync
from shards.shardset import ShardSet
from shards.snapshot import ErasureState, ShardSnapshot, Snapshot, StoreState
from shards.stores.address import ServerAddress
from shards.stores.base import Store
from shards.stores.embedded import EmbeddedStore
from shards.stores.retention import DAYS_MAX
from shards.stores.schema import CURVE_BUCKET_MS
from shards.stores.server import ServerStore
from shards.tasks.watch import Watch, Watched
from shards.wal.files import LineFile

__all__ = [
    "CURVE_BUCKET_MS",
    "DAYS_MAX",
    "FEED_TYPES",
    "HIGHLIGHTS",
    "HIGHLIGHT_TYPES",
    "KICK_TYPES",
    "MATCH_TYPES",
    "MINUTE_MS",
    "NOBODY",
    "OTHERS",
    "PLAY_TYPES",
    "REFUSALS",
    "RETRACTION",
    "SHARDS_MAX",
    "TASKS",
    "TEAM_TYPES",
    "Audit",
    "DataDirectoryLocked",
    "Difference",
    "DowngradedShard",
    "EmbeddedStore",
    "ErasureState",
    "ErasuresUnderWay",
    "Event",
    "EventPage",
    "EventQuery",
    "EventReads",
    "FiledLetter",
    "FoundEvent",
    "Highlight",
    "KnownEvents",
    "LetterSettled",
    "LineFile",
    "MatchAggregates",
    "MatchReads",
    "NotAccepting",
    "Observer",
    "Position",
    "Receipt",
    "ReceiptClock",
    "Refusal",
    "RepeatedLines",
    "ServerAddress",
    "ServerStore",
    "ShardAccount",
    "ShardPaused",
    "ShardSet",
    "ShardSettings",
    "ShardSnapshot",
    "ShardsError",
    "Side",
    "Sides",
    "Snapshot",
    "Store",
    "StoreError",
    "StoreState",
    "StoreUnavailable",
    "Task",
    "TooManyReads",
    "Unavailable",
    "UnknownLetter",
    "WalSync",
    "Watch",
    "Watched",
    "canonical_id",
    "decode_row",
    "downgrade",
    "is_blank",
    "match_sides",
    "metadata_of",
    "shortened",
    "text_in",
    "withdrawn_id",
]
