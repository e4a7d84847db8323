# ruff: noqa: S608 (names are constants and checked ones; text of others enters by heredoc())
"""The database objects: what must exist, and the numbered steps from older forms of it.

``events`` is public: analysts query it with ``FINAL``. Its rows carry ``version`` = 2**64 - 1 - order of receipt, and
ReplacingMergeTree keeps the highest version of a key. So the copy received first stands, in whatever order rows arrive,
and whatever the clocks showed (:mod:`shards.clock`). The table is partitioned by the month of receipt by the wall
clock, never by ``timestamp``, which a client chooses. A replay keeps time and order of receipt, so a row and its
replays meet in one partition.

A view feeds ``ingest_ledger`` in the same insert. It names every column of ``events``, so ClickHouse refuses to drop
one of them. ClickHouse commits the part of ``events`` before the rows that views made of it, so the ledger never shows
rows that ``events`` does not hold. There is no second view, because the order of their creation would decide which
comes first; the list of matches is served by a projection, which is committed with the part.

Some columns are made by ClickHouse of the others of a row (:mod:`shards.stores.derived`). A mutation writes them into
the rows of an older release; until then ClickHouse makes them at each read.
"""

import attrs

from shards.stores.derived import DERIVED

VERSION = 5
"""Number of the last migration."""

ROW_STRUCTURE = (
    "match_id String, event_id UUID, event_type String, timestamp Int64, team_id String, player_id String, "
    "metadata String, received_ns Int64, order_ns Int64"
)
"""Columns of a row in the WAL, see :class:`shards.events.Event`."""

LEDGER_DAYS = 30
# Reached only if this process is gone, because checkpoints flush a Buffer table every few seconds.
BUFFER_THRESHOLDS = (60, 300, 1_000_000, 10_000_000, 256 << 20, 1 << 30)
_DURABLE = ("fsync_after_insert = 1", "fsync_part_directory = 1")
# Makes "newest receipt of every match" cheap. Only a shortcut: answers are the same without it.
_ACTIVITY = "PROJECTION activity (SELECT match_id, max(received_at) GROUP BY match_id)"
CURVE_BUCKET_MS = 10_000
"""Length, in ms, of the buckets in which each part of ``events`` counts its own rows."""

# Each part counts its own rows; an event with copies in several parts is counted in each (shards.reads.large).
_CURVE = (
    f"PROJECTION curve (SELECT match_id, intDiv(toUnixTimestamp64Milli(timestamp), {CURVE_BUCKET_MS}) AS tick, "
    "event_type, team_id, count(), min(timestamp), max(timestamp), max(received_at) "
    "GROUP BY match_id, tick, event_type, team_id)"
)
# Finds the few highlights among millions of fans' reactions.
_KINDS = "INDEX kinds event_type TYPE set(0) GRANULARITY 1"
# Match ids have no order in time, so most parts hold ids before and after a match's, but not the match itself.
_MATCHES = "INDEX matches match_id TYPE bloom_filter(0.01) GRANULARITY 1"
_EVENT_COLUMNS = {
    "match_id": "String",
    "event_id": "UUID",
    "event_type": "LowCardinality(String)",
    "timestamp": "DateTime64(3, 'UTC')",
    "team_id": "String",
    "player_id": "String",
    "metadata": "String",
    "received_at": "DateTime64(3, 'UTC')",
    "writer": "LowCardinality(String)",
    "shard": "UInt16",
    "batch": "UInt64",
    "version": "UInt64",
}
# All that the projection "curve" has, which only databases of an older release still hold, and more.
_TEMPO = (
    f"PROJECTION tempo (SELECT match_id, intDiv(toUnixTimestamp64Milli(timestamp), {CURVE_BUCKET_MS}) AS tick, "
    "event_type, team_id, count(), min(timestamp), max(timestamp), max(received_at), sum(momentum), min(version) "
    "GROUP BY match_id, tick, event_type, team_id)"
)

_ROW_EXPRESSIONS = {
    "timestamp": "fromUnixTimestamp64Milli(timestamp, 'UTC')",
    "received_at": "fromUnixTimestamp64Milli(intDiv(received_ns, 1000000), 'UTC')",
    "version": "18446744073709551615 - toUInt64(order_ns)",
}


@attrs.frozen(kw_only=True)
class Table:
    """A table as it must be. Expressions are written as ClickHouse prints them in ``system.tables``.

    ``derived``: columns that ClickHouse makes from a row's others; nobody inserts them.
    """

    name: str
    engine: str
    columns: dict[str, str]
    derived: dict[str, str] = attrs.Factory(dict)
    sorting_key: str = ""
    partition_key: str = ""
    ttl: str = ""
    shortcuts: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def required_settings(self) -> tuple[str, ...]:
        """The settings without which a table may lose rows; the others only make it work better."""
        return tuple(setting for setting in self.settings if setting in _DURABLE)

    def ddl(self, database: str) -> str:
        """Return the statement that creates the table where it is missing."""
        columns = [f"{name} {definition}" for name, definition in (self.columns | self.derived).items()]
        inside = ", ".join((*columns, *self.shortcuts))
        clauses = [f"CREATE TABLE IF NOT EXISTS {database}.{self.name} ({inside}) ENGINE = {self.engine}"]
        if self.partition_key:
            clauses.append(f"PARTITION BY {self.partition_key}")
        if self.sorting_key:
            clauses.append(
                f"ORDER BY ({self.sorting_key})" if "," in self.sorting_key else f"ORDER BY {self.sorting_key}"
            )
        if self.ttl:
            clauses.append(f"TTL {self.ttl}")
        if self.settings:
            clauses.append(f"SETTINGS {', '.join(self.settings)}")
        return " ".join(clauses)


@attrs.frozen(kw_only=True)
class View:
    """A materialized view that feeds ``target`` with every insert into ``events``."""

    name: str
    target: str
    select: str

    def ddl(self, database: str) -> str:
        """Return the statement that creates the view where it is missing."""
        head = f"CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.{self.name} TO {database}.{self.target}"
        return f"{head} AS {self.query(database)}"

    def query(self, database: str) -> str:
        """Return the view's SELECT."""
        return self.select.format(events=f"{database}.events")


@attrs.frozen
class Migration:
    """One numbered step. ``statements`` hold ``{database}``; each can be run again if it was cut off."""

    number: int
    statements: tuple[str, ...]


EVENTS = Table(
    name="events",
    engine="ReplacingMergeTree(version)",
    columns=_EVENT_COLUMNS,
    derived=DERIVED,
    sorting_key="match_id, event_id",
    partition_key="toYYYYMM(received_at)",
    shortcuts=(_ACTIVITY, _TEMPO, _KINDS, _MATCHES),
    settings=(
        *_DURABLE,
        "deduplicate_merge_projection_mode = 'rebuild'",
        "lightweight_mutation_projection_mode = 'rebuild'",
    ),
)
LEDGER = Table(
    name="ingest_ledger",
    engine="MergeTree",
    columns={
        "writer": "LowCardinality(String)",
        "shard": "UInt16",
        "batch": "UInt64",
        "rows": "UInt64",
        "inserted_at": "DateTime('UTC')",
    },
    sorting_key="writer, shard, batch",
    ttl=f"inserted_at + toIntervalDay({LEDGER_DAYS})",
    settings=_DURABLE,
)
SCHEMA_VERSION = Table(
    name="schema_version",
    engine="MergeTree",
    columns={"version": "UInt32", "applied_at": "DateTime('UTC')"},
    sorting_key="version",
    settings=_DURABLE,
)
TABLES = (EVENTS, LEDGER, SCHEMA_VERSION)
VIEWS = (
    View(
        name="ledger_view",
        target=LEDGER.name,
        select=(
            "SELECT writer, shard, batch, count() AS rows, now('UTC') AS inserted_at FROM {events} "
            f"WHERE NOT ignore({', '.join(_EVENT_COLUMNS)}) GROUP BY writer, shard, batch"
        ),
    ),
)
MIGRATIONS = (
    Migration(
        2,
        (
            f"ALTER TABLE {{database}}.events ADD {_CURVE.replace('PROJECTION', 'PROJECTION IF NOT EXISTS', 1)}",
            f"ALTER TABLE {{database}}.events ADD {_KINDS.replace('INDEX', 'INDEX IF NOT EXISTS', 1)}",
            "ALTER TABLE {database}.events MATERIALIZE PROJECTION curve",
            "ALTER TABLE {database}.events MATERIALIZE INDEX kinds",
        ),
    ),
    Migration(
        3,
        (
            f"ALTER TABLE {{database}}.events ADD {_MATCHES.replace('INDEX', 'INDEX IF NOT EXISTS', 1)}",
            "ALTER TABLE {database}.events MATERIALIZE INDEX matches",
        ),
    ),
    Migration(
        4,
        (
            f"ALTER TABLE {{database}}.events ADD COLUMN IF NOT EXISTS highlight {DERIVED['highlight']}",
            "ALTER TABLE {database}.events MATERIALIZE COLUMN highlight",
        ),
    ),
    Migration(
        5,
        (
            *(
                f"ALTER TABLE {{database}}.events ADD COLUMN IF NOT EXISTS {name} {DERIVED[name]}"
                for name in ("target", "momentum", "texts")
            ),
            f"ALTER TABLE {{database}}.events ADD {_TEMPO.replace('PROJECTION', 'PROJECTION IF NOT EXISTS', 1)}",
            "ALTER TABLE {database}.events MATERIALIZE COLUMN target, MATERIALIZE COLUMN momentum, "
            "MATERIALIZE COLUMN texts, MATERIALIZE PROJECTION tempo",
        ),
    ),
)
"""Steps 2, 3, … in order, for a database of an older release. A fresh database is made in its last form."""


def buffer_table(database: str, shard: int) -> Table:
    """Return the Buffer table of a shard. One layer, so one flush makes one part."""
    thresholds = ", ".join(map(str, BUFFER_THRESHOLDS))
    return Table(
        name=buffer_name(shard),
        engine=f"Buffer('{database}', '{EVENTS.name}', 1, {thresholds})",
        columns=_EVENT_COLUMNS,
    )


def buffer_name(shard: int) -> str:
    """Return the name of a shard's Buffer table."""
    return f"events_buffer_{shard}"


def insert_columns() -> str:
    """Return the columns of an INSERT, in order."""
    return ", ".join(_EVENT_COLUMNS)


def insert_expressions(*, writer: str, shard: str, batch: str) -> str:
    """Return the expressions for these columns over a row of the WAL; the arguments are SQL literals."""
    expressions = {name: name for name in _EVENT_COLUMNS} | _ROW_EXPRESSIONS
    expressions |= {"writer": writer, "shard": shard, "batch": batch}
    return ", ".join(expressions.values())


def creation(database: str, *, shard_count: int) -> dict[str, str]:
    """Return, by name and in order, the statement that creates each object."""
    statements = {table.name: table.ddl(database) for table in TABLES}
    statements |= {view.name: view.ddl(database) for view in VIEWS}
    buffers = [buffer_table(database, shard) for shard in range(shard_count)]
    return statements | {table.name: table.ddl(database) for table in buffers}
