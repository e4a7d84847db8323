# ruff: noqa: S608 (names are constants and checked ones; text of others enters by heredoc())
"""The store: all that the flushers and the reads need of ClickHouse, however it is reached.

:class:`Store` holds every statement once; a subclass only says how a statement is run
(:mod:`shards.stores.server`: native TCP; :mod:`shards.stores.embedded`: chDB in process).
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, ClassVar, Literal

import attrs

from shards.errors import SchemaMismatch, StoreError, StoreUnavailable
from shards.logger import get_logger
from shards.observer import Observer
from shards.stores import inspection, retention, schema
from shards.stores.own_settings import INSERT_SETTINGS
from shards.stores.sql import heredoc, rows_source

_log = get_logger(__name__)

INSERT_TIMEOUT_S = 30
READ_TIMEOUT_S = 15
READS_AT_ONCE = 2
"""Most reads that are given to ClickHouse at a time; others wait for their turn here."""

ROWS_AT_ONCE = 1_000
"""Most rows of an answer that are converted in the event loop, because more would hold it up."""


Lane = int | Literal["schema", "read"]
"""The statements that one may have to wait for: those of its shard, of the schema, or of the reads."""

_DATABASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_BUFFER_NAME = re.compile(r"events_buffer_(\d+)", re.ASCII)


@attrs.frozen(kw_only=True)
class Batch:
    """One attempt to store rows; every attempt has a number of its own.

    Attributes:
        writer: random id of one start of one process.
        shard: index of the shard, which is also that of its Buffer table.
        number: unique for this writer and shard.
        rows: payloads of WAL records, as :func:`shards.events.encode_row` makes them.
    """

    writer: str
    shard: int
    number: int
    rows: Sequence[bytes]


class Store(ABC):
    """One ClickHouse database.

    Every method but the constructor and :meth:`close` may raise a :class:`shards.errors.StoreError`, and no other
    exception. After StoreUnavailable it is unknown whether an INSERT took effect: ask :meth:`landed`.
    """

    kind: ClassVar[str]
    may_be_shared: ClassVar[bool] = True
    """Whether another service may use the same database."""

    def __init__(
        self, *, database: str, shard_count: int, retention_days: int = 0, observer: Observer | None = None
    ) -> None:
        """Connect to nothing yet. ``shard_count`` Buffer tables will exist after :meth:`open`.

        Rows of ``events`` will expire ``retention_days`` after their receipt; 0: never.

        Raises:
            ValueError: ``database`` is not a plain name.
        """
        if not _DATABASE_NAME.fullmatch(database):
            raise ValueError(f"database {database!r}: allowed are letters, digits and _, 64 characters at most")
        self.database = database
        self._shard_count = shard_count
        self._retention = retention.Retention(retention_days)
        self._opening = asyncio.Lock()
        self._reading = asyncio.Semaphore(READS_AT_ONCE)
        self._beside_newer = False
        self._observer = observer or Observer()

    @abstractmethod
    async def close(self) -> None:
        """Let go of every connection. Idempotent; does not raise because a server is gone."""

    @abstractmethod
    async def _run(self, *statements: str, lane: Lane, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run statements in one session and return the last one's rows.

        Raises StoreUnavailable after ``timeout_s``, which include the wait for the lane.
        """

    async def open(self) -> None:
        """Connect; migrate, create what is missing, check; flush the Buffer tables of former shards.

        Idempotent, because it is called again after every outage. An object that is not as needed is named in
        SchemaMismatch, and never altered.
        """
        async with self._opening:
            if not await self._schema(f"SELECT 1 FROM system.databases WHERE name = {heredoc(self.database)}"):
                await self._schema(f"CREATE DATABASE IF NOT EXISTS {self.database}")
            await self._migrate()
            await self._create_missing()
            await self.check()
            await self._retain()
            await self._flush_old_buffers()

    async def _migrate(self) -> None:
        found, version = await self._found(), 0
        if schema.SCHEMA_VERSION.name in found.objects:
            noted = f"SELECT max(version) FROM {self.database}.{schema.SCHEMA_VERSION.name}"
            [(version,)] = await self._schema(noted)
        # Each step can be taken twice; but a table that is not ours must not be altered.
        if not version and not inspection.is_of_some_release(found):
            return
        self._accept_newer(version)
        for step in (m for m in schema.MIGRATIONS if m.number > version):
            for statement in step.statements:
                await self._schema(statement.replace("{database}", self.database))
            await self._schema(schema.SCHEMA_VERSION.ddl(self.database))
            await self._note_version(step.number)
            _log.info("schema migrated", database=self.database, version=step.number)

    def _accept_newer(self, version: int) -> None:
        """Go on beside a schema one step newer, which only adds; raise SchemaMismatch for more."""
        if version > schema.VERSION + 1:
            sentence = f"database {self.database} has schema version {version}, this release knows {schema.VERSION}"
            raise SchemaMismatch([f"{sentence}, and goes on beside {schema.VERSION + 1}: use a newer release"])
        if version > schema.VERSION and not self._beside_newer:
            self._beside_newer = True
            _log.info("schema one step newer", database=self.database, version=version, known=schema.VERSION)

    async def _create_missing(self) -> None:
        found = await self._found()
        self._refuse(found, missing=False)
        for name, statement in schema.creation(self.database, shard_count=self._shard_count).items():
            if name not in found.objects:
                await self._schema(statement)
                _log.info("schema object created", database=self.database, object=name)
        if not await self._schema(f"SELECT 1 FROM {self.database}.{schema.SCHEMA_VERSION.name} LIMIT 1"):
            # The one before too: whoever goes back by a release deletes the last one, and its steps are not taken anew.
            for version in (schema.VERSION - 1, schema.VERSION):
                await self._note_version(version)

    async def _retain(self) -> None:
        events = (await self._found()).objects[schema.EVENTS.name]
        due, lately = self._retention.due(events.engine_full), self._retention.written_lately()
        writing = f"SELECT 1 FROM {self.database}.{schema.LEDGER.name} WHERE {lately} LIMIT 1"
        if due and self.may_be_shared and await self._schema(writing):
            raise self._retention.refusal(events.engine_full)
        for alteration in due:
            await self._schema(f"ALTER TABLE {self.database}.{events.name} {alteration}")
            _log.info("retention changed", database=self.database, object=events.name, alteration=alteration)
        self._retention.settle()

    async def _note_version(self, version: int) -> None:
        table = f"{self.database}.{schema.SCHEMA_VERSION.name}"
        await self._schema(f"INSERT INTO {table} (version, applied_at) SELECT {version}, now('UTC')")

    async def _flush_old_buffers(self) -> None:
        rows = await self._schema(f"SELECT name FROM system.tables WHERE database = {heredoc(self.database)}")
        for match in (_BUFFER_NAME.fullmatch(name) for (name,) in rows):
            if match and int(match[1]) >= self._shard_count:
                await self._flush_old_buffer(int(match[1]))

    async def _flush_old_buffer(self, shard: int) -> None:
        """Flush rows that may be left; if ClickHouse refuses, that shard's log has all of them anyway."""
        try:
            await self.flush_buffer(shard)
        except StoreUnavailable:
            raise
        except StoreError as error:
            _log.warning(
                "old buffer not flushed",
                database=self.database,
                object=schema.buffer_name(shard),
                code=error.code,
                error=error.message,
                remedy="drop it once no service uses it",
            )

    async def check(self) -> None:
        """Raise SchemaMismatch with every difference between what exists and what is needed."""
        found = await self._found()
        self._refuse(found, missing=True)
        self._retention.look(found.objects[schema.EVENTS.name].engine_full)

    def _refuse(self, found: inspection.FoundObjects, *, missing: bool) -> None:
        sentences = inspection.differences(
            found, database=self.database, shard_count=self._shard_count, missing=missing
        )
        if sentences:
            raise SchemaMismatch(sentences)

    async def _found(self) -> inspection.FoundObjects:
        objects = await self._schema(inspection.objects_statement(self.database))
        columns = await self._schema(inspection.columns_statement(self.database))
        return inspection.found_objects(objects, columns)

    async def insert_buffered(self, batch: Batch) -> None:
        """Put the rows into the shard's Buffer table, which is only in ClickHouse's memory."""
        await self._insert(schema.buffer_name(batch.shard), batch)

    async def insert_direct(self, batch: Batch) -> None:
        """Put the rows straight into ``events``: all of them or none, unless the server crashes."""
        await self._insert(schema.EVENTS.name, batch)

    async def _insert(self, table: str, batch: Batch) -> None:
        if not batch.rows:
            return
        expressions = schema.insert_expressions(
            writer=heredoc(batch.writer), shard=str(batch.shard), batch=str(batch.number)
        )
        sql = (
            f"INSERT INTO {self.database}.{table} ({schema.insert_columns()}) SETTINGS {INSERT_SETTINGS} "
            f"SELECT {expressions} FROM {rows_source(batch.rows, schema.ROW_STRUCTURE)}"
        )
        await self._run(sql, lane=batch.shard, timeout_s=INSERT_TIMEOUT_S)

    async def flush_buffer(self, shard: int) -> None:
        """Make ClickHouse write the Buffer table to ``events``. Success proves nothing: ask :meth:`landed`."""
        sql = f"OPTIMIZE TABLE {self.database}.{schema.buffer_name(shard)}"
        await self._run(sql, lane=shard, timeout_s=INSERT_TIMEOUT_S)

    async def reset_buffer(self, shard: int) -> None:
        """Drop and create the shard's Buffer table; its rows are lost, or land, and are in the WAL anyway."""
        name = f"{self.database}.{schema.buffer_name(shard)}"
        await self._run(f"DROP TABLE IF EXISTS {name} SYNC", lane=shard, timeout_s=INSERT_TIMEOUT_S)
        ddl = schema.buffer_table(self.database, shard).ddl(self.database)
        await self._run(ddl, lane=shard, timeout_s=INSERT_TIMEOUT_S)

    async def landed(self, writer: str, shard: int, batches: Sequence[int]) -> dict[int, int]:
        """Return how many rows of each batch the ledger shows in ``events``; batches without a row are absent.

        A batch is whole if that is exactly the number of rows sent, neither fewer nor more.
        """
        if not batches:
            return {}
        sql = (
            f"SELECT batch, sum(rows) FROM {self.database}.{schema.LEDGER.name} WHERE writer = {heredoc(writer)} "
            f"AND shard = {shard} AND batch IN ({', '.join(map(str, batches))}) GROUP BY batch"
        )
        return dict(await self._run(sql, lane=shard, timeout_s=READ_TIMEOUT_S))

    async def newest_order(self) -> int:
        """Return the largest order of a row in ``events`` (:class:`shards.clock.ReceiptClock`), 0 if there is none.

        Asked once by a start that finds no reservation of its own, because each row may have to be looked at.
        """
        # Without rows min() is 0.
        newest = "if(count() = 0, toUInt64(0), bitNot(min(version)))"
        [(order_ns,)] = await self.fetch(f"SELECT {newest} FROM {self.database}.{schema.EVENTS.name}")
        return int(order_ns)

    async def fetch(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run a SELECT of ours and return its rows; statements that make its temporary tables come before it.

        Its columns may only be integers, floats, strings, booleans, and arrays and tuples of these, both returned as
        tuples. Names without a database mean this one. Text from outside enters by :func:`heredoc`.
        """
        async with self._reading:  # not within the time of the statement: to wait here says nothing about ClickHouse
            began = monotonic()
            try:
                rows = await self._run(*statements, lane="read", timeout_s=READ_TIMEOUT_S)
            finally:
                self._observer.queried(seconds=monotonic() - began)
        return await asyncio.to_thread(_all_plain, rows) if len(rows) > ROWS_AT_ONCE else _all_plain(rows)

    async def change(self, sql: str) -> None:
        """Run a statement of ours that changes what is stored, beside those of shards and reads."""
        await self._schema(sql)

    async def _schema(self, sql: str) -> list[tuple[Any, ...]]:
        return await self._run(sql, lane="schema", timeout_s=INSERT_TIMEOUT_S)


def _all_plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [_all_tuples(row) for row in rows]


def _all_tuples(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple([_all_tuples(value) if value.__class__ in (list, tuple) else value for value in values])
